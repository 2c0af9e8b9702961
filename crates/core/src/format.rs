//! What a stream's samples are and how they are coded.

use std::fmt;
use std::ops::RangeInclusive;

/// The most channels that a stream may have.
pub const CHANNELS_MAX: u8 = 8;

/// The rates that a stream may have, frames per second: more than any card does, little enough that
/// memory can be sized by it.
pub const RATES: RangeInclusive<u32> = 1_000..=768_000;

/// How a stream is coded: codec, clock rate and channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// How the samples become bytes.
    pub codec: Codec,
    /// Frames per second, also the rate of the RTP timestamp.
    pub rate: u32,
    /// Samples in a frame, 1 to [`CHANNELS_MAX`].
    pub channels: u8,
}

impl Format {
    /// Opus as RFC 7587 has it: always 48 kHz and two channels on the wire, whatever is inside.
    pub const OPUS: Format = Format { codec: Codec::Opus, rate: 48_000, channels: 2 };

    /// Linear PCM in network byte order, 16 bits (RFC 3551 section 4.5.11).
    pub const fn l16(rate: u32, channels: u8) -> Format {
        Format { codec: Codec::Pcm(Encoding::S16Be), rate, channels }
    }

    /// Linear PCM in network byte order, 24 bits (RFC 3190).
    pub const fn l24(rate: u32, channels: u8) -> Format {
        Format { codec: Codec::Pcm(Encoding::S24Be), rate, channels }
    }

    /// Whether the core codes and plays it: channels and rate within bounds, Opus as RFC 7587 has it.
    pub fn is_supported(&self) -> bool {
        match self.codec {
            Codec::Opus => *self == Format::OPUS,
            Codec::Pcm(_) => (1..=CHANNELS_MAX).contains(&self.channels) && RATES.contains(&self.rate),
        }
    }

    /// Bytes that one frame takes, or `None` where that varies.
    pub const fn frame_bytes(&self) -> Option<usize> {
        match self.codec {
            Codec::Opus => None,
            Codec::Pcm(encoding) => Some(encoding.bytes() * self.channels as usize),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Format { codec, rate, channels } = self;
        let plural = if *channels == 1 { "" } else { "s" };
        write!(f, "{codec}, {rate} Hz, {channels} channel{plural}")
    }
}

/// The codec of a [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 6716, in RTP by RFC 7587.
    Opus,
    /// Samples as they are: lossless, nothing held back.
    Pcm(Encoding),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Codec::Opus => f.write_str("opus"),
            Codec::Pcm(Encoding::S16Be) => f.write_str("l16"),
            Codec::Pcm(Encoding::S24Be) => f.write_str("l24"),
            Codec::Pcm(encoding) => encoding.fmt(f),
        }
    }
}

/// How one PCM sample is written in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Unsigned, 8 bits, silence at 128.
    U8,
    /// Signed, 16 bits, little endian.
    S16Le,
    /// Signed, 16 bits, big endian: L16 on the wire.
    S16Be,
    /// Signed, 24 bits in 3 bytes, little endian.
    S24Le,
    /// Signed, 24 bits in 3 bytes, big endian: L24 on the wire.
    S24Be,
    /// Signed, 32 bits, little endian.
    S32Le,
    /// Signed, 32 bits, big endian.
    S32Be,
    /// IEEE 754 single precision, full scale 1.0, little endian.
    F32Le,
    /// IEEE 754 single precision, full scale 1.0, big endian.
    F32Be,
}

impl Encoding {
    const NAMES: [(&'static str, Encoding); 9] = [
        ("u8", Encoding::U8),
        ("s16le", Encoding::S16Le),
        ("s16be", Encoding::S16Be),
        ("s24le", Encoding::S24Le),
        ("s24be", Encoding::S24Be),
        ("s32le", Encoding::S32Le),
        ("s32be", Encoding::S32Be),
        ("f32le", Encoding::F32Le),
        ("f32be", Encoding::F32Be),
    ];

    /// All encodings by the name that ffmpeg and ALSA give them, lower case: `s16le`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().map(|(name, _)| *name)
    }

    /// The encoding of that name, as in [`names`](Self::names).
    pub fn from_name(name: &str) -> Option<Encoding> {
        Self::NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, encoding)| *encoding)
    }

    /// Bytes of one sample of one channel.
    pub const fn bytes(self) -> usize {
        match self {
            Encoding::U8 => 1,
            Encoding::S16Le | Encoding::S16Be => 2,
            Encoding::S24Le | Encoding::S24Be => 3,
            Encoding::S32Le | Encoding::S32Be | Encoding::F32Le | Encoding::F32Be => 4,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, encoding)| encoding == self).map_or("?", |(name, _)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_found_by_the_name_they_print() {
        for name in Encoding::names() {
            assert_eq!(Encoding::from_name(name).unwrap().to_string(), name);
        }
        assert_eq!(Encoding::from_name("S16LE"), Some(Encoding::S16Le));
        assert_eq!(Encoding::from_name("s17le"), None);
    }

    #[test]
    fn what_cannot_be_played_is_not_supported() {
        assert!(Format::OPUS.is_supported());
        assert!(!Format { channels: 1, ..Format::OPUS }.is_supported());
        assert!(Format::l16(44_100, 8).is_supported());
        assert!(!Format::l16(44_100, 0).is_supported());
        assert!(!Format::l16(44_100, 9).is_supported());
        assert!(!Format::l16(0, 2).is_supported());
        assert!(!Format::l16(u32::MAX, 2).is_supported());
    }

    #[test]
    fn formats_read_as_a_user_would_say_them() {
        assert_eq!(Format::OPUS.to_string(), "opus, 48000 Hz, 2 channels");
        assert_eq!(Format::l16(44_100, 1).to_string(), "l16, 44100 Hz, 1 channel");
    }
}
