//! Where samples come from and where they go: sound cards, files, pipes, tones.
//!
//! All of them look the same from inside. A *source* calls a [`Capture`] with each block of
//! samples, a *sink* calls a [`Render`] for each block that it needs; both at the pace of the
//! card, or of real time where there is no card. Samples are interleaved `f32`, full scale 1.0.
//!
//! A source or sink that dies (unplugged, its sound server stopped) is opened again with
//! backoff, each time with a fresh [`Capture`] or [`Render`] made for the [`Shape`] that the
//! device then has; what happens is told by [`Notice`]s. Dropping [`Running`] stops it and
//! releases everything.

mod byte_queue;
mod coded;
pub mod decode;
pub mod file_error;
pub mod file_sink;
pub mod file_source;
pub mod null;
mod pace;
mod paced_sink;
pub mod pcm_format;
mod pcm_reader;
pub mod pipe;
pub mod priority;
pub mod running;
pub mod sink;
pub mod sink_format;
pub mod source;
pub mod stdout;
pub mod tone;
mod wav_header;
mod wav_read;
mod written_sink;

use std::fmt;
use std::time::Duration;

use file_error::FileError;
use pcm_format::{CHANNELS, RATES};

pub use pcm_format::PcmFormat;
pub use running::Running;
pub use sink::{SinkSpec, start_sink};
pub use sink_format::SinkFormat;
pub use source::{SourceSpec, start_source};

/// What one open stream of samples looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Frames per second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
    /// Frames that a callback usually moves. Only a hint: callbacks may be of any size.
    pub period: usize,
}

/// What the caller would like; a device that can't gives what it has.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    pub rate: Option<u32>,
    pub channels: Option<u16>,
    /// Frames per callback.
    pub period: Option<usize>,
}

impl Wanted {
    /// What a source or sink without a taste of its own gives: as wanted, as far as anyone can
    /// want it, else 48 kHz stereo in blocks of 5 ms.
    fn shape(&self) -> Shape {
        let rate = self.rate.unwrap_or(48_000).clamp(*RATES.start(), *RATES.end());
        let channels = self.channels.unwrap_or(2).clamp(*CHANNELS.start(), *CHANNELS.end());
        let period = pace::period(self.period, rate);
        Shape { rate, channels, period }
    }
}

/// Takes a block of captured frames (interleaved) and how long ago its first frame was heard by
/// the card. Runs on the device's thread: it never allocates, frees, locks, logs or waits.
pub type Capture = Box<dyn FnMut(&[f32], Duration) + Send>;

/// Writes every sample of a block (interleaved) that will be heard after the given time. Runs on
/// the device's thread: it never allocates, frees, locks, logs or waits.
pub type Render = Box<dyn FnMut(&mut [f32], Duration) + Send>;

/// What happens to a source or sink while it runs.
#[derive(Debug)]
pub enum Notice {
    /// It is open (again), under this name.
    Opened { name: String, shape: Shape },
    /// It is gone and will be tried again until it is back.
    Lost { name: String, why: String },
    /// Some of the sound is missing, but it goes on.
    Gap(Gap),
    /// The file or pipe has come to its end: there is nothing more to capture, or nobody reads
    /// what is rendered. It will not come back.
    Ended,
    /// It can't go on and will not be tried again.
    Failed(Error),
}

/// Sound that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// This machine was busy or suspended, and the time is skipped.
    Stalled(Duration),
    /// Whoever reads or stores what is rendered is too slow; this many frames are dropped.
    Dropped { frames: u64 },
    /// So many packets of the file, since it was opened, can't be decoded and are left out.
    Damaged { packets: u64 },
}

impl Gap {
    /// Tells of time that was `skipped`, if any.
    fn stalled(skipped: Duration, notify: &impl Fn(Notice)) {
        if !skipped.is_zero() {
            notify(Notice::Gap(Self::Stalled(skipped)));
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stalled(time) => write!(f, "this machine was busy for {} ms", time.as_millis()),
            Self::Dropped { frames } => {
                write!(f, "the reader is too slow: {frames} frames dropped")
            }
            Self::Damaged { packets } => write!(f, "{packets} damaged packets left out"),
        }
    }
}

/// Why a source or sink can't be opened, or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] FileError),
}

impl Error {
    /// The process's exit code: sound cards have one, files and pipes another.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::File(_) => 6,
        }
    }
}
#[derive(Clone, Debug, Default, PartialEq)]
pub enum DeviceSpec {
    #[default]
    Default,
}
impl DeviceSpec {
    pub fn parse(_: &str) -> Self {
        DeviceSpec::Default
    }
}
pub fn start_card_source(
    _: &DeviceSpec,
    _: Wanted,
    _: impl FnMut(&Shape) -> Capture + Send + 'static,
    _: impl Fn(Notice) + Send + 'static,
) -> Result<Running, Error> {
    todo!()
}
pub fn start_card_sink(
    _: &DeviceSpec,
    _: Wanted,
    _: impl FnMut(&Shape) -> Render + Send + 'static,
    _: impl Fn(Notice) + Send + 'static,
) -> Result<Running, Error> {
    todo!()
}
pub fn print_list(_: bool) -> Result<(), Error> {
    Ok(())
}
