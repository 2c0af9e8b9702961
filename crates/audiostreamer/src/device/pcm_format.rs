//! What raw samples look like: `s16le,44100,2`.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use audiostreamer_core::{CHANNELS_MAX, Codec, Encoding, Format};

/// What uncompressed samples look like. Reads and prints as `s16le,44100,2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PcmFormat {
    /// How one sample is written.
    pub encoding: Encoding,
    /// Frames per second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
}

impl PcmFormat {
    /// The format, if its rate and channels are within what is supported.
    pub fn new(encoding: Encoding, rate: u32, channels: u16) -> Result<Self, FormatError> {
        if !RATES.contains(&rate) {
            return Err(FormatError::Rate(rate.to_string()));
        }
        if !CHANNELS.contains(&channels) {
            return Err(FormatError::Channels(channels.to_string()));
        }
        Ok(Self { encoding, rate, channels })
    }

    /// Bytes in a frame.
    pub const fn frame_bytes(&self) -> usize {
        self.encoding.bytes() * self.channels as usize
    }

    /// Bytes per second.
    pub const fn byte_rate(&self) -> usize {
        self.frame_bytes() * self.rate as usize
    }
}

impl FromStr for PcmFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let [encoding, rate, channels] = parts[..] else {
            return Err(FormatError::Parts(text.into()));
        };
        Self::new(parse_encoding(encoding)?, parse_rate(rate)?, parse_channels(channels)?)
    }
}

impl fmt::Display for PcmFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.encoding, self.rate, self.channels)
    }
}

/// Why a text is no sample format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say more")]
pub enum FormatError {
    #[error("\"{0}\" is not ENCODING,RATE,CHANNELS, as in s16le,44100,2")]
    Parts(String),
    #[error(
        "\"{0}\" is no encoding; there are u8, s16le, s16be, s24le, s24be, s32le, s32be, \
        f32le and f32be"
    )]
    Encoding(String),
    #[error("\"{0}\" is no sample rate; give one from 1000 to 768000 Hz, as in s16le,44100,2")]
    Rate(String),
    #[error("\"{0}\" is no number of channels; give one from 1 to 8, as in s16le,44100,2")]
    Channels(String),
    #[error("\"{0}\" is no container; there are wav and raw, as in raw:s16le,48000,2")]
    Container(String),
    #[error("WAV can't hold {0}; use a little-endian encoding such as s16le, or raw:{0}")]
    NotInWav(Encoding),
    #[error("\"{0}\" is not [wav:|raw:]ENCODING[,RATE[,CHANNELS]], as in wav:s24le,48000,2")]
    Sink(String),
}

impl From<PcmFormat> for Format {
    fn from(PcmFormat { encoding, rate, channels }: PcmFormat) -> Format {
        Format { codec: Codec::Pcm(encoding), rate, channels: channels as u8 }
    }
}

pub(super) fn parse_encoding(text: &str) -> Result<Encoding, FormatError> {
    Encoding::from_name(text).ok_or_else(|| FormatError::Encoding(text.into()))
}

pub(super) fn parse_rate(text: &str) -> Result<u32, FormatError> {
    let rate = text.parse().ok().filter(|rate| RATES.contains(rate));
    rate.ok_or_else(|| FormatError::Rate(text.into()))
}

pub(super) fn parse_channels(text: &str) -> Result<u16, FormatError> {
    let channels = text.parse().ok().filter(|channels| CHANNELS.contains(channels));
    channels.ok_or_else(|| FormatError::Channels(text.into()))
}

/// Wide enough for every card and file; a number outside is a slip, such as 44.1.
pub(super) const RATES: RangeInclusive<u32> = 1_000..=768_000;
pub(super) const CHANNELS: RangeInclusive<u16> = 1..=CHANNELS_MAX as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_reads_and_prints_the_same() {
        for text in ["u8,8000,1", "s16le,44100,1", "s24be,96000,6", "f32le,48000,2"] {
            assert_eq!(text.parse::<PcmFormat>().unwrap().to_string(), text);
        }
        let spaced: PcmFormat = "s16le, 44100, 2".parse().unwrap();
        assert_eq!(spaced, PcmFormat { encoding: Encoding::S16Le, rate: 44_100, channels: 2 });
        assert_eq!(spaced.byte_rate(), 176_400);
    }

    #[test]
    fn errors_name_the_part_that_is_wrong() {
        let error = |text: &str| text.parse::<PcmFormat>().unwrap_err();
        assert_eq!(error("s16le"), FormatError::Parts("s16le".into()));
        assert_eq!(error("s16,44100,2"), FormatError::Encoding("s16".into()));
        assert_eq!(error("s16le,44.1,2"), FormatError::Rate("44.1".into()));
        assert_eq!(error("s16le,44,2"), FormatError::Rate("44".into()));
        assert_eq!(error("s16le,44100,0"), FormatError::Channels("0".into()));
        assert_eq!(error("s16le,44100,stereo"), FormatError::Channels("stereo".into()));
    }
}
