//! Signs of life, left by a card's callback and read by its supervisor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use audiostreamer_core::{Instant, duration_of};

use super::{Capture, Render};
use crate::clock;

/// How often a sound card has lost sound, or played silence, because somebody was late: overruns
/// and underruns. Clones count together, over all reopenings.
#[derive(Clone, Debug, Default)]
pub struct Xruns(Arc<AtomicU64>);

impl Xruns {
    /// So many until now.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one open stream has done so far. All of it is atomic: a callback never waits.
#[derive(Debug)]
pub(super) struct Vitals {
    closed: AtomicBool,
    /// Times in nanoseconds; zero as long as there was no callback.
    first: AtomicU64,
    last: AtomicU64,
    frames: AtomicU64,
    longest: AtomicU64,
    xruns: Xruns,
}

impl Vitals {
    /// Of a stream that adds its overruns and underruns to `xruns`.
    pub(super) fn new(xruns: Xruns) -> Self {
        Self {
            closed: AtomicBool::new(false),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            xruns,
        }
    }

    /// From now on nobody wants this stream: it shall end, and calls nobody until it does.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The card has lost sound, or played silence, because somebody was late.
    pub(super) fn count_xrun(&self) {
        self.xruns.add();
    }

    /// The time of the last callback, if there was one.
    pub(super) fn last_beat(&self) -> Option<Instant> {
        let nanos = self.last.load(Ordering::Acquire);
        (nanos > 0).then_some(Instant::from_nanos(nanos))
    }

    /// The most frames that one callback moved.
    pub(super) fn longest(&self) -> u64 {
        self.longest.load(Ordering::Relaxed)
    }

    /// Whether it has moved far more than real time allows. A second in advance is allowed: a
    /// sound server may hand on at once what it has buffered.
    pub(super) fn is_too_fast(&self, rate: u32) -> bool {
        let Some(last) = self.last_beat() else {
            return false;
        };
        let elapsed = last - Instant::from_nanos(self.first.load(Ordering::Relaxed));
        let moved = duration_of(self.frames.load(Ordering::Relaxed), rate);
        moved > 2 * elapsed + Duration::from_secs(1)
    }

    fn beat(&self, frames: usize) {
        let now = clock::now().as_nanos().max(1);
        let frames = frames as u64;
        if self.frames.fetch_add(frames, Ordering::Relaxed) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
        self.longest.fetch_max(frames, Ordering::Relaxed);
        self.last.store(now, Ordering::Release);
    }
}

/// The caller's callback for either direction.
pub(super) enum Callback {
    Capture(Capture),
    Render(Render),
}

/// A callback that leaves signs of life, and is silent once its stream is closed.
pub(super) struct Watched<F> {
    callback: F,
    channels: usize,
    vitals: Arc<Vitals>,
}

impl<F> Watched<F> {
    pub(super) fn new(callback: F, channels: u16, vitals: &Arc<Vitals>) -> Self {
        Self { callback, channels: usize::from(channels), vitals: vitals.clone() }
    }
}

impl Watched<Capture> {
    /// Hands a block on whose first frame was heard `age` ago.
    pub(super) fn hear(&mut self, samples: &[f32], age: Duration) {
        if !self.vitals.is_closed() {
            self.vitals.beat(samples.len() / self.channels);
            (self.callback)(samples, age);
        }
    }
}

impl Watched<Render> {
    /// Has a block filled whose first frame will be heard after `delay`.
    pub(super) fn fill(&mut self, samples: &mut [f32], delay: Duration) {
        if self.vitals.is_closed() {
            samples.fill(0.0);
        } else {
            self.vitals.beat(samples.len() / self.channels);
            (self.callback)(samples, delay);
        }
    }
}
