//! The clock that all processes of a run share: CLOCK_MONOTONIC, which no time server moves. Used for every intended time
//! and every delay. Never the wall clock, but for the time stamp of a result.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds of CLOCK_MONOTONIC: the same number in every process of this machine.
pub fn now_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// Milliseconds since 1970, for the head of a result.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}

/// A timer of the kernel that wakes a poll at a moment of `now_us`, to the microsecond (a poll's own time-out is rounded up
/// to milliseconds, which would show in every delay).
pub struct Alarm {
    timer: rustix::fd::OwnedFd,
    set_us: u64,
}

impl Alarm {
    /// Registered under this token.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(registry: &mio::Registry, token: mio::Token) -> std::io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let raw = std::os::fd::AsRawFd::as_raw_fd(&timer);
        registry.register(&mut mio::unix::SourceFd(&raw), token, mio::Interest::READABLE)?;
        Ok(Self { timer, set_us: 0 })
    }

    /// Wakes at this moment, and not at an earlier one that was set before.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, at_us: u64) -> std::io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        if at_us == self.set_us {
            return Ok(());
        }
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        let at_us = at_us.max(1); // zero would switch it off
        let value = Timespec {
            tv_sec: (at_us / 1_000_000) as i64,
            tv_nsec: (at_us % 1_000_000 * 1_000) as i64,
        };
        let times = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &times)?;
        self.set_us = at_us;
        Ok(())
    }
}
