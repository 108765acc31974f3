//! File descriptors: how many this process may have, which ones it was started with, and how each reactor gets a table of
//! its own. The one place with `unsafe`. Called at start-up.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Descriptors kept for everything that is no client: listeners, polls, log, NATS, and the API with up to 256 callers.
const RESERVE: usize = 384;

/// How many of `limit` descriptors may be clients: all but the reserve, or three quarters where there are few.
pub fn for_clients(limit: usize) -> usize {
    limit - (limit / 4).min(RESERVE)
}

/// Raises the soft limit of open descriptors to the hard one, which needs no privilege, and says what it is now.
///
/// # Errors
/// What the kernel says; the limit is then what it was.
pub fn raise_limit() -> io::Result<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit for the kernel to write into, and lives over the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a valid rlimit, only read by the kernel.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

/// The descriptors that a service manager passed to this process (`sd_listen_fds(3)`), none without one. They are not
/// handed on to programs that this process might start. Each has one owner: a second call gives none.
///
/// To be called before anything else opens descriptors: the environment says by number alone which ones they are.
///
/// # Errors
/// `LISTEN_PID` or `LISTEN_FDS` is no number, or a descriptor that they promise is not there.
pub fn inherited() -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let numbers = sd_notify::listen_fds()?;
    // SAFETY: `listen_fds` found each of them open, the service manager opened them for this very process (LISTEN_PID), and
    // nobody else owns them: nothing was opened before, and TAKEN lets this line run once.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

/// Gives the calling thread a descriptor table of its own, a copy of the process's at this moment
/// (`unshare(2)`, CLONE_FILES). The limit of open descriptors holds for a table, so a process with N such threads holds N
/// times as many sockets, and the kernel need not count references on a table that one thread uses alone.
///
/// From then on a descriptor opened here means nothing to other threads, and theirs nothing here: whatever both need (the
/// poll's waker, the log) must be open before.
///
/// # Errors
/// What the kernel says; the table is then shared as before.
pub fn unshare_table() -> io::Result<()> {
    // SAFETY: touches no memory; the threads that share the old table keep it.
    if unsafe { libc::unshare(libc::CLONE_FILES) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
