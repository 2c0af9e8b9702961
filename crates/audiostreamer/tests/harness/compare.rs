//! How well a recording resembles what was sent: for lossy codecs, resamplers and sound cards.

use std::ops::Range;

use super::align::{best_lag, locate};
use super::audio::Audio;

/// What of a reference is heard in a recording, and how.
#[derive(Debug)]
pub struct Heard {
    /// The frame of the recording on which frame 0 of the reference falls.
    pub delay: isize,
    /// From -1.0 to 1.0, over all of `part`, gaps included, at the best local alignment.
    pub correlation: f64,
    /// The level of the recording against the reference over `part`.
    pub gain_db: f64,
    /// From the first to the last moment that is heard, in seconds of the reference.
    pub part: Range<f64>,
    /// The same of a perfect recording: from the first to the last moment that is not silent.
    pub sound: Range<f64>,
    /// What is not heard within `part`.
    pub gaps: Vec<Gap>,
    /// Where the alignment changes: sound was left out, or held up.
    pub jumps: Vec<Jump>,
}

/// A run of silence, or of something else than the reference.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// In seconds of the reference.
    pub at: f64,
    pub millis: f64,
}

/// A change of the delay, positive when it grew.
#[derive(Clone, Copy, Debug)]
pub struct Jump {
    /// In seconds of the reference.
    pub at: f64,
    pub millis: f64,
}

/// Windows per second: 2.5 ms, the shortest frame that is sent.
const WINDOWS: u32 = 400;

/// Windows in a segment, which has one alignment.
const SEGMENT: usize = 20;

/// How far an alignment may move at once.
const REACH_SECONDS: f64 = 0.1;

/// So many frames may a segment be beside the one before.
const DRIFT: isize = 14;

/// What the delay may take to find its place, in seconds.
const SETTLING: f64 = 0.5;

/// A segment below this looks for a better alignment.
const DOUBTFUL: f64 = 0.8;

/// A window below this is not heard. Opus at its shortest frames stays far above it.
const UNLIKE: f64 = 0.4;

/// A window this much quieter than the reference is not heard.
const FAINT: f64 = 0.02;

/// The mean square below which a reference's window is silence, and says nothing: -60 dB.
const SILENT: f64 = 1e-6;

/// Seconds at the start and the end of a sound that a codec may need to get going.
const EDGE: f64 = 0.01;

impl Heard {
    /// Panics unless all of the reference is there, as one piece, as like as `correlation`.
    #[track_caller]
    pub fn assert_whole(&self, correlation: f64) {
        self.assert_unbroken(correlation);
        let missing = (self.part.start - self.sound.start, self.sound.end - self.part.end);
        assert!(missing.0 < EDGE && missing.1 < EDGE, "missing at start and end: {missing:?} s; {self:?}");
    }

    /// Panics unless the part that is there is one piece, as like as `correlation`.
    #[track_caller]
    pub fn assert_unbroken(&self, correlation: f64) {
        assert!(self.correlation > correlation, "correlation is not above {correlation}: {self:?}");
        assert!(self.gaps.is_empty() && self.jumps.is_empty(), "it is broken: {self:?}");
    }

    /// Panics unless it is one piece from half a second after it is first heard: until then the delay
    /// may still be finding its place.
    #[track_caller]
    pub fn assert_settled(&self, correlation: f64) {
        assert!(self.correlation > correlation, "correlation is not above {correlation}: {self:?}");
        let settled = |at: f64| at > self.part.start + SETTLING;
        let broken = self.gaps.iter().any(|gap| settled(gap.at)) || self.jumps.iter().any(|jump| settled(jump.at));
        assert!(!broken, "it is broken: {self:?}");
    }

    /// Seconds of the reference that are heard, gaps left out.
    pub fn seconds(&self) -> f64 {
        let gaps: f64 = self.gaps.iter().map(|gap| gap.millis / 1000.0).sum();
        self.part.end - self.part.start - gaps
    }
}

/// Compares window by window. Both must have the same rate and channels.
pub fn compare(reference: &Audio, recording: &Audio) -> Heard {
    assert_eq!(reference.rate, recording.rate, "reference and recording have the same rate");
    let delay = locate(reference, recording);
    let window = (reference.rate / WINDOWS) as usize;
    let (lags, jumps) = align_segments(reference, recording, delay, window * SEGMENT);
    let windows: Vec<Products> = (0..reference.frames() / window)
        .map(|index| products(reference, recording, index * window..(index + 1) * window, lags[index / SEGMENT]))
        .collect();

    let Range { start, end } = extent(&windows, Products::is_heard);
    let sound = extent(&windows, |window| !window.is_silent());
    let sum = windows[start..end].iter().fold(Products::default(), Products::plus);
    let seconds = |index: usize| index as f64 / f64::from(WINDOWS);
    Heard {
        delay,
        correlation: sum.correlation(),
        gain_db: 10.0 * (sum.recording / sum.reference).log10(),
        part: seconds(start)..seconds(end),
        sound: seconds(sound.start)..seconds(sound.end),
        gaps: gaps(&windows[..end], start),
        jumps: jumps.into_iter().filter(|jump| (seconds(start)..seconds(end)).contains(&jump.at)).collect(),
    }
}

