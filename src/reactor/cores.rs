//! Which core a reactor runs on. Called by each reactor's thread at its start.
//!
//! Unpinned, the scheduler leaves two busy reactors on one core for milliseconds while another core has less to do, and a
//! reactor's sockets and slab move between caches. In a storm of reconnects on two cores that was most of a push's delay
//! (docs/performance.md).

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Binds the calling thread to the `number`-th core that the process may use, if it has exactly one for each of its
/// `reactors`. With fewer reactors than cores the scheduler knows better than a number which are free; with more, two
/// would be bound to one. Whether it is bound now; where the kernel refuses, the thread runs as before.
pub(super) fn pin(number: usize, reactors: usize) -> bool {
    sched_getaffinity(None).is_ok_and(|allowed| {
        core_of(number, reactors, &allowed).is_some_and(|core| {
            let mut one = CpuSet::new();
            one.set(core);
            sched_setaffinity(None, &one).is_ok()
        })
    })
}

fn core_of(number: usize, reactors: usize, allowed: &CpuSet) -> Option<usize> {
    let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    (cores.len() == reactors).then(|| cores.get(number).copied()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_reactor_has_a_core_of_its_own_or_none_is_bound() {
        let mut allowed = CpuSet::new();
        for core in [1, 4, 6] {
            allowed.set(core);
        }
        let cores: Vec<_> = (0..3).map(|number| core_of(number, 3, &allowed)).collect();
        assert_eq!(cores, [Some(1), Some(4), Some(6)]);
        assert_eq!(core_of(0, 2, &allowed), None);
        assert_eq!(core_of(0, 4, &allowed), None);
    }

    #[test]
    fn a_bound_thread_may_use_one_core() {
        std::thread::spawn(|| {
            let cores = sched_getaffinity(None).unwrap().count() as usize;
            assert!(pin(cores - 1, cores));
            assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        })
        .join()
        .unwrap();
    }
}
