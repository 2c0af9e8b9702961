//! Where the server may play to, as it is named on the command line.

use std::path::{Path, PathBuf};

use super::{
    DeviceSpec, Error, Notice, Render, Running, Shape, SinkFormat, Wanted, Xruns, file_sink, null, stdout, supervisor,
};

/// Where sound goes.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum SinkSpec {
    /// A sound card.
    Device(DeviceSpec),
    /// A new file, in place of one that is there.
    File { path: PathBuf, format: SinkFormat },
    /// Standard output.
    Stdout(SinkFormat),
    /// Nowhere, in real time.
    Null,
}

/// A name that ends so is a file's.
const EXTENSIONS: [&str; 5] = ["wav", "wave", "rf64", "raw", "pcm"];

impl SinkSpec {
    /// `None` is the default device. A name with a `/` or the extension of a sound file is a
    /// file's, and `file:PATH` says so; anything else is a device.
    pub fn parse(text: Option<&str>, format: SinkFormat) -> Self {
        match text {
            None => Self::Device(DeviceSpec::Default),
            Some("-") => Self::Stdout(format),
            Some("null") => Self::Null,
            Some(text) => match text.strip_prefix("file:") {
                Some(path) => Self::File { path: path.into(), format },
                None if looks_like_file(text) => Self::File { path: text.into(), format },
                None => Self::Device(DeviceSpec::from(text)),
            },
        }
    }
}

fn looks_like_file(text: &str) -> bool {
    let extension = Path::new(text).extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    text.contains('/') && !text.starts_with("alsa:")
        || extension.is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// Starts it. `make` is called each time that it is opened; `notify` is told what happens. A sound
/// card adds to `xruns`; what is paced by the clock has none.
pub fn start_sink(
    spec: &SinkSpec,
    wanted: Wanted,
    xruns: Xruns,
    make: impl FnMut(&Shape) -> Render + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, Error> {
    Ok(match spec {
        SinkSpec::Device(device) => supervisor::start_sink(device, wanted, xruns, make, notify)?,
        SinkSpec::File { path, format } => file_sink::start(path, *format, wanted, make, notify)?,
        SinkSpec::Stdout(format) => stdout::start(*format, wanted, make, notify)?,
        SinkSpec::Null => null::start(wanted, make, notify)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_is_told_by_how_it_is_written() {
        let parsed = |text| SinkSpec::parse(Some(text), SinkFormat::default());
        let file = |path: &str| SinkSpec::File { path: path.into(), format: SinkFormat::default() };
        assert_eq!(parsed("-"), SinkSpec::Stdout(SinkFormat::default()));
        assert_eq!(parsed("null"), SinkSpec::Null);
        assert_eq!(parsed("out.wav"), file("out.wav"));
        assert_eq!(parsed("/tmp/out"), file("/tmp/out"));
        assert_eq!(parsed("file:out"), file("out"));
        for device in ["0", "Speakers", "pulse:", "alsa:hw:0"] {
            assert!(matches!(parsed(device), SinkSpec::Device(_)), "{device}");
        }
    }
}
