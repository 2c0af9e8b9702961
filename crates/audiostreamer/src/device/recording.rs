//! A copy of what a card plays or captures, in a WAV file, while it does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audiostreamer_core::codec::pcm;
use rtrb::{Consumer, Producer, RingBuffer};

use super::file_error::FileError;
use super::file_sink::SoundFile;
use super::pcm_format::PcmFormat;
use super::sink_format::{Container, SinkFormat};
use super::{Shape, decode};

/// How much sound may wait for a disk that is slow, for example to wake up. What comes after that
/// is missing in the file, and only there, and is told.
const PATIENCE: Duration = Duration::from_secs(4);

/// So often it is written: as much is lost when the program is killed.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// A recording; dropping it writes what is left. The file is a valid WAV at every moment.
#[derive(Debug)]
pub struct Recording {
    takes: std::sync::mpsc::Sender<Take>,
    stop: Arc<AtomicBool>,
    writing: Option<JoinHandle<()>>,
}

/// Gives each card that is opened its [`Recorder`].
#[derive(Clone, Debug)]
pub struct Recorders(std::sync::mpsc::Sender<Take>);

/// The end of a recording that is in a device's callback.
pub struct Recorder {
    samples: Producer<f32>,
    lost: Arc<AtomicU64>,
}

/// What the callback of one card brings.
#[derive(Debug)]
struct Take {
    shape: Shape,
    samples: Consumer<f32>,
    /// Samples for which there was no room, since the last look.
    lost: Arc<AtomicU64>,
}

/// What went wrong with a recording.
#[derive(Debug)]
pub enum Trouble {
    /// So much sound is missing: the file could not be written fast enough.
    Missing(Duration),
    /// Nothing more is written.
    Ended(FileError),
}

impl Recording {
    /// Creates or replaces the file at `path`, and tells of `trouble` with it later.
    pub fn start(path: &Path, trouble: impl Fn(Trouble) + Send + 'static) -> Result<Self, FileError> {
        // What can't be created is said now, though the shape is not known yet.
        drop(SoundFile::create(path, Container::Wav, format(&Shape { rate: 48_000, channels: 2, period: 1 }))?);
        let (takes, inbox) = std::sync::mpsc::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (path, stopped) = (path.to_owned(), stop.clone());
        let write = move || {
            let mut writer = Writer { path, parts: 0, file: None, bytes: Vec::new() };
            let mut take = None;
            loop {
                let last = stopped.load(Ordering::Acquire); // asked before the ring is emptied
                if let Err(cause) = writer.write(&inbox, &mut take) {
                    return trouble(Trouble::Ended(cause));
                }
                if let Some(missing) = take.as_ref().and_then(Take::missing) {
                    trouble(Trouble::Missing(missing));
                }
                if last {
                    return;
                }
                thread::park_timeout(WRITE_INTERVAL);
            }
        };
        let writing = thread::Builder::new().name("record".into()).spawn(write).map_err(FileError::Thread)?;
        Ok(Self { takes, stop, writing: Some(writing) })
    }

    /// For the callbacks of cards that are opened.
    pub fn recorders(&self) -> Recorders {
        Recorders(self.takes.clone())
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
    /// One for a card of that shape. A shape that differs from the last one begins another file.
    pub fn recorder(&self, shape: &Shape) -> Recorder {
        let frames = audiostreamer_core::frames_in(PATIENCE, shape.rate) as usize;
        let (samples, there) = RingBuffer::new(frames * usize::from(shape.channels));
        let lost = Arc::new(AtomicU64::new(0));
        let take = Take { shape: *shape, samples: there, lost: lost.clone() };
        let _ = self.0.send(take); // a recording that has failed has told so
        Recorder { samples, lost }
    }
}

impl Recorder {
    /// Takes a block, all of it or nothing. Never allocates, frees, locks or waits.
    pub fn record(&mut self, block: &[f32]) {
        if let Ok(chunk) = self.samples.write_chunk_uninit(block.len()) {
            chunk.fill_from_iter(block.iter().copied());
        } else {
            self.lost.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
    }
}

impl Take {
    /// What has been lost since the last call.
    fn missing(&self) -> Option<Duration> {
        let frames = self.lost.swap(0, Ordering::Relaxed) / u64::from(self.shape.channels);
        (frames > 0).then(|| audiostreamer_core::duration_of(frames, self.shape.rate))
    }
}

struct Writer {
    path: PathBuf,
    /// Files that were begun.
    parts: u32,
    file: Option<(Shape, SoundFile)>,
    bytes: Vec<u8>,
}

impl Writer {
    /// Writes what has come of the present take, and of those that have begun meanwhile.
    fn write(&mut self, inbox: &std::sync::mpsc::Receiver<Take>, take: &mut Option<Take>) -> Result<(), FileError> {
        loop {
            if let Some(take) = take {
                self.append(&mut take.samples)?;
            }
            let Ok(next) = inbox.try_recv() else { return Ok(()) };
            self.begin(next.shape)?;
            *take = Some(next);
        }
    }

