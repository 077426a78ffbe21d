//! How urgent a thread is to the system.

/// How much less urgent than others a thread that yields is. With 10, of a
/// processor that both want whole it leaves nine tenths to a thread at 0.
const YIELDING_NICENESS: i32 = 10;

/// Makes the calling thread, and the threads it starts from now on, yield to
/// others where processors are scarce. What the system refuses is left as it
/// was: it is a matter of speed only.
#[allow(unsafe_code)]
pub fn yield_to_others() {
    // SAFETY: takes numbers only; 0 stands for the calling thread.
    let refused = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, YIELDING_NICENESS) };
    debug_assert_eq!(refused, 0, "becoming less urgent is always allowed");
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
