//! What came out of the speaker, read sample by sample off the time code.
//!
//! A sample is *sound* when it follows the code at a speed near the nominal one, *silence* when it
//! is next to zero, and else a *fade*: a ramp, a concealment, the sum of two voices.

mod follow;
mod heard;
#[cfg(test)]
mod tests;

use crate::card::{Block, Clock};
use crate::signal::code::{Cursor, TimeCode};
use follow::{Candidate, Follower};

pub use heard::{Gap, Heard, Splice};

/// Reads one microphone's signal in one channel of the speaker.
pub struct Track {
    code: TimeCode,
    /// Frames of the microphone per frame of the speaker, by the cards' nominal rates.
    step: f64,
    state: State,
    /// The sample before.
    last: f64,
    /// The samples since the sound ended, as long as they may be a crossfade.
    trail: Vec<f32>,
    heard: Heard,
}

enum State {
    /// Silence or a fade, perhaps with the beginning of sound in it.
    Other(Option<Candidate>),
    Sound(Follower),
}

/// Below this is silence.
const SILENCE: f64 = 1e-4;

/// The longest crossfade that is taken for one, in frames of the speaker.
const CROSSFADE_MAX: usize = 1_200;

/// The shortest: a cut is a click, not a splice.
const CROSSFADE_MIN: u64 = 24;

impl Track {
    pub fn new(code: TimeCode, step: f64) -> Self {
        let trail = Vec::with_capacity(CROSSFADE_MAX);
        Self { code, step, state: State::Other(None), last: 0.0, trail, heard: Heard::default() }
    }

    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Takes one channel of a block that `speaker` plays, of what `microphone` has heard.
    pub fn handle(&mut self, block: Block, samples: impl Iterator<Item = f32>, speaker: &Clock, microphone: &Clock) {
        for (frame, sample) in (block.first..).zip(samples) {
            self.read(frame, sample, speaker, microphone);
        }
        if let State::Sound(follower) = &self.state {
            let now = speaker.heard_nanos((block.first + block.frames as u64 - 1) as f64);
            self.heard.measure(now, microphone.heard_nanos(follower.position()));
        }
    }

    fn read(&mut self, frame: u64, sample: f32, speaker: &Clock, microphone: &Clock) {
        let (value, last) = (f64::from(sample), std::mem::replace(&mut self.last, f64::from(sample)));
        if let State::Sound(follower) = &mut self.state {
            if follower.follows(value) {
                return self.heard.sound(follower.position());
            }
            self.trail.clear();
            self.state = State::Other(None);
        }
        let State::Other(candidate) = &mut self.state else { return };
        if self.trail.len() < CROSSFADE_MAX {
            self.trail.push(sample);
        }
        if let Some(begun) = candidate {
            if begun.follower.follows(value) {
                begun.frames += 1;
                if begun.is_certain() {
                    let begun = *begun;
                    self.begin(begun, frame, speaker, microphone);
                }
                return;
            }
            self.heard.faded(begun.frames);
        }
        *candidate = Candidate::new(self.code, self.step, last, value);
        match candidate {
            Some(_) => {}
            None if value.abs() < SILENCE => self.heard.silent(),
            None => self.heard.faded(1),
        }
    }

    /// Sound has begun after something else, and is certain at `frame`.
    fn begin(&mut self, begun: Candidate, frame: u64, speaker: &Clock, microphone: &Clock) {
        let Candidate { mut follower, frames } = begun;
        let now = speaker.heard_nanos(frame as f64);
        follower.place_before(microphone.frame_at(now));
        let first = follower.position() - follower.speed() * (frames - 1) as f64;
        let since = self.heard.since_sound;
        let at = speaker.heard_nanos((frame - (frames - 1) - since) as f64) * 1e-9;
        if self.heard.first.is_none() {
            self.heard.begin(speaker.heard_nanos((frame - (frames - 1)) as f64) * 1e-9);
        } else {
            let lag = first - self.heard.position - follower.speed() * (since + 1) as f64;
            if self.is_crossfade(since, first, lag, follower.speed()) {
                self.heard.splice(Splice { at, frames: since, lag });
            } else {
                // What was newest may have been heard long before the last sound, after a repeat.
                self.heard.gap(Gap { at, frames: since, passed: first - self.heard.newest - self.step });
            }
        }
        for ago in (0..frames).rev() {
            self.heard.sound(follower.position() - follower.speed() * ago as f64);
        }
        self.state = State::Sound(follower);
    }

    /// Whether the samples between two stretches of sound are the sum of both, from all of the
    /// first to all of the second.
    fn is_crossfade(&self, frames: u64, first: f64, lag: f64, speed: f64) -> bool {
        if lag.abs() < 2.0 || frames < CROSSFADE_MIN || frames as usize >= self.trail.len() {
            return false;
        }
        let (mut old, mut new) = (Cursor::new(self.code), Cursor::new(self.code));
        let mut share = 0.0;
        let count = frames as f64;
        (0..).zip(&self.trail[..frames as usize]).all(|(number, &sample)| {
            let number = f64::from(number);
            let (from, _) = old.at(self.heard.position + speed * (number + 1.0));
            let (to, _) = new.at(first - speed * (count - number));
            if (to - from).abs() < 20.0 * self.code.slope() {
                return true; // nothing can be told near a corner
            }
            let before = std::mem::replace(&mut share, (f64::from(sample) - from) / (to - from));
            (-0.1..1.1).contains(&share) && share > before - 0.1
        })
    }
}
