//! What this reactor has to tell control, in its order, while the outbox has no room for it. Says when too much waits:
//! of answers and calls, then the inbox waits and calls are refused; of who came and went, then logins wait. Neither
//! holds up the other: a crowd that leaves at once stops no pushes, and whatever was said of a connection is told.
//! Used by the gateway alone.

use std::collections::VecDeque;

use crate::links::Notice;

/// Calls and answers beyond which calls are refused and the inbox waits, and notices of connections beyond which logins
/// wait. Of the latter there are never more than these and one or two for each connection, as whoever is here may go.
pub(super) const WAITING_MAX: usize = 4_096;

/// See the top of the file.
#[derive(Default)]
pub(super) struct Notices {
    waiting: VecDeque<Notice>,
    /// How many of them say who came and went.
    of_connections: usize,
}

impl Notices {
    pub fn push(&mut self, notice: Notice) {
        self.of_connections += usize::from(is_of_connection(&notice));
        self.waiting.push_back(notice);
    }

    /// The oldest.
    pub fn take(&mut self) -> Option<Notice> {
        let notice = self.waiting.pop_front()?;
        self.of_connections -= usize::from(is_of_connection(&notice));
        Some(notice)
    }

    /// It was taken, and there was no room for it: it comes first again.
    pub fn put_back(&mut self, notice: Notice) {
        self.of_connections += usize::from(is_of_connection(&notice));
        self.waiting.push_front(notice);
    }

    /// Whether so many calls and answers wait that there should not be more.
    pub fn is_full(&self) -> bool {
        self.waiting.len() - self.of_connections >= WAITING_MAX
    }

    /// Whether so much waits of who came and went that nobody should come.
    pub fn hold_logins(&self) -> bool {
        self.of_connections >= WAITING_MAX
    }
}

impl Extend<Notice> for Notices {
    fn extend<I: IntoIterator<Item = Notice>>(&mut self, notices: I) {
        notices.into_iter().for_each(|notice| self.push(notice));
    }
}

fn is_of_connection(notice: &Notice) -> bool {
    matches!(
        notice,
        Notice::Connected { .. } | Notice::Disconnected { .. } | Notice::Claim { .. } | Notice::Release { .. }
    )
}
