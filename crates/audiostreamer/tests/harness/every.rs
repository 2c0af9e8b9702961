//! Whether a recording holds every part of a noise that was sent, once, in order: for lossless
//! streams through a playout, which reads between the samples and moves by parts of a frame.

use super::align::locate;
use super::audio::Audio;
use super::compare::products;
pub use super::exact::Fault;

/// The outcome of [`find`].
#[derive(Debug)]
pub struct Found {
    /// Frames of the reference without the silence around it.
    pub frames: usize,
    /// Frames of it that were found.
    pub matched: usize,
    pub faults: Vec<Fault>,
}

impl Found {
    /// Panics unless all is there, once and in order.
    #[track_caller]
    pub fn assert_whole(&self) {
        assert!(self.faults.is_empty(), "{self:?}");
    }

    /// Panics unless all is there, once and in order, from the start of the reference up to some
    /// frame (beyond `end_min`).
    #[track_caller]
    pub fn assert_whole_until(&self, end_min: usize) {
        let faultless = self.faults.len() <= 1 && self.faults.iter().all(|fault| fault.at == self.frames);
        assert!(faultless && self.matched >= end_min, "{self:?}");
    }
}

/// What is compared at once: 5 ms at 48 kHz. Noise of that length is like itself only.
const WINDOW: usize = 240;

/// A window that is like the reference by less is not it. Half a frame beside its place noise is
/// still like itself by 0.64.
const LIKE: f64 = 0.4;

/// So far a resampler may move from one window to the next, in frames.
const DRIFT: isize = 3;

/// So far the next window is looked for where the last was not found, or is the first.
const REACH: isize = 4_800;

/// After so much that was not found nothing is looked for afar, which takes minutes: what follows is
/// missing, or has moved by more than [`REACH`].
const LOST: usize = 48_000;

/// Looks for every window of the reference, without the silence before and after it.
pub fn find(reference: &Audio, recording: &Audio) -> Found {
    assert_eq!((reference.rate, reference.channels), (recording.rate, recording.channels));
    let reference = reference.part(reference.sound());
    let mut found = Found { frames: reference.frames(), matched: 0, faults: Vec::new() };
    let mut lag = locate(&reference, recording);
    let (mut missing, mut first) = (0, true);
    for at in (0..reference.frames()).step_by(WINDOW) {
        let frames = WINDOW.min(reference.frames() - at);
        let near = best(&reference, recording, at, frames, lag - DRIFT..=lag + DRIFT);
        let afar = || best(&reference, recording, at, frames, lag - REACH..=lag + REACH);
        let place = near.or_else(|| if missing < LOST { afar() } else { None });
        let Some(place) = place else {
            missing += frames;
            continue;
        };
        let moved = if first { 0 } else { place - lag };
        if missing > 0 || moved.abs() > DRIFT {
            let instead = (missing as isize + moved).max(0) as usize;
            found.faults.push(Fault { at, missing: missing.max((-moved).max(0) as usize), instead });
        }
        (lag, missing, first) = (place, 0, false);
        found.matched += frames;
    }
    if missing > 0 {
        found.faults.push(Fault { at: found.frames, missing, instead: 0 });
    }
    found
}

/// The lag at which those frames are most like the recording, if they are like it at all.
fn best(
    reference: &Audio,
    recording: &Audio,
    at: usize,
    frames: usize,
    lags: std::ops::RangeInclusive<isize>,
) -> Option<isize> {
    let scored = lags.map(|lag| (lag, likeness(reference, recording, at, frames, lag)));
    scored.filter(|(_, likeness)| *likeness > LIKE).max_by(|a, b| a.1.total_cmp(&b.1)).map(|(lag, _)| lag)
}

/// The normalised correlation of those frames with what is `lag` frames later in the recording; zero
/// where the recording does not hold all of that.
fn likeness(reference: &Audio, recording: &Audio, at: usize, frames: usize, lag: isize) -> f64 {
    let start = at as isize + lag;
    let is_there = start >= 0 && start as usize + frames <= recording.frames();
    if is_there { products(reference, recording, at..at + frames, lag).correlation() } else { 0.0 }
}
