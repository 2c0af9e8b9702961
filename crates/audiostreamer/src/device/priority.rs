//! Real-time priority, where the system grants it.

#![expect(unsafe_code, reason = "scheduling is a system call that no safe crate wraps as needed")]

/// Asks that the calling thread runs before all ordinary ones, as a thread must that has to
/// answer within milliseconds on a busy machine. Returns whether that was granted.
///
/// Without the right to it (`RLIMIT_RTPRIO`, usually from being in the group `audio`) nothing
/// changes. Threads that the calling one starts are ordinary again.
pub fn raise_for_audio() -> bool {
    let priority = libc::sched_param { sched_priority: PRIORITY };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: a plain system call that reads `priority` and, for thread 0, concerns only the
    // calling thread.
    unsafe { libc::sched_setscheduler(0, policy, &priority) == 0 }
}

/// Above ordinary threads, below JACK's and PipeWire's own (10 and more), whose cards feed ours.
const PRIORITY: i32 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_reports_is_what_the_thread_has() {
        let granted = std::thread::spawn(|| {
            let granted = raise_for_audio();
            // SAFETY: a plain system call without pointers.
            let policy = unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK;
            assert_eq!(granted, policy == libc::SCHED_RR);
        });
        granted.join().unwrap();
    }
}
