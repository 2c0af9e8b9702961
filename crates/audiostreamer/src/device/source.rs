//! What the client may send, as it is named on the command line.

use std::path::{Path, PathBuf};

use super::decode::Decoder;
use super::{
    Capture, DeviceSpec, Error, Notice, PcmFormat, Running, Shape, Wanted, Xruns, file_source, pipe, supervisor, tone,
};

/// Where sound comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceSpec {
    /// A sound card.
    Device(DeviceSpec),
    /// A sound file, played once at its own speed.
    File(PathBuf),
    /// Standard input: WAV, or samples of this format.
    Stdin(Option<PcmFormat>),
    /// A sine of so many Hz.
    Tone(f64),
}

/// A name that ends so is a file's, even if there is none.
const EXTENSIONS: [&str; 10] = ["wav", "wave", "flac", "mp3", "ogg", "oga", "aac", "m4a", "mp4", "rf64"];

impl SourceSpec {
    /// `None` is the default device. What looks like a file is one: it exists, has a `/` or the
    /// extension of a sound file; `file:PATH` says so, anything else is a device.
    pub fn parse(text: Option<&str>, declared: Option<PcmFormat>) -> Result<Self, String> {
        let Some(text) = text else { return Ok(Self::Device(DeviceSpec::Default)) };
        if text == "-" {
            return Ok(Self::Stdin(declared));
        }
        if declared.is_some() {
            return Err(format!("--input-format is for standard input (--input -), not for {text}"));
        }
        if let Some(hz) = text.strip_prefix("tone:") {
            return hz.parse().map(Self::Tone).map_err(|_| format!("{text}: a tone is given in Hz, like tone:440"));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return Ok(Self::File(path.into()));
        }
        match looks_like_file(text) {
            true => Ok(Self::File(text.into())),
            false => Ok(Self::Device(DeviceSpec::from(text))),
        }
    }

    /// Finds out now what would be found out only when a file is started: whether it is there and
    /// can be played.
    pub fn check(&self) -> Result<(), Error> {
        if let Self::File(path) = self {
            Decoder::open(path)?;
        }
        Ok(())
    }

    /// Whether its sound is lost when nobody takes it now. A file waits.
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::File(_))
    }
}

fn looks_like_file(text: &str) -> bool {
    let path = Path::new(text);
    let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    text.contains('/') && !text.starts_with("alsa:")
        || extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
        || path.is_file()
}

/// Starts it. `make` is called each time that it is opened; `notify` is told what happens. A sound
/// card adds to `xruns`; what is paced by the clock has none.
pub fn start_source(
    spec: &SourceSpec,
    wanted: Wanted,
    xruns: Xruns,
    make: impl FnMut(&Shape) -> Capture + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, Error> {
    Ok(match spec {
        SourceSpec::Device(device) => supervisor::start_source(device, wanted, xruns, make, notify)?,
        SourceSpec::File(path) => file_source::start(path, wanted, make, notify)?,
        SourceSpec::Stdin(declared) => pipe::start(*declared, wanted, make, notify)?,
        SourceSpec::Tone(hz) => tone::start(*hz, wanted, make, notify)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> SourceSpec {
        SourceSpec::parse(Some(text), None).unwrap()
    }

    #[test]
    fn a_source_is_told_by_how_it_is_written() {
        assert_eq!(parsed("-"), SourceSpec::Stdin(None));
        assert_eq!(parsed("tone:440"), SourceSpec::Tone(440.0));
        assert_eq!(parsed("song.FLAC"), SourceSpec::File("song.FLAC".into()));
        assert_eq!(parsed("./song"), SourceSpec::File("./song".into()));
        assert_eq!(parsed("file:song"), SourceSpec::File("song".into()));
        for device in ["0", "USB", "pulse:mic", "alsa:plughw:1,0", "jack:"] {
            assert!(matches!(parsed(device), SourceSpec::Device(_)), "{device}");
        }
        assert!(SourceSpec::parse(Some("tone:a"), None).is_err());
    }

    #[test]
    fn only_standard_input_has_a_declared_format() {
        let declared = "s16le,44100,2".parse().ok();
        assert_eq!(SourceSpec::parse(Some("-"), declared), Ok(SourceSpec::Stdin(declared)));
        assert!(SourceSpec::parse(Some("song.wav"), declared).is_err());
    }
}
