//! What files and pipes that we write look like: `wav:s24le,48000,2`.

use std::fmt;
use std::str::FromStr;

use audiostreamer_core::Encoding;

use super::Wanted;
use super::pcm_format::{FormatError, PcmFormat, parse_channels, parse_encoding, parse_rate};

/// What a file or pipe that we write looks like. Reads as `[wav:|raw:]ENCODING[,RATE[,CHANNELS]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkFormat {
    /// What stands before and after the samples.
    pub container: Container,
    /// How one sample is written.
    pub encoding: Encoding,
    /// Frames per second, if it matters.
    pub rate: Option<u32>,
    /// Samples in a frame, if it matters.
    pub channels: Option<u16>,
}

/// What stands around the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// A header that says what the samples look like.
    Wav,
    /// Nothing.
    Raw,
}

impl SinkFormat {
    /// The samples: as the format says, else as `wanted`, else 48 kHz stereo.
    pub fn samples(&self, wanted: &Wanted) -> PcmFormat {
        let shape =
            Wanted { rate: self.rate.or(wanted.rate), channels: self.channels.or(wanted.channels), period: None }
                .shape();
        PcmFormat { encoding: self.encoding, rate: shape.rate, channels: shape.channels }
    }
}

impl Default for SinkFormat {
    /// 24-bit WAV: holds everything that arrives (Opus, L16, L24) without loss.
    fn default() -> Self {
        Self { container: Container::Wav, encoding: Encoding::S24Le, rate: None, channels: None }
    }
}

impl FromStr for SinkFormat {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let (container, samples) = match text.split_once(':') {
            None => (Container::Wav, text),
            Some(("wav", samples)) => (Container::Wav, samples),
            Some(("raw", samples)) => (Container::Raw, samples),
            Some((other, _)) => return Err(FormatError::Container(other.into())),
        };
        let mut parts = samples.split(',').map(str::trim);
        let format = Self {
            container,
            encoding: parse_encoding(parts.next().unwrap_or_default())?,
            rate: parts.next().map(parse_rate).transpose()?,
            channels: parts.next().map(parse_channels).transpose()?,
        };
        match parts.next() {
            Some(_) => Err(FormatError::Sink(text.into())),
            None => format.writable(),
        }
    }
}

impl SinkFormat {
    fn writable(self) -> Result<Self, FormatError> {
        let little_endian =
            !matches!(self.encoding, Encoding::S16Be | Encoding::S24Be | Encoding::S32Be | Encoding::F32Be);
        match self.container {
            Container::Wav if !little_endian => Err(FormatError::NotInWav(self.encoding)),
            Container::Wav | Container::Raw => Ok(self),
        }
    }
}

impl fmt::Display for SinkFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let container = match self.container {
            Container::Wav => "wav",
            Container::Raw => "raw",
        };
        write!(f, "{container}:{}", self.samples(&Wanted::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_has_a_default() {
        let sink = |text: &str| text.parse::<SinkFormat>().unwrap().to_string();
        assert_eq!(SinkFormat::default().to_string(), "wav:s24le,48000,2");
        assert_eq!(sink("s16le"), "wav:s16le,48000,2");
        assert_eq!(sink("wav:f32le,44100"), "wav:f32le,44100,2");
        assert_eq!(sink("raw:s16be,44100,1"), "raw:s16be,44100,1");
    }

    #[test]
    fn the_format_comes_before_what_is_wanted() {
        let wanted = Wanted { rate: Some(96_000), channels: Some(1), period: None };
        let sink: SinkFormat = "s16le,44100".parse().unwrap();
        assert_eq!(sink.samples(&wanted).to_string(), "s16le,44100,1");
        assert_eq!(SinkFormat::default().samples(&wanted).to_string(), "s24le,96000,1");
    }

    #[test]
    fn errors_name_the_part_that_is_wrong() {
        let error = |text: &str| text.parse::<SinkFormat>().unwrap_err();
        assert_eq!(error("mp3:s16le"), FormatError::Container("mp3".into()));
        assert_eq!(error("wav:"), FormatError::Encoding("".into()));
        assert_eq!(error("s16be"), FormatError::NotInWav(Encoding::S16Be));
        assert_eq!(error("s16le,fast"), FormatError::Rate("fast".into()));
        assert_eq!(error("s16le,48000,2,1"), FormatError::Sink("s16le,48000,2,1".into()));
    }
}
