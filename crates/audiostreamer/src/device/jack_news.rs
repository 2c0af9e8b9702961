//! What JACK tells beside the sound: that it stops, and what was lost.

#![expect(unsafe_code, reason = "the jack crate's shutdown notification is an unsafe method, and libc lacks a call")]

use std::ffi::c_int;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};

use jack::{Client, ClientStatus, Control, NotificationHandler, PortId};

use super::vitals::Vitals;

/// What the server tells beside the sound, on a thread of the library's for such news.
pub(super) struct News {
    vitals: Arc<Vitals>,
    end: Arc<End>,
}

impl News {
    /// Counts overruns in `vitals`, and tells `end` when it has come.
    pub(super) fn new(vitals: &Arc<Vitals>, end: &Arc<End>) -> Self {
        Self { vitals: vitals.clone(), end: end.clone() }
    }
}

impl NotificationHandler for News {
    // SAFETY: only atomic stores and a wake-up, as a signal handler might do.
    unsafe fn shutdown(&mut self, _: ClientStatus, _: &str) {
        postpone_cancellation();
        self.end.come(&self.end.shut_down);
    }

    fn sample_rate(&mut self, _: &Client, rate: jack::Frames) -> Control {
        if rate != self.end.rate {
            self.end.come(&self.end.rate_changed);
        }
        Control::Continue
    }

    fn xrun(&mut self, _: &Client) -> Control {
        postpone_cancellation();
        self.vitals.count_xrun();
        Control::Continue
    }

    fn client_registration(&mut self, _: &Client, _: &str, _: bool) {
        postpone_cancellation();
    }

    fn port_registration(&mut self, _: &Client, _: PortId, _: bool) {
        postpone_cancellation();
    }

    fn ports_connected(&mut self, _: &Client, _: PortId, _: PortId, _: bool) {
        postpone_cancellation();
    }

    fn graph_reorder(&mut self, _: &Client) -> Control {
        postpone_cancellation();
        Control::Continue
    }
}

/// Has the calling thread be cancelled between callbacks only.
///
/// JACK's library cancels the thread that brings news when a client is closed, by default
/// wherever it is. In the middle of Rust code that aborts the whole program ("FATAL: exception
/// not rethrown"), which happened in one of fifteen crashes of a server.
fn postpone_cancellation() {
    unsafe extern "C" {
        fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int;
    }
    const DEFERRED: c_int = 0; // PTHREAD_CANCEL_DEFERRED, which the libc crate does not have
    // SAFETY: concerns the calling thread only, writes no memory, and is the default elsewhere.
    unsafe { pthread_setcanceltype(DEFERRED, ptr::null_mut()) };
}

/// Whether and why the server's thread no longer calls us.
pub(super) struct End {
    shut_down: AtomicBool,
    rate_changed: AtomicBool,
    rate: jack::Frames,
    waiting: Thread,
}

impl End {
    /// Of a client that runs at `rate`, awaited by the calling thread.
    pub(super) fn new(rate: jack::Frames) -> Self {
        Self {
            shut_down: AtomicBool::new(false),
            rate_changed: AtomicBool::new(false),
            rate,
            waiting: thread::current(),
        }
    }

    fn come(&self, why: &AtomicBool) {
        why.store(true, Ordering::Release);
        self.waiting.unpark();
    }

    pub(super) fn has_come(&self) -> bool {
        self.why().is_err()
    }

    /// An error when it has come.
    pub(super) fn why(&self) -> Result<(), RunError> {
        if self.shut_down.load(Ordering::Acquire) {
            return Err(RunError::ShutDown);
        }
        if self.rate_changed.load(Ordering::Acquire) {
            return Err(RunError::RateChanged);
        }
        Ok(())
    }
}

/// Why the server no longer moves our sound.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("the JACK server has stopped or thrown us out")]
    ShutDown,
    #[error("the JACK server has changed its sample rate")]
    RateChanged,
    #[error("JACK: {0}")]
    Jack(#[from] jack::Error),
}
