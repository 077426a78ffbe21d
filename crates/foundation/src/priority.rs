//! How urgent a thread is to the system.

/// How much less urgent than others a thread that yields is. With 10, of a
/// processor that both want whole it leaves nine tenths to a thread at 0.
const YIELDING_NICENESS: i32 = 10;

/// How long such a thread would like to run at a time. Linux (from 6.12) lets
/// whoever wakes up and wants less go first, at once; of all the time it still
/// gets its share.
#[cfg(target_os = "linux")]
const YIELDING_SLICE_NS: u64 = 100_000_000;

/// Makes the calling thread, and the threads it starts from now on, yield to
/// others where processors are scarce. What the system refuses is left as it
/// was: it is a matter of speed only.
#[allow(unsafe_code)]
pub fn yield_to_others() {
    // SAFETY: takes numbers only; 0 stands for the calling thread.
    let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, YIELDING_NICENESS) };
    debug_assert_eq!(refused, 0, "becoming less urgent is always allowed");
    #[cfg(target_os = "linux")]
    let_others_go_first();
}

/// Asks for a long time slice; older systems refuse or overlook it.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn let_others_go_first() {
    let wish = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: 0,
        sched_nice: YIELDING_NICENESS,
        sched_priority: 0,
        sched_runtime: YIELDING_SLICE_NS,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: `wish` lives through the call, which only reads the size it names; 0 stands for the calling thread.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const wish, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn only_the_calling_thread_yields() {
        // SAFETY: takes numbers only.
        let niceness = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = niceness();
        let yielding = std::thread::spawn(move || {
            yield_to_others();
            niceness()
        });
        assert_eq!(yielding.join().unwrap(), YIELDING_NICENESS);
        assert_eq!(niceness(), before);
    }
}
