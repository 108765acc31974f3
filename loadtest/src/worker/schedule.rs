//! Open-loop schedules: moments that are fixed beforehand, whatever the server does. Who is late sends at once, and the
//! delay counts from the intended moment. Never reads a clock.

use crate::plan::When;

/// Moments at equal distances.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    when: When,
    done: u64,
}

impl OpenLoop {
    /// Begins at the schedule's first moment. A rate of 0 has no moments.
    pub fn new(when: When) -> Self {
        Self { when, done: 0 }
    }

    /// The next moment; none when it is over.
    pub fn next_us(&self) -> Option<u64> {
        if self.when.per_second <= 0.0 {
            return None;
        }
        let at_us = self.when.at_us + (self.done as f64 * 1e6 / self.when.per_second) as u64;
        (at_us < self.when.until_us).then_some(at_us)
    }

    /// No moment is left.
    pub fn end(&mut self) {
        self.when.per_second = 0.0;
    }

    /// Takes the next moment if it has come.
    pub fn take(&mut self, now_us: u64) -> Option<u64> {
        let at_us = self.next_us().filter(|at_us| *at_us <= now_us)?;
        self.done += 1;
        Some(at_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_do_not_depend_on_when_they_are_taken() {
        let when = When {
            at_us: 1_000,
            per_second: 1_000.0,
            until_us: 5_000,
        };
        let mut schedule = OpenLoop::new(when);
        assert_eq!(schedule.take(999), None);
        let late: Vec<u64> = std::iter::from_fn(|| schedule.take(1_000_000)).collect();
        assert_eq!(late, [1_000, 2_000, 3_000, 4_000]);
        assert_eq!(schedule.next_us(), None);
        let mut cut_short = OpenLoop::new(when);
        cut_short.end();
        assert_eq!(cut_short.take(1_000_000), None);
    }
}
