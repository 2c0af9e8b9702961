//! What came out of the speaker, read sample by sample off the time code.
//!
//! A sample is *sound* when it follows its neighbour as the code says, *silence* when it is zero,
//! and else a *fade*: a ramp, the sound of a loss, the sum of two voices.

use crate::card::{Block, Clock};
use crate::signal::TimeCode;

/// Reads one microphone's signal in one channel of the speaker.
pub struct Track {
    code: TimeCode,
    /// Frames of the microphone per frame of the speaker, by the cards' nominal rates.
    step: f64,
    /// Whether a resampler is on the way.
    filtered: bool,
    last: Last,
    heard: Heard,
}

/// The sample before.
#[derive(Clone, Copy)]
enum Last {
    /// Counted as silence or as a fade.
    Other,
    /// It and so many before it look like code; the next one will tell.
    Candidate { place: f64, before: u64 },
    Sound {
        place: f64,
        /// Its number, all counted.
        position: f64,
    },
}

/// A stretch without sound between two with, or a jump from one to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// When it began, in seconds.
    pub at: f64,
    /// How long it was, in frames of the speaker.
    pub frames: u64,
    /// How far the microphone's time went on meanwhile, in its frames: as many as `frames` when
    /// the timeline stood, more when something was skipped, less when it was put off.
    pub passed: f64,
}

/// The delay of a short stretch of sound.
#[derive(Clone, Copy, Debug)]
struct Measured {
    at: f64,
    millis: f64,
    frames: u64,
}

/// All that was heard so far. Times are in seconds, frames are the speaker's.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub sound_frames: u64,
    pub silent_frames: u64,
    pub faded_frames: u64,
    /// Sound that is not newer than what was heard before.
    pub repeated_frames: u64,
    /// When the first sound was heard.
    pub first: Option<f64>,
    /// When the last sound was heard.
    pub last: f64,
    pub gaps: Vec<Gap>,
    newest: f64,
    since_sound: u64,
    delays: Vec<Measured>,
}

/// A delay is noted down this often, in frames.
const MEASURE: u64 = 480;

/// How far a step may be from the nominal one, in frames of the microphone. Fades are hundreds of
/// frames off, drift and rounding a few hundredths.
const TOLERANCE: f64 = 0.1;

/// So many steps in a row are no accident. The sound of a loss is made to resemble what was before
/// it, and now and then it is as steep as the code.
const CERTAIN: u64 = 16;

/// How far around its fall the sawtooth can't be read after a resampler: its filter has 64 taps of
/// the slower rate, here at most half the microphone's.
const RINGING: f64 = 128.0;

impl Track {
    pub fn new(code: TimeCode, step: f64, filtered: bool) -> Self {
        Self { code, step, filtered, last: Last::Other, heard: Heard::default() }
    }

    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Takes one channel of a block that `speaker` plays, of what `microphone` has heard.
    pub fn handle(&mut self, block: Block, samples: impl Iterator<Item = f32>, speaker: &Clock, microphone: &Clock) {
        for (frame, sample) in (block.first..).zip(samples) {
            let place = self.code.read(sample);
            self.last = match (self.last, place) {
                (Last::Sound { place: before, position }, Some(place)) if self.follows(before, place) => {
                    let position = position + self.code.step(before, place);
                    self.heard.sound(position);
                    Last::Sound { place, position }
                }
                (Last::Candidate { place: last, before }, Some(place)) if self.follows(last, place) => {
                    let before = before + 1;
                    match before < CERTAIN {
                        true => Last::Candidate { place, before },
                        false => {
                            let now = speaker.heard_nanos(frame as f64);
                            let position = self.unwrap(place, microphone.frame_at(now));
                            let first = position - before as f64 * self.step;
                            self.begin(place - before as f64 * self.step, first, now * 1e-9);
                            (0..=before).for_each(|n| self.heard.sound(first + n as f64 * self.step));
                            Last::Sound { place, position }
                        }
                    }
                }
                (last, place) => {
                    if let Last::Candidate { before, .. } = last {
                        self.heard.faded(before + 1);
                    }
                    match place {
                        Some(place) => Last::Candidate { place, before: 0 },
                        None => {
                            if sample == 0.0 {
                                self.heard.silent();
                            } else {
                                self.heard.faded(1);
                            }
                            Last::Other
                        }
                    }
                }
            };
        }
        if let Last::Sound { position, .. } = self.last {
            let now = speaker.heard_nanos((block.first + block.frames as u64 - 1) as f64);
            let delay = now - microphone.heard_nanos(position);
            self.heard.measure(now * 1e-9, delay * 1e-6, block.frames as u64);
        }
    }

