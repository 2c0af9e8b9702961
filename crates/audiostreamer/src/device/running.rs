//! What keeps a source or sink running.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::clock;

/// A source or sink at work; dropping it stops it.
///
/// The drop waits at most 300 ms for its threads. One that hangs in the operating system for
/// longer is left to end by itself.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// Takes over `threads`, which end soon after `stop` is set and they are unparked.
    pub fn new(stop: Arc<AtomicBool>, threads: Vec<JoinHandle<()>>) -> Self {
        Self { stop, threads }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in &self.threads {
            thread.thread().unpark();
        }
        let deadline = clock::now() + PATIENCE;
        for thread in self.threads.drain(..) {
            while !thread.is_finished() && clock::now() < deadline {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                let _ = thread.join(); // its panic has been printed
            }
        }
    }
}

/// Long enough to finish a file, short enough for Ctrl-C to feel immediate.
const PATIENCE: Duration = Duration::from_millis(300);
