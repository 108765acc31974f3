//! What happens a hundred times a second is said once in a while, with how often it was not: so that no fault fills the
//! disk with its log, and none is silent. Time is passed in. Used wherever something that the outside can bring about is
//! worth a warning.

/// Says when to say it.
#[derive(Debug)]
pub struct Seldom {
    every_ms: u64,
    said_ms: Option<u64>,
    suppressed: u64,
}

impl Seldom {
    /// To be said once in `every_ms` milliseconds at most.
    pub const fn new(every_ms: u64) -> Self {
        Self {
            every_ms,
            said_ms: None,
            suppressed: 0,
        }
    }

    /// It happened at `now_ms`, on any clock that does not go back. If it is to be said: how often it has happened since it
    /// was last said, without a word.
    pub fn says(&mut self, now_ms: u64) -> Option<u64> {
        let is_due = self
            .said_ms
            .is_none_or(|said_ms| now_ms >= said_ms.saturating_add(self.every_ms));
        if is_due {
            self.said_ms = Some(now_ms);
            Some(std::mem::take(&mut self.suppressed))
        } else {
            self.suppressed += 1;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_and_then_one_each_interval_with_the_number_in_between() {
        let mut seldom = Seldom::new(1_000);
        let said: Vec<(u64, u64)> = (500..4_000)
            .step_by(100)
            .filter_map(|ms| Some((ms, seldom.says(ms)?)))
            .collect();
        assert_eq!(said, [(500, 0), (1_500, 9), (2_500, 9), (3_500, 9)]);
        assert_eq!(seldom.says(100_000), Some(4));
        assert_eq!(seldom.says(200_000), Some(0));
    }
}
