//! What virtual microphones hear.

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
    pub fn sample(&self, frame: u64, rate: u32) -> f32 {
        match self {
            Signal::Code(code) => code.sample(frame),
            Signal::Chirp => chirp(frame, rate),
            Signal::Tone => tone(frame, rate),
        }
    }
}

/// A sawtooth between half and full scale whose height is the frame number.
///
/// - Gains and the sounds of losses are told apart from the code, since they change its slope.
/// - A resampler passes a straight line as it is, so positions between frames can be read, too.
/// - The number is known up to a multiple of the sawtooth's length: the longest delay that can
///   be told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeCode {
    /// Frames, a power of two.
    pub length: u32,
}

impl TimeCode {
    /// One step of a 24 bit sample per frame: 87 s at 48 kHz, exact frames.
    pub const L24: TimeCode = TimeCode { length: 1 << 22 };
    /// One step of a 16 bit sample per frame: 0.34 s at 48 kHz, exact frames.
    pub const L16: TimeCode = TimeCode { length: 1 << 14 };
    /// 64 steps of a 24 bit sample per frame: 1.4 s at 48 kHz, fiftieths of a frame after a
    /// resampler.
    pub const FINE: TimeCode = TimeCode { length: 1 << 16 };

    pub fn sample(&self, frame: u64) -> f32 {
        let place = frame as u32 & (self.length - 1);
        0.5 + place as f32 / (2.0 * self.length as f32)
    }

    /// The frame number that a sample says, up to a multiple of the length; `None` for one that
    /// is certainly not of the code.
    pub fn read(&self, sample: f32) -> Option<f64> {
        let place = (f64::from(sample) - 0.5) * 2.0 * f64::from(self.length);
        (0.0..f64::from(self.length)).contains(&place).then_some(place)
    }

    /// From one place to another, the shorter way around.
    pub fn step(&self, from: f64, to: f64) -> f64 {
        let length = f64::from(self.length);
        let step = to - from;
        if step > length / 2.0 {
            step - length
        } else if step < -length / 2.0 {
            step + length
        } else {
            step
        }
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
