//! What came of every message that was due to one client: numbers per stream, gaps, doubles, and at the end, when the
//! coordinator says what was sent, the tail. Pure: no clock, no socket.
//!
//! A client that was away (its connection was lost, it logged in later) is not owed what fell into that time: the gap
//! before the first message after its login is `unaccountable`. Every other gap is a loss. Where clients come and go all the
//! time, it is known when each push was taken: what is missing of the time in which the client was there is a loss, too.

use crate::result::Accounts;

/// One stream at one receiver.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// The number after the highest that came.
    next: u32,
    /// What is missing below it.
    gaps: Vec<Gap>,
    /// Was away since: the next gap is excused.
    away: bool,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    from: u32,
    to: u32,
    excused: bool,
}

impl Tracker {
    /// The client logged in after the streams had begun, or anew: what it missed in between is nobody's proven fault.
    pub fn was_away(&mut self) {
        self.away = true;
    }

    /// A message came. Counts into `received`, `duplicated` and `out_of_order`.
    pub fn take(&mut self, number: u32, accounts: &mut Accounts) {
        if number >= self.next {
            if number > self.next {
                self.gaps.push(Gap {
                    from: self.next,
                    to: number,
                    excused: self.away,
                });
            }
            self.away = false;
            self.next = number + 1;
            accounts.received += 1;
            return;
        }
        let Some(at) = self.gaps.iter().position(|gap| (gap.from..gap.to).contains(&number)) else {
            accounts.duplicated += 1;
            return;
        };
        accounts.received += 1;
        accounts.out_of_order += 1;
        let gap = self.gaps.swap_remove(at);
        for (from, to) in [(gap.from, number), (number + 1, gap.to)] {
            if from < to {
                self.gaps.push(Gap { from, to, ..gap });
            }
        }
    }

    /// So many were sent, of which the sending of `failed` is doubtful, and `owed` fell for certain into a time in which the
    /// client was there; it is (`here`) still connected. Counts into `due`, `lost`, `unaccountable`, and what nobody sent
    /// into `garbled`.
    pub fn settle(&self, sent: u32, here: bool, failed: &[u32], owed: &[u32], accounts: &mut Accounts) {
        accounts.due += u64::from(sent);
        let never_sent = |gap: &Gap| gap.to.saturating_sub(gap.from.max(sent));
        let forged = self.next.saturating_sub(sent) - self.gaps.iter().map(never_sent).sum::<u32>();
        accounts.garbled += u64::from(forged);
        accounts.received -= u64::from(forged);
        let tail = Gap {
            from: self.next,
            to: sent,
            excused: self.away || !here,
        };
        let cut = self.gaps.iter().map(|gap| Gap {
            to: gap.to.min(sent),
            ..*gap
        });
        for gap in cut.chain([tail]).filter(|gap| gap.from < gap.to) {
            let missing = u64::from(gap.to - gap.from);
            let of = |numbers: &[u32]| {
                let within = numbers.iter().filter(|number| (gap.from..gap.to).contains(number));
                within.count() as u64
            };
            let doubtful = if gap.excused { missing - of(owed) } else { of(failed) };
            accounts.unaccountable += doubtful;
            accounts.lost += missing - doubtful;
        }
    }
}

/// From when to when a client was there.
#[derive(Clone, Debug, Default)]
pub struct Stays {
    since_us: Option<u64>,
    over: Vec<(u64, u64)>,
}

/// A message that was taken so shortly before its receiver left may have been on its way then, microseconds.
const UNDER_WAY_US: u64 = 1_000_000;

impl Stays {
    /// It came.
    pub fn begin(&mut self, now_us: u64) {
        self.since_us = Some(now_us);
    }

    /// It is gone.
    pub fn end(&mut self, now_us: u64) {
        self.over
            .extend(self.since_us.take().map(|since_us| (since_us, now_us)));
    }

    /// Whether it was there all the time from the one to the other, and long enough afterwards.
    pub fn hold(&self, from_us: u64, to_us: u64, now_us: u64) -> bool {
        let current = self.since_us.map(|since_us| (since_us, now_us));
        let mut all = self.over.iter().copied().chain(current);
        all.any(|(since_us, until_us)| since_us <= from_us && to_us + UNDER_WAY_US <= until_us)
    }
}

/// Calls of one client: each has exactly one reply; their order is free.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    next: u32,
    open: Vec<u32>,
}

impl Calls {
    /// A number for a call that is sent now.
    pub fn begin(&mut self, accounts: &mut Accounts) -> u32 {
        let number = self.next;
        self.next += 1;
        self.open.push(number);
        accounts.due += 1;
        number
    }

