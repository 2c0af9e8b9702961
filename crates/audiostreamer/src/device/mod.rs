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

mod alsa_card;
mod alsa_list;
mod byte_queue;
mod card;
pub mod card_error;
mod card_thread;
mod coded;
pub mod decode;
pub mod file_error;
pub mod file_sink;
pub mod file_source;
pub mod host;
mod jack_card;
mod jack_news;
mod jack_process;
mod jack_turn;
pub mod list;
pub mod null;
mod pace;
mod paced_sink;
pub mod pcm_format;
mod pcm_reader;
pub mod pipe;
pub mod priority;
mod pulse_card;
mod pulse_list;
mod pulse_timing;
mod pulse_wire;
pub mod running;
pub mod sink;
pub mod sink_format;
pub mod source;
pub mod spec;
pub mod stdout;
pub mod supervisor;
pub mod tone;
mod vitals;
mod wav_header;
mod wav_read;
mod written_sink;

use std::fmt;
use std::io::Write;
use std::time::Duration;

use card_error::CardError;
use file_error::FileError;
use pcm_format::{CHANNELS, RATES};

pub use pcm_format::PcmFormat;
pub use running::Running;
pub use sink::{SinkSpec, start_sink};
pub use sink_format::SinkFormat;
pub use source::{SourceSpec, start_source};
pub use spec::DeviceSpec;
pub use vitals::Xruns;

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
    /// Frames per second.
    pub rate: Option<u32>,
    /// Samples in a frame.
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
#[expect(missing_docs, reason = "the fields are what the variants name")]
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
#[expect(missing_docs, reason = "the fields are what the variants name")]
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
    /// A sound card.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A file, pipe or tone.
    #[error(transparent)]
    File(#[from] FileError),
}

impl Error {
    /// The process's exit code: sound cards have one, files and pipes another.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Card(_) => 3,
            Error::File(_) => 6,
        }
    }

    /// Whether another device of this machine could be taken instead.
    pub(crate) fn leaves_a_choice(&self) -> bool {
        match self {
            Error::Card(CardError::NoDefault { .. }) => false,
            Error::Card(CardError::NotFound { available, .. }) => !available.is_empty(),
            Error::Card(_) | Error::File(_) => true,
        }
    }
}

/// Prints the devices of this machine on standard output: a table, or JSON.
pub fn print_list(json: bool) -> std::io::Result<()> {
    let devices = list::devices();
    let mut stdout = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut stdout, &devices)?;
        writeln!(stdout)
    } else if devices.is_empty() {
        writeln!(stdout, "no sound devices; files, pipes, tone:440 and null work without any")
    } else {
        write!(stdout, "{}", list::table(&devices))
    }
}
