//! What virtual microphones hear.

use crate::code::{Cursor, TimeCode};

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
}

impl Signal {
    /// Writes what is heard from frame `first` on.
    pub fn listen<'a>(&self, first: u64, rate: u32, samples: impl Iterator<Item = &'a mut f32>) {
        let frames = (first..).zip(samples);
        match self {
            Signal::Code(code) => {
                let mut cursor = Cursor::new(*code);
                frames.for_each(|(frame, sample)| *sample = cursor.at(frame as f64).0 as f32);
            }
            Signal::Chirp => frames.for_each(|(frame, sample)| *sample = chirp(frame, rate)),
            Signal::Tone => frames.for_each(|(frame, sample)| *sample = tone(frame, rate)),
        }
    }

    pub fn sample(&self, frame: u64, rate: u32) -> f32 {
        let mut sample = 0.0;
        self.listen(frame, rate, std::iter::once(&mut sample));
        sample
    }
}

fn chirp(frame: u64, rate: u32) -> f32 {
    const LOW_HZ: f64 = 200.0;
    const HIGH_HZ: f64 = 3_400.0;
    // The phase at the end of a second is a whole number of turns: no click where it begins anew.
    let seconds = (frame % u64::from(rate)) as f64 / f64::from(rate);
    let turns = seconds * (LOW_HZ + (HIGH_HZ - LOW_HZ) * seconds / 2.0);
    (0.5 * (turns * std::f64::consts::TAU).sin()) as f32
}

fn tone(frame: u64, rate: u32) -> f32 {
    let turns = (frame % u64::from(rate)) as f64 / f64::from(rate) * 100.0;
    (0.5 * (turns * std::f64::consts::TAU).sin()) as f32
}
