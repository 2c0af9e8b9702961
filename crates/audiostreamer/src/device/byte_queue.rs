//! Rendered sound on its way to a writer that may be slower than real time.
//!
//! The queue has a bound. When it is full, all that waits in it is dropped, not the newest block:
//! what comes after a stall is then live again, and there is one gap instead of many.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Bytes between the thread that renders and the thread that writes.
#[derive(Debug)]
pub struct ByteQueue {
    state: Mutex<State>,
    changed: Condvar,
    /// Bytes that may wait.
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    missing: Missing,
    /// Bytes that are worth waking the taker for.
    awaited: usize,
    /// Nothing is added any more.
    finished: bool,
    /// Nothing is taken any more.
    abandoned: bool,
}

/// What never got into the queue, or not out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Time in which nothing was rendered.
    pub skipped: Duration,
    /// Bytes that were dropped because the queue was full.
    pub dropped: usize,
}

impl ByteQueue {
    /// An empty queue in which `limit` bytes may wait.
    pub fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), limit }
    }

    /// Adds a block of whole frames, `skipped` after the one before. False when nobody takes it.
    pub fn push(&self, block: &[u8], skipped: Duration) -> bool {
        let mut state = self.lock();
        state.missing.skipped += skipped;
        if state.bytes.len() + block.len() > self.limit {
            state.missing.dropped += state.bytes.len();
            state.bytes.clear();
        }
        state.bytes.extend(block);
        if state.bytes.len() >= state.awaited {
            self.changed.notify_one();
        }
        !state.abandoned
    }

    /// Says that nothing more will be pushed.
    pub fn finish(&self) {
        self.lock().finished = true;
        self.changed.notify_one();
    }

    /// Says that nothing more will be taken.
    pub fn abandon(&self) {
        self.lock().abandoned = true;
    }

    /// Whether [`finish`](Self::finish) has been called.
    pub fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// Waits for `at_least` bytes or the end, then moves up to `at_most` into `bytes`. None when
    /// it is finished and empty.
    ///
    /// `at_most` must be whole frames: what is dropped between two calls would tear one apart.
    pub fn take(&self, at_least: usize, at_most: usize, bytes: &mut Vec<u8>) -> Option<Missing> {
        let mut state = self.lock();
        state.awaited = at_least;
        while state.bytes.len() < at_least && !state.finished {
            state = self.changed.wait(state).expect(NO_PANIC);
        }
        if state.bytes.is_empty() {
            return None;
        }
        let length = at_most.min(state.bytes.len());
        bytes.clear();
        bytes.extend(state.bytes.drain(..length));
        Some(std::mem::take(&mut state.missing))
    }

    /// What is missing since the last call of this or of [`take`](Self::take).
    pub fn take_missing(&self) -> Missing {
        std::mem::take(&mut self.lock().missing)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect(NO_PANIC)
    }
}

const NO_PANIC: &str = "nothing that holds the lock panics";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_comes_out_in_order() {
        let queue = ByteQueue::new(100);
        assert!(queue.push(&[1, 2, 3], Duration::ZERO));
        assert!(queue.push(&[4, 5, 6], Duration::ZERO));
        assert_eq!(take(&queue, 4), Some((vec![1, 2, 3, 4], Missing::default())));
        assert_eq!(take(&queue, 4), Some((vec![5, 6], Missing::default())));
    }

    #[test]
    fn a_full_queue_drops_all_that_waits_and_counts_it() {
        let queue = ByteQueue::new(5);
        queue.push(&[1, 2], Duration::ZERO);
        queue.push(&[3, 4], Duration::ZERO);
        queue.push(&[5, 6], Duration::from_millis(70));
        let missing = Missing { dropped: 4, skipped: Duration::from_millis(70) };
        assert_eq!(take(&queue, 9), Some((vec![5, 6], missing)));
        queue.push(&[7], Duration::ZERO);
        assert_eq!(take(&queue, 9), Some((vec![7], Missing::default())), "it is told once");
    }

    #[test]
    fn a_finished_queue_is_emptied_first() {
        let queue = ByteQueue::new(100);
        queue.push(&[1], Duration::ZERO);
        queue.finish();
        let mut bytes = Vec::new();
        assert!(queue.take(50, 50, &mut bytes).is_some());
        assert_eq!(bytes, [1]);
        assert_eq!(queue.take(50, 50, &mut bytes), None);
    }

    #[test]
    fn finishing_wakes_the_one_who_waits() {
        let queue = ByteQueue::new(100);
        std::thread::scope(|scope| {
            let taker = scope.spawn(|| queue.take(1, 1, &mut Vec::new()));
            queue.finish();
            assert_eq!(taker.join().unwrap(), None);
        });
    }

    #[test]
    fn the_one_who_pushes_learns_that_nobody_takes() {
        let queue = ByteQueue::new(100);
        queue.abandon();
        assert!(!queue.push(&[1], Duration::ZERO));
    }

    fn take(queue: &ByteQueue, at_most: usize) -> Option<(Vec<u8>, Missing)> {
        let mut bytes = Vec::new();
        queue.take(1, at_most, &mut bytes).map(|missing| (bytes, missing))
    }
}