/// From the first window of that kind to the last; empty when there is none.
fn extent(windows: &[Products], is_it: impl Fn(&Products) -> bool) -> Range<usize> {
    let first = windows.iter().position(&is_it).unwrap_or(0);
    first..windows.iter().rposition(is_it).map_or(first, |last| last + 1)
}

/// The lag of each segment, and where it differs from the one before.
fn align_segments(reference: &Audio, recording: &Audio, delay: isize, segment: usize) -> (Vec<isize>, Vec<Jump>) {
    let millis = |frames: isize| frames as f64 * 1000.0 / f64::from(reference.rate);
    let mut lag = delay;
    let mut lags = Vec::new();
    let mut jumps = Vec::new();
    let mut placed = false;
    for start in (0..reference.frames()).step_by(segment) {
        let frames = start..(start + segment).min(reference.frames());
        let better = align_segment(reference, recording, frames.clone(), lag);
        // Where it begins is no jump, wherever most of it is, and what a segment may drift by is none either: of a
        // high note a few frames of it are enough to look for another place.
        if (better - lag).abs() > DRIFT && placed {
            jumps.push(Jump { at: start as f64 / f64::from(reference.rate), millis: millis(better - lag) });
        }
        lag = follow(reference, recording, frames.clone(), better);
        placed |= products(reference, recording, frames, lag).is_heard();
        lags.push(lag);
    }
    (lags, jumps)
}

/// A resampler that follows a clock, or brings the delay where it belongs, moves by a little.
fn follow(reference: &Audio, recording: &Audio, frames: Range<usize>, lag: isize) -> isize {
    let like = |lag: isize| products(reference, recording, frames.clone(), lag).correlation();
    if !products(reference, recording, frames.clone(), lag).is_heard() {
        return lag;
    }
    (lag - DRIFT..=lag + DRIFT).max_by(|&a, &b| like(a).total_cmp(&like(b))).unwrap_or(lag)
}

/// The lag near `lag` that suits those frames clearly better, else `lag` itself.
fn align_segment(reference: &Audio, recording: &Audio, frames: Range<usize>, lag: isize) -> isize {
    let here = products(reference, recording, frames.clone(), lag);
    if here.is_silent() || here.correlation() > DOUBTFUL {
        return lag;
    }
    let reach = (REACH_SECONDS * f64::from(reference.rate)) as isize;
    let around =
        clamp(frames.start as isize + lag - reach, recording)..clamp(frames.end as isize + lag + reach, recording);
    let base = around.start as isize - frames.start as isize;
    let wanted = reference.part(frames.clone()).channel(0);
    let near = best_lag(&wanted, &recording.part(around).channel(0), lag - reach - base..lag + reach + 1 - base) + base;
    let there = products(reference, recording, frames, near);
    if there.correlation() > here.correlation().max(UNLIKE) + 0.15 { near } else { lag }
}

fn clamp(frame: isize, audio: &Audio) -> usize {
    frame.clamp(0, audio.frames() as isize) as usize
}

/// Runs of windows that are not heard, from `first` on; silence of the reference belongs to what
/// surrounds it.
fn gaps(windows: &[Products], first: usize) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    let mut open = false;
    for (index, window) in windows.iter().enumerate().skip(first) {
        if window.is_heard() {
            open = false;
        } else if !window.is_silent() {
            if !open {
                gaps.push(Gap { at: index as f64 / f64::from(WINDOWS), millis: 0.0 });
            }
            open = true;
            gaps.last_mut().expect("one is open").millis += 1000.0 / f64::from(WINDOWS);
        }
    }
    gaps
}

/// Sums over a stretch of the reference and what is recorded in its place.
#[derive(Clone, Copy, Default)]
pub(super) struct Products {
    reference: f64,
    recording: f64,
    both: f64,
    samples: usize,
}

impl Products {
    pub(super) fn correlation(&self) -> f64 {
        self.both / (self.reference * self.recording).sqrt().max(1e-12)
    }

    fn is_silent(&self) -> bool {
        self.reference < SILENT * self.samples as f64
    }

    fn is_heard(&self) -> bool {
        !self.is_silent() && self.recording > FAINT * self.reference && self.correlation() > UNLIKE
    }

    fn plus(self, other: &Products) -> Products {
        Products {
            reference: self.reference + other.reference,
            recording: self.recording + other.recording,
            both: self.both + other.both,
            samples: self.samples + other.samples,
        }
    }
}

/// What lies outside the recording is silence.
pub(super) fn products(reference: &Audio, recording: &Audio, frames: Range<usize>, lag: isize) -> Products {
    let channels = reference.channels as isize;
    let mut sum = Products { samples: frames.len() * reference.channels, ..Products::default() };
    for index in frames.start as isize * channels..frames.end as isize * channels {
        let x = f64::from(reference.samples[index as usize]);
        let y = usize::try_from(index + lag * channels).ok().and_then(|index| recording.samples.get(index));
        let y = f64::from(y.copied().unwrap_or(0.0));
        sum.reference += x * x;
        sum.recording += y * y;
        sum.both += x * y;
    }
    sum
}
