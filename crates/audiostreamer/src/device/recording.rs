//! A copy of what a card plays or captures, in a WAV file, while it does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
/// is missing in the file, and only there.
const PATIENCE: Duration = Duration::from_secs(4);

/// So often it is written: as much is lost when the program is killed.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// A recording; dropping it writes what is left. The file is a valid WAV at every moment.
#[derive(Debug)]
pub struct Recording {
    takes: std::sync::mpsc::Sender<(Shape, Consumer<f32>)>,
    stop: Arc<AtomicBool>,
    writing: Option<JoinHandle<()>>,
}

/// Gives each card that is opened its [`Recorder`].
#[derive(Clone, Debug)]
pub struct Recorders(std::sync::mpsc::Sender<(Shape, Consumer<f32>)>);

/// The end of a recording that is in a device's callback.
pub struct Recorder {
    samples: Producer<f32>,
}

impl Recording {
    /// Creates or replaces the file at `path`, and tells `failed` when nothing more can be written.
    pub fn start(path: &Path, failed: impl Fn(FileError) + Send + 'static) -> Result<Self, FileError> {
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
                let written = writer.write(&inbox, &mut take);
                if let Err(cause) = written {
                    return failed(cause);
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
        let (samples, take) = RingBuffer::new(frames * usize::from(shape.channels));
        let _ = self.0.send((*shape, take)); // a recording that has failed has told so
        Recorder { samples }
    }
}

impl Recorder {
    /// Takes a block, all of it or nothing. Never allocates, frees, locks or waits.
    pub fn record(&mut self, block: &[f32]) {
        if let Ok(chunk) = self.samples.write_chunk_uninit(block.len()) {
            chunk.fill_from_iter(block.iter().copied());
        }
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
    fn write(
        &mut self,
        inbox: &std::sync::mpsc::Receiver<(Shape, Consumer<f32>)>,
        take: &mut Option<Consumer<f32>>,
    ) -> Result<(), FileError> {
        loop {
            if let Some(samples) = take {
                self.append(samples)?;
            }
            let Ok((shape, next)) = inbox.try_recv() else { return Ok(()) };
            self.begin(shape)?;
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
        let recording = Recording::start(&path, |error| panic!("{error}")).unwrap();
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
        let (_, take) = inbox.recv().unwrap();
        assert_eq!(take.slots(), 64_000, "four seconds, and no half frame");
    }

    #[test]
    fn a_file_that_can_not_be_made_is_told_at_once() {
        assert!(Recording::start(Path::new("/nowhere/take.wav"), drop).is_err());
    }
}
