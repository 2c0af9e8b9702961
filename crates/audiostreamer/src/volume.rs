//! How loud something is played or sent.

use std::fmt;

use audiostreamer_core::fader::from_decibels;

/// How loud it can be made, in dB.
pub const GAIN_MAX: f32 = 24.0;
/// How quiet; beyond it, mute.
pub const GAIN_MIN: f32 = -60.0;

/// A gain, and whether there is any sound at all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Volume {
    /// In dB; 0 leaves the sound as it is.
    pub gain: f32,
    /// Whether it is not heard at all.
    pub muted: bool,
}

impl Volume {
    /// As a factor.
    pub fn factor(&self) -> f32 {
        match self.muted {
            true => 0.0,
            false => from_decibels(self.gain.clamp(GAIN_MIN, GAIN_MAX)),
        }
    }
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.muted {
            true => f.write_str("muted"),
            false => write!(f, "{:+.0} dB", self.gain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_a_factor() {
        assert_eq!(Volume::default().factor(), 1.0);
        assert_eq!(Volume { gain: 6.0, muted: true }.factor(), 0.0);
        assert!(Volume { gain: 1000.0, muted: false }.factor() < 16.0, "within reason");
        assert_eq!(Volume { gain: -6.0, muted: false }.to_string(), "-6 dB");
    }
}
