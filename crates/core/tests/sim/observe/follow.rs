//! Following the time code along the samples of a speaker.

use crate::signal::code::{Cursor, TimeCode};

/// Knows where the sound is and how fast it runs: a loop of second order over the difference
/// between what is heard and what the code says.
#[derive(Clone, Copy, Debug)]
pub struct Follower {
    code: TimeCode,
    cursor: Cursor,
    /// In frames of the microphone.
    position: f64,
    /// Frames of the microphone per frame of the speaker.
    speed: f64,
    nominal: f64,
    /// Frames per slope's worth of value.
    per_slope: f64,
}

/// How much of the difference goes into the position, and into the speed: settled within twenty
/// samples, and so slow that it does not follow what only looks like the code.
const POSITION_GAIN: f64 = 0.2;
const SPEED_GAIN: f64 = 0.01;

/// How far from the nominal speed sound may be.
const SPEED_MAX: f64 = 0.03;

impl Follower {
    pub fn position(&self) -> f64 {
        self.position
    }

    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Takes the next sample; `false` if it is not of the code.
    pub fn follows(&mut self, value: f64) -> bool {
        let position = self.position + self.speed;
        let (expected, steepness) = self.cursor.at(position);
        let error = (value - expected) * self.per_slope;
        if error.abs() > self.code.tolerance {
            return false;
        }
        // The gradient: where the code is flat, a sample says little about the position.
        let pull = error * steepness;
        self.position = position + POSITION_GAIN * pull;
        self.speed += SPEED_GAIN * pull;
        (self.speed - self.nominal).abs() < SPEED_MAX * self.nominal
    }

    /// Chooses among all positions of the same value the newest that can have been heard when the
    /// microphone is at `frame`.
    pub fn place_before(&mut self, frame: f64) {
        // A resampler's filter may look a few frames of rounding into the future.
        let newest = frame + 1.0;
        self.position = newest - (newest - self.position).rem_euclid(self.code.period());
    }
}

/// What may be the beginning of sound.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    pub follower: Follower,
    /// So many of the speaker's have followed, with the first.
    pub frames: u64,
}

/// A stretch is sound when it has followed the code over so many knots: a straight line may do so
/// over one or two.
const CERTAIN_KNOTS: f64 = 6.0;

impl Candidate {
    /// Begins with a value, if the step to it from the one before can be of the code.
    pub fn new(code: TimeCode, step: f64, before: f64, value: f64) -> Option<Self> {
        let steepness = (value - before) / (code.slope() * step);
        // The least and the largest of a slope, with room; corners are passed, not begun at. Where
        // steps are rounded to whole ones of the format's, nothing is known but that silence is none.
        let rounded = code.tolerance > 0.5 && value != 0.0;
        if !((0.1..2.2).contains(&steepness.abs()) || rounded) {
            return None;
        }
        let position = code.place(value, steepness > 0.0);
        let (cursor, per_slope) = (Cursor::new(code), 1.0 / code.slope());
        let follower = Follower { code, cursor, position, speed: step, nominal: step, per_slope };
        Some(Self { follower, frames: 1 })
    }

    pub fn is_certain(&self) -> bool {
        self.frames as f64 * self.follower.nominal >= CERTAIN_KNOTS * f64::from(self.follower.code.knot)
    }
}