    /// A reply came; false: it is not the first, or nobody asked.
    pub fn take(&mut self, number: u32, accounts: &mut Accounts) -> bool {
        if let Some(at) = self.open.iter().position(|open| *open == number) {
            self.open.swap_remove(at);
            accounts.received += 1;
            return true;
        }
        if number < self.next {
            accounts.duplicated += 1;
        } else {
            accounts.garbled += 1;
        }
        false
    }

    /// The connection is lost: what was open will never be answered.
    pub fn lost(&mut self, accounts: &mut Accounts) {
        accounts.unaccountable += self.open.len() as u64;
        self.open.clear();
    }

    /// How many are without a reply.
    pub fn open(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(came: &[u32], sent: u32) -> Accounts {
        let (mut tracker, mut accounts) = (Tracker::default(), Accounts::default());
        for number in came {
            tracker.take(*number, &mut accounts);
        }
        tracker.settle(sent, true, &[], &[], &mut accounts);
        accounts
    }

    #[test]
    fn what_is_missing_in_the_middle_and_at_the_end_is_lost() {
        let found = accounts(&[0, 1, 4], 7);
        assert_eq!((found.due, found.received, found.lost), (7, 3, 4));
        assert_eq!(accounts(&[], 3).lost, 3);
    }

    #[test]
    fn late_ones_are_out_of_order_and_not_lost_and_doubles_are_doubles() {
        let found = accounts(&[0, 3, 1, 2, 2, 3], 4);
        assert_eq!(
            (found.received, found.out_of_order, found.duplicated, found.lost),
            (4, 2, 2, 0)
        );
    }

    #[test]
    fn what_nobody_sent_is_garbled() {
        for (came, garbled, received, lost) in
            [(&[0, 1, 2][..], 1, 2, 0), (&[0, 900, 905], 2, 1, 1), (&[7, 6], 2, 0, 2)]
        {
            let found = accounts(came, 2);
            assert_eq!(
                (found.garbled, found.received, found.lost),
                (garbled, received, lost),
                "{came:?}"
            );
            assert_eq!(found.due, found.received + found.lost);
        }
    }

    #[test]
    fn who_was_away_is_owed_only_what_follows() {
        let (mut tracker, mut accounts) = (Tracker::default(), Accounts::default());
        tracker.take(0, &mut accounts);
        tracker.was_away();
        tracker.take(5, &mut accounts);
        tracker.take(7, &mut accounts);
        tracker.settle(8, true, &[], &[], &mut accounts);
        assert_eq!((accounts.unaccountable, accounts.lost, accounts.received), (4, 1, 3));
    }

    #[test]
    fn the_failed_and_the_absent_are_not_lost() {
        let mut accounts = Accounts::default();
        Tracker::default().settle(4, true, &[1, 3], &[], &mut accounts);
        assert_eq!((accounts.unaccountable, accounts.lost), (2, 2));
        let mut accounts = Accounts::default();
        Tracker::default().settle(4, false, &[], &[], &mut accounts);
        assert_eq!((accounts.unaccountable, accounts.lost), (4, 0));
    }

    #[test]
    fn who_comes_and_goes_is_owed_what_fell_into_a_stay() {
        let mut stays = Stays::default();
        stays.begin(10_000_000);
        stays.end(20_000_000);
        stays.begin(30_000_000);
        let hold = |from_us, to_us| stays.hold(from_us, to_us, 40_000_000);
        assert!(hold(10_000_000, 10_500_000) && hold(15_000_000, 19_000_000) && hold(31_000_000, 39_000_000));
        assert!(!hold(9_999_999, 10_500_000), "before it came");
        assert!(!hold(15_000_000, 19_000_001), "just before it left");
        assert!(!hold(19_000_000, 31_000_000), "over two stays");
        let mut accounts = Accounts::default();
        let mut tracker = Tracker::default();
        tracker.was_away();
        tracker.settle(5, false, &[], &[1, 4, 7], &mut accounts);
        assert_eq!((accounts.lost, accounts.unaccountable), (2, 3));
    }

    #[test]
    fn calls_have_one_reply_each() {
        let (mut calls, mut accounts) = (Calls::default(), Accounts::default());
        let numbers: Vec<u32> = (0..3).map(|_| calls.begin(&mut accounts)).collect();
        assert!(calls.take(numbers[1], &mut accounts));
        assert!(!calls.take(numbers[1], &mut accounts));
        assert!(!calls.take(9, &mut accounts));
        assert_eq!((accounts.duplicated, accounts.garbled, calls.open()), (1, 1, 2));
        calls.lost(&mut accounts);
        assert_eq!(accounts.unaccountable, 2);
    }
}