    fn begin(&mut self, shape: Shape) -> Result<(), FileError> {
        let same = |(before, _): &(Shape, SoundFile)| (before.rate, before.channels) == (shape.rate, shape.channels);
        if !self.file.as_ref().is_some_and(same) {
            self.parts += 1;
            let path = part(&self.path, self.parts);
            self.file = Some((shape, SoundFile::create(&path, Container::Wav, format(&shape))?));
        }
        Ok(())
    }

    fn append(&mut self, samples: &mut Consumer<f32>) -> Result<(), FileError> {
        let Some((_, file)) = &mut self.file else { return Ok(()) };
        let Ok(chunk) = samples.read_chunk(samples.slots()) else { return Ok(()) };
        self.bytes.clear();
        let (first, second) = chunk.as_slices();
        for part in [first, second] {
            pcm::encode(SinkFormat::default().encoding, part, &mut self.bytes);
        }
        chunk.commit_all();
        let name = decode::name(&self.path);
        file.append(&self.bytes).map_err(|cause| FileError::Write { name, cause })
    }
}

/// 24 bits, as all files that we write where nothing else is said.
fn format(shape: &Shape) -> PcmFormat {
    PcmFormat { encoding: SinkFormat::default().encoding, rate: shape.rate, channels: shape.channels }
}

/// `take.wav`, then `take-2.wav`, `take-3.wav`.
fn part(path: &Path, number: u32) -> PathBuf {
    if number < 2 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number}{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> (hound::WavSpec, Vec<i32>) {
        let mut reader = hound::WavReader::open(path).unwrap();
        (reader.spec(), reader.samples().map(Result::unwrap).collect())
    }

    #[test]
    fn a_card_that_comes_back_goes_on_and_another_one_begins_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("take.wav");
        let recording = Recording::start(&path, |trouble| panic!("{trouble:?}")).unwrap();
        let stereo = Shape { rate: 48_000, channels: 2, period: 128 };
        let mono = Shape { rate: 44_100, channels: 1, period: 64 };
        for (shape, level) in [(stereo, 0.5), (stereo, 0.25), (mono, -0.5)] {
            recording.recorders().recorder(&shape).record(&[level; 8]);
        }
        drop(recording);
        let full = 1 << 23;
        let (spec, samples) = read(&path);
        assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (48_000, 2, 24));
        assert_eq!(samples, [[full / 2; 8], [full / 4; 8]].concat());
        let (spec, samples) = read(&folder.path().join("take-2.wav"));
        assert_eq!((spec.sample_rate, spec.channels), (44_100, 1));
        assert_eq!(samples, [-full / 2; 8]);
    }

    #[test]
    fn a_disk_that_is_too_slow_costs_whole_blocks() {
        let (sender, inbox) = std::sync::mpsc::channel();
        let shape = Shape { rate: 8_000, channels: 2, period: 16 };
        let mut recorder = Recorders(sender).recorder(&shape);
        (0..10_000).for_each(|_| recorder.record(&[0.1; 32]));
        let take = inbox.recv().unwrap();
        assert_eq!(take.samples.slots(), 64_000, "four seconds, and no half frame");
        assert_eq!(take.missing(), Some(Duration::from_secs(16)), "the rest is told");
    }

    #[test]
    fn a_file_that_can_not_be_made_is_told_at_once() {
        assert!(Recording::start(Path::new("/nowhere/take.wav"), drop).is_err());
    }
}
