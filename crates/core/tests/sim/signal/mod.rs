//! What virtual microphones hear.

pub mod code;
mod music;
mod speech;
mod wave;

use code::{Cursor, TimeCode};
use wave::sine;

/// A signal as a function of the capture card's frame number, so that nothing must be kept to
/// compare with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    /// For lossless codecs: each sample says which it is.
    Code(TimeCode),
    /// For Opus: a tone that rises from 200 Hz to 3.4 kHz every second, always equally loud.
    Chirp,
    /// For clicks: 100 Hz, which never moves by more than 0.0066 from frame to frame.
    Tone,
    /// For distortion: 997 Hz, 1 dB below full scale.
    Sine,
    /// Like somebody who speaks.
    Speech,
    /// Like plucked strings, others in each channel.
    Music,
}

impl Signal {
    /// Writes what is heard in a channel from frame `first` on.
    pub fn listen<'a>(&self, first: u64, rate: u32, channel: usize, samples: impl Iterator<Item = &'a mut f32>) {
        let frames = (first..).zip(samples);
        match self {
            Signal::Code(code) => {
                let mut cursor = Cursor::new(*code);
                frames.for_each(|(frame, sample)| *sample = cursor.at(frame as f64).0 as f32);
            }
            _ => frames.for_each(|(frame, sample)| *sample = self.at(frame as f64, rate, channel) as f32),
        }
    }

    pub fn sample(&self, frame: u64, rate: u32, channel: usize) -> f32 {
        self.at(frame as f64, rate, channel) as f32
    }

    /// The signal between frames.
    pub fn at(&self, frame: f64, rate: u32, channel: usize) -> f64 {
        let seconds = frame / f64::from(rate);
        match self {
            Signal::Code(code) => Cursor::new(*code).at(frame).0,
            Signal::Chirp => chirp(seconds),
            Signal::Tone => 0.5 * sine(seconds * 100.0),
            Signal::Sine => SINE_LEVEL * sine(seconds * SINE_HZ),
            Signal::Speech => speech::sample(seconds),
            Signal::Music => music::sample(seconds, channel),
        }
    }

    /// Whether each channel has its own.
    pub fn is_wide(&self) -> bool {
        matches!(self, Signal::Music)
    }
}

pub const SINE_HZ: f64 = 997.0;

/// 1 dB below full scale.
const SINE_LEVEL: f64 = 0.891_250_938_133_745_5;

fn chirp(seconds: f64) -> f64 {
    const LOW_HZ: f64 = 200.0;
    const HIGH_HZ: f64 = 3_400.0;
    // The phase at the end of a second is a whole number of turns: no click where it begins anew.
    let seconds = seconds.rem_euclid(1.0);
    0.5 * sine(seconds * (LOW_HZ + (HIGH_HZ - LOW_HZ) * seconds / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voices_and_strings_are_loud_enough_and_within_bounds() {
        for (signal, channel) in [(Signal::Speech, 0), (Signal::Music, 0), (Signal::Music, 1)] {
            let samples: Vec<f32> = (0..960_000).map(|frame| signal.sample(frame, 48_000, channel)).collect();
            let peak = samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
            let level = (samples.iter().map(|sample| sample * sample).sum::<f32>() / 960_000.0).sqrt();
            assert!((0.3..0.98).contains(&peak) && (0.03..0.3).contains(&level), "{signal:?}: {peak}, {level}");
            // Nothing jumps by itself: what is looked for in the output are jumps.
            let steepest = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
            assert!(steepest < 0.2, "{signal:?}: {steepest}");
        }
    }

    #[test]
    fn the_channels_of_music_differ() {
        let (mut both, mut left, mut right) = (0.0, 0.0, 0.0);
        for frame in 0..240_000 {
            let (a, b) = (Signal::Music.sample(frame, 48_000, 0), Signal::Music.sample(frame, 48_000, 1));
            (both, left, right) = (both + a * b, left + a * a, right + b * b);
        }
        assert!((both / (left * right).sqrt()).abs() < 0.3, "{}", both / (left * right).sqrt());
    }
}