    /// Sound begins after something else, at `position`, which is `place` in the code.
    fn begin(&mut self, place: f64, position: f64, now: f64) {
        let heard = &mut self.heard;
        if heard.first.is_none() {
            heard.first = Some(now);
            heard.newest = position - self.step;
            return;
        }
        let gap = Gap { at: heard.last, frames: heard.since_sound, passed: position - heard.newest - self.step };
        // A resampler rings where the sawtooth falls and where a fade ends.
        let edge = place.min(f64::from(self.code.length) - place) < RINGING;
        let stands = (gap.passed - gap.frames as f64 * self.step).abs() < 1.0;
        if !(self.filtered && stands && (edge || gap.frames <= 2)) {
            heard.gaps.push(gap);
        }
    }

    fn follows(&self, before: f64, place: f64) -> bool {
        (self.code.step(before, place) - self.step).abs() < TOLERANCE
    }

    /// The newest frame with that place in the code that can have been heard.
    fn unwrap(&self, place: f64, newest: f64) -> f64 {
        // A resampler's filter may look a few frames of rounding into the future.
        let newest = newest + 1.0;
        newest - (newest - place).rem_euclid(f64::from(self.code.length))
    }
}

impl Heard {
    /// The delay from mouth to ear that so much of the sound had at the most, in milliseconds;
    /// `share` from 0 to 1.
    pub fn delay(&self, share: f64) -> f64 {
        self.delay_from(0.0, share)
    }

    /// As [`delay`](Self::delay), of what was heard after `second`.
    pub fn delay_from(&self, second: f64, share: f64) -> f64 {
        let mut delays: Vec<&Measured> = self.delays.iter().filter(|delay| delay.at >= second).collect();
        delays.sort_by(|a, b| a.millis.total_cmp(&b.millis));
        let all: u64 = delays.iter().map(|delay| delay.frames).sum();
        let mut left = (all as f64 * share) as u64;
        for delay in &delays {
            match left.checked_sub(delay.frames) {
                Some(rest) if rest > 0 => left = rest,
                _ => return delay.millis,
            }
        }
        panic!("nothing was heard after second {second}");
    }

    /// Gaps that began after `second`.
    pub fn gaps_from(&self, second: f64) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(move |gap| gap.at >= second)
    }

    /// Frames in the longest gap.
    pub fn longest_gap(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.frames).max().unwrap_or(0)
    }

    fn sound(&mut self, position: f64) {
        self.sound_frames += 1;
        self.since_sound = 0;
        if position <= self.newest {
            self.repeated_frames += 1;
        }
        self.newest = self.newest.max(position);
    }

    fn silent(&mut self) {
        self.silent_frames += 1;
        self.since_sound += 1;
    }

    fn faded(&mut self, frames: u64) {
        self.faded_frames += frames;
        self.since_sound += frames;
    }

    fn measure(&mut self, at: f64, millis: f64, frames: u64) {
        self.last = at;
        match self.delays.last_mut() {
            Some(last) if last.frames < MEASURE && (last.millis - millis).abs() < 0.001 => last.frames += frames,
            _ => self.delays.push(Measured { at, millis, frames }),
        }
    }
}
