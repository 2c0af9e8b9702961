//! A copy of what is played, captured or sent, in files, while it is.
//!
//! Samples become WAV or FLAC; Opus is kept as it was sent, one file for each stream. One thread
//! writes it all, so that a disk holds up nobody; what waits for it is bounded.

mod flac;
mod labels;
mod ogg_opus;
mod packets;
mod parts;
mod samples;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audiostreamer_core::{Codec, Format};

use crate::device::file_error::FileError;
use crate::device::{self, Shape};
use crate::report::{Event, Report};
use packets::{Run, RunWriter};
use parts::Parts;
use samples::{Take, Writer};

pub(crate) use packets::{Packet, PacketRecorder};
pub use parts::Split;
pub use samples::Recorder;

/// How much sound may wait for a disk that is slow, for example to wake up. What comes after that
/// is missing in the file, and only there, and is told.
const PATIENCE: Duration = Duration::from_secs(4);

/// So often it is written: as much is lost when the program is killed.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// What is kept, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The first file; its ending says of what kind. What is there already is not replaced: where there
    /// is a `take.wav`, it is `take-2.wav`.
    pub path: PathBuf,
    /// When another file is begun.
    pub split: Option<Split>,
}

/// What the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Samples of 24 bits.
    Wav,
    /// The same in half of the space.
    Flac,
    /// The packets of Opus streams as they are, in Ogg.
    Opus,
}

impl Kind {
    /// Told by the ending of a name.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        match ending.as_deref() {
            None | Some("wav" | "wave") => Some(Self::Wav),
            Some("flac") => Some(Self::Flac),
            Some("opus" | "ogg" | "oga") => Some(Self::Opus),
            Some(_) => None,
        }
    }
}

/// A recording; dropping it writes what is left. The files are valid at every moment.
#[derive(Debug)]
pub struct Recording {
    recorders: Recorders,
    stop: Arc<AtomicBool>,
    writing: Option<JoinHandle<()>>,
}

/// Gives each card that is opened, or each stream, its end of the recording.
#[derive(Clone, Debug)]
pub struct Recorders {
    kind: Kind,
    sources: Sender<Source>,
}

#[derive(Debug)]
enum Source {
    Samples(Take),
    Packets(Run),
    /// A stream that is no Opus, where Opus is recorded.
    Other {
        whose: Option<String>,
        format: Format,
    },
}

/// What a recording tells.
#[derive(Debug)]
enum News {
    /// A file was begun; where it is of one stream, whose that is.
    Began { path: PathBuf, whose: Option<String> },
    /// So much sound is missing: the file could not be written fast enough.
    Missing(Duration),
    /// What can't be kept as it is sent.
    Other { whose: Option<String>, format: Format },
    /// Nothing more is written.
    Ended(FileError),
}

impl Recording {
    /// Creates the first file, so that what can't be created is said now; what happens later is
    /// reported.
    pub fn start(config: &Config, report: impl Fn(Report) + Send + 'static) -> Result<Self, FileError> {
        let path = &config.path;
        let kind = Kind::of(path).ok_or_else(|| FileError::NotARecording { path: path.clone() })?;
        let mut parts = Parts::start(path)?;
        let (sources, inbox) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (split, stopped) = (config.split, stop.clone());
        let tell = move |news: News| report(Report::Event(news.into()));
        let write = move || {
            let mut tape = Tape { split, inbox, samples: Writer::new(kind, split), runs: Vec::new() };
            loop {
                let last = stopped.load(Ordering::Acquire); // asked before the rings are emptied
                if let Err(cause) = tape.write(&mut parts, &tell, last) {
                    return tell(News::Ended(cause));
                }
                if last {
                    return;
                }
                thread::park_timeout(WRITE_INTERVAL);
            }
        };
        let writing = thread::Builder::new().name("record".into()).spawn(write).map_err(FileError::Thread)?;
        Ok(Self { recorders: Recorders { kind, sources }, stop, writing: Some(writing) })
    }

    /// Starts one where one is wanted.
    pub(crate) fn of(
        config: Option<&Config>,
        report: &(impl Fn(Report) + Send + Clone + 'static),
    ) -> Result<Option<Self>, device::Error> {
        Ok(config.map(|config| Self::start(config, report.clone())).transpose()?)
    }

    /// For the callbacks of cards that are opened, and the streams that come.
    pub fn recorders(&self) -> Recorders {
        self.recorders.clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(writing) = self.writing.take() {
            writing.thread().unpark();
            let _ = writing.join(); // it has told what it could not do
        }
    }
}

impl Recorders {
    /// One for a card of that shape, where samples are recorded. A shape that differs from the last one
    /// begins another file.
    pub fn of_card(&self, shape: &Shape) -> Option<Recorder> {
        if self.kind == Kind::Opus {
            return None;
        }
        let (recorder, take) = samples::take(shape);
        let _ = self.sources.send(Source::Samples(take)); // a recording that has failed has told so
        Some(recorder)
    }

    /// One for a run of packets of that format, where packets are recorded.
    pub(crate) fn of_packets(&self, format: Format, whose: Option<String>) -> Option<PacketRecorder> {
        if self.kind != Kind::Opus {
            return None;
        }
        if format.codec != Codec::Opus {
            let _ = self.sources.send(Source::Other { whose, format });
            return None;
        }
        let (recorder, run) = packets::run(whose);
        let _ = self.sources.send(Source::Packets(run));
        Some(recorder)
    }
}

/// What the thread writes.
struct Tape {
    split: Option<Split>,
    inbox: Receiver<Source>,
    samples: Writer,
    runs: Vec<RunWriter>,
}

impl Tape {
    fn write(&mut self, parts: &mut Parts, tell: &impl Fn(News), ending: bool) -> Result<(), FileError> {
        while let Ok(source) = self.inbox.try_recv() {
            match source {
                Source::Samples(take) => self.samples.begin(take, parts, tell)?,
                Source::Other { whose, format } => tell(News::Other { whose, format }),
                Source::Packets(run) => self.runs.push(RunWriter::new(run, self.split)),
            }
        }
        self.samples.write(parts, tell)?;
        for index in (0..self.runs.len()).rev() {
            if !self.runs[index].write(parts, tell, ending)? {
                self.runs.remove(index);
            }
        }
        if ending { self.samples.finish() } else { Ok(()) }
    }
}

impl From<News> for Event {
    fn from(news: News) -> Self {
        match news {
            News::Began { path, whose } => Event::Recording { path, whose },
            News::Other { whose, format } => Event::NotRecorded { whose, format },
            News::Missing(sound) => Event::RecordingMissing { sound },
            News::Ended(error) => Event::RecordingEnded { why: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests;
