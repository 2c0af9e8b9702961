//! From a device's callback into files of samples: WAV or FLAC.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use audiostreamer_core::codec::pcm;
use audiostreamer_core::{duration_of, frames_in};
use rtrb::{Consumer, Producer, RingBuffer};

use super::flac::FlacFile;
use super::labels::Labels;
use super::parts::{Parts, Split};
use super::{FileError, Kind, News, PATIENCE};
use crate::device::file_sink::SoundFile;
use crate::device::pcm_format::PcmFormat;
use crate::device::sink_format::{Container, SinkFormat};
use crate::device::{Shape, decode};

/// In milliseconds: what is made up has long faded to silence. It may be a pause.
const FADED: f64 = 200.0;

/// Stretches of made up sound that wait to be labelled; they are as rare as losses are.
const MADE_UP: usize = 512;

/// The end of a recording that is in a device's callback.
pub struct Recorder {
    channels: u64,
    samples: Producer<f32>,
    made_up: Producer<Stretch>,
    /// Since the first block, in frames of the recording.
    recorded: u64,
    /// Where sound that is being made up began.
    begun: Option<u64>,
    lost: Arc<AtomicU64>,
}

/// From one frame to another.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    begin: u64,
    end: u64,
}

/// What the callback of one card brings.
#[derive(Debug)]
pub(super) struct Take {
    shape: Shape,
    samples: Consumer<f32>,
    made_up: Consumer<Stretch>,
    /// Samples for which there was no room, since the last look.
    lost: Arc<AtomicU64>,
}

/// Both ends for a card of that shape.
pub(super) fn take(shape: &Shape) -> (Recorder, Take) {
    let channels = u64::from(shape.channels);
    let frames = frames_in(PATIENCE, shape.rate);
    let (samples, there) = RingBuffer::new((frames * channels) as usize);
    let (made_up, made_up_there) = RingBuffer::new(MADE_UP);
    let lost = Arc::new(AtomicU64::new(0));
    let take = Take { shape: *shape, samples: there, made_up: made_up_there, lost: lost.clone() };
    (Recorder { channels, samples, made_up, recorded: 0, begun: None, lost }, take)
}

impl Recorder {
    /// Takes a block, all of it or nothing; `made_up` says whether some of it stands for what did not
    /// come. Never allocates, frees, locks or waits.
    pub fn record(&mut self, block: &[f32], made_up: bool) {
        match (made_up, self.begun) {
            (true, None) => self.begun = Some(self.recorded),
            (false, Some(begin)) => {
                self.begun = None;
                let _ = self.made_up.push(Stretch { begin, end: self.recorded }); // one label less
            }
            _ => {}
        }
        if let Ok(chunk) = self.samples.write_chunk_uninit(block.len()) {
            chunk.fill_from_iter(block.iter().copied());
            self.recorded += block.len() as u64 / self.channels;
        } else {
            self.lost.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
    }
}

impl Take {
    /// What has been lost since the last call.
    pub(super) fn missing(&self) -> Option<Duration> {
        let frames = self.lost.swap(0, Ordering::Relaxed) / u64::from(self.shape.channels);
        (frames > 0).then(|| duration_of(frames, self.shape.rate))
    }
}

#[cfg(test)]
impl Take {
    pub fn waiting(&self) -> usize {
        self.samples.slots()
    }
}

/// Writes one take after the other. A shape that differs from the last one begins another file.
pub(super) struct Writer {
    kind: Kind,
    split: Option<Split>,
    take: Option<Take>,
    /// Frames that were written before this take.
    before: u64,
    part: Option<Part>,
}

/// A file that is being written.
struct Part {
    name: String,
    shape: Shape,
    file: SampleFile,
    labels: Labels,
    /// Frames of all parts before it, and its own.
    before: u64,
    frames: u64,
    loudness: Loudness,
    /// Where it has been at full scale since, in frames of this part.
    full: Option<u64>,
}

impl Writer {
    pub fn new(kind: Kind, split: Option<Split>) -> Self {
        Self { kind, split, take: None, before: 0, part: None }
    }

    /// Begins another take.
    pub fn begin(&mut self, take: Take, parts: &mut Parts, tell: &impl Fn(News)) -> Result<(), FileError> {
        self.write(parts, tell)?; // what is left of the last one
        let same = |part: &Part| (part.shape.rate, part.shape.channels) == (take.shape.rate, take.shape.channels);
        if !self.part.as_ref().is_some_and(same) {
            self.begin_part(take.shape, parts, tell)?;
        }
        self.before = self.part.as_ref().map_or(0, |part| part.before + part.frames);
        self.take = Some(take);
        Ok(())
    }

    /// Writes what has come.
    pub fn write(&mut self, parts: &mut Parts, tell: &impl Fn(News)) -> Result<(), FileError> {
        let Some(mut take) = self.take.take() else { return Ok(()) };
        let result = self.write_take(&mut take, parts, tell);
        self.take = Some(take);
        result
    }

    fn write_take(&mut self, take: &mut Take, parts: &mut Parts, tell: &impl Fn(News)) -> Result<(), FileError> {
        let missing = take.missing();
        let channels = usize::from(take.shape.channels);
        while !take.samples.is_empty() {
            if self.part.as_ref().is_some_and(|part| self.split.is_some_and(|split| part.is_full(split))) {
                self.begin_part(take.shape, parts, tell)?;
            }
            let samples = take.samples.slots().min(self.piece(&take.shape) * channels);
            let (Ok(chunk), Some(part)) = (take.samples.read_chunk(samples), &mut self.part) else { break };
            let (first, second) = chunk.as_slices();
            part.append(first, second)?;
            chunk.commit_all();
        }
        let Some(part) = &mut self.part else { return Ok(()) };
        while let Ok(Stretch { begin, end }) = take.made_up.pop() {
            let place = |frame: u64| part.seconds((self.before + frame).saturating_sub(part.before));
            let (begin, end) = (place(begin), place(end));
            let millis = (end - begin) * 1e3;
            let what = if millis < FADED { "made up for what did not come" } else { "nothing came" };
            part.labels.add(begin, end, format_args!("{what}, {millis:.0} ms"))?;
        }
        if let Some(missing) = missing {
            tell(News::Missing(missing));
            let (at, millis) = (part.seconds(part.frames), missing.as_millis());
            part.labels.add(at, at, format_args!("{millis} ms are missing here: the disk was too slow"))?;
        }
        Ok(())
    }

    /// So many frames are written at once: as many as the part may still hold.
    fn piece(&self, shape: &Shape) -> usize {
        let piece = frames_in(PIECE, shape.rate);
        let room = match (self.split, &self.part) {
            (Some(Split::Time(time)), Some(part)) => frames_in(time, shape.rate).saturating_sub(part.frames),
            _ => piece,
        };
        piece.min(room) as usize
    }

    fn begin_part(&mut self, shape: Shape, parts: &mut Parts, tell: &impl Fn(News)) -> Result<(), FileError> {
        let before = self.part.as_ref().map_or(0, |part| part.before + part.frames);
        self.finish()?;
        let (path, file) = parts.next()?;
        let name = decode::name(&path);
        let failed = |cause| FileError::Write { name: name.clone(), cause };
        let file = SampleFile::new(self.kind, file, shape).map_err(failed)?;
        let labels = Labels::create(&path)?;
        tell(News::Began { path, whose: None });
        let loudness = Loudness::default();
        self.part = Some(Part { name, shape, file, labels, before, frames: 0, loudness, full: None });
        Ok(())
    }

    /// Ends the file that is being written.
    pub fn finish(&mut self) -> Result<(), FileError> {
        match self.part.take() {
            Some(mut part) => part.finish(),
            None => Ok(()),
        }
    }
}

impl Part {
    fn append(&mut self, first: &[f32], second: &[f32]) -> Result<(), FileError> {
        let channels = usize::from(self.shape.channels);
        let mut peak = 0.0f32;
        for samples in [first, second] {
            let failed = |cause| FileError::Write { name: self.name.clone(), cause };
            self.file.append(samples).map_err(failed)?;
            peak = peak.max(self.loudness.add(samples));
        }
        let frames = ((first.len() + second.len()) / channels) as u64;
        self.label_full_scale(peak)?;
        self.frames += frames;
        if self.frames - self.loudness.since >= frames_in(LEVELS, self.shape.rate) {
            self.label_loudness()?;
        }
        Ok(())
    }

    fn label_full_scale(&mut self, peak: f32) -> Result<(), FileError> {
        match (peak >= FULL_SCALE, self.full) {
            (true, None) => self.full = Some(self.frames),
            (false, Some(begin)) => {
                self.full = None;
                self.labels.add(self.seconds(begin), self.seconds(self.frames), "at full scale")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn label_loudness(&mut self) -> Result<(), FileError> {
        let Loudness { since, peak, squares, samples } = std::mem::take(&mut self.loudness);
        self.loudness.since = self.frames;
        let rms = (squares / samples.max(1) as f64).sqrt() as f32;
        let text = format_args!("peak {:.1} dBFS, RMS {:.1} dBFS", decibels(peak), decibels(rms));
        self.labels.add(self.seconds(since), self.seconds(self.frames), text)
    }

    fn finish(&mut self) -> Result<(), FileError> {
        self.label_full_scale(0.0)?;
        if self.frames > self.loudness.since {
            self.label_loudness()?;
        }
        self.file.finish().map_err(|cause| FileError::Write { name: self.name.clone(), cause })
    }

    /// Whether what is written next may belong to the next one.
    fn is_full(&self, split: Split) -> bool {
        let piece = frames_in(PIECE, self.shape.rate) * u64::from(self.shape.channels) * SAMPLE_BYTES;
        match split {
            Split::Time(time) => self.frames >= frames_in(time, self.shape.rate),
            Split::Bytes(bytes) => self.file.bytes() + piece > bytes,
        }
    }

    fn seconds(&self, frames: u64) -> f64 {
        frames as f64 / f64::from(self.shape.rate)
    }
}

enum SampleFile {
    Wav { file: SoundFile, bytes: Vec<u8> },
    Flac(Box<FlacFile>),
}

impl SampleFile {
    fn new(kind: Kind, file: File, shape: Shape) -> io::Result<Self> {
        match kind {
            Kind::Flac => Ok(Self::Flac(Box::new(FlacFile::new(file, shape)?))),
            Kind::Wav | Kind::Opus => {
                let Shape { rate, channels, .. } = shape;
                let format = PcmFormat { encoding: SinkFormat::default().encoding, rate, channels };
                Ok(Self::Wav { file: SoundFile::new(file, Container::Wav, format)?, bytes: Vec::new() })
            }
        }
    }

    fn append(&mut self, samples: &[f32]) -> io::Result<()> {
        match self {
            Self::Wav { file, bytes } => {
                bytes.clear();
                pcm::encode(SinkFormat::default().encoding, samples, bytes);
                file.append(bytes)
            }
            Self::Flac(file) => file.append(samples),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Wav { .. } => Ok(()), // as it always is
            Self::Flac(file) => file.finish(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Wav { file, .. } => file.bytes(),
            Self::Flac(file) => file.bytes(),
        }
    }
}

/// How loud it has been since some frame.
#[derive(Default)]
struct Loudness {
    since: u64,
    peak: f32,
    squares: f64,
    samples: u64,
}

impl Loudness {
    /// Returns the peak of what is added.
    fn add(&mut self, samples: &[f32]) -> f32 {
        let peak = samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        self.peak = self.peak.max(peak);
        self.squares += samples.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        self.samples += samples.len() as u64;
        peak
    }
}

fn decibels(level: f32) -> f32 {
    20.0 * level.max(1e-6).log10()
}

/// What is written at once.
const PIECE: Duration = Duration::from_millis(50);

/// Of 24 bits, the most that a sample takes; FLAC adds next to nothing where it can't shorten.
const SAMPLE_BYTES: u64 = 3;

/// How loud it is, is said for each stretch of this length.
const LEVELS: Duration = Duration::from_secs(60);

/// The loudest step of 16 bits: a card that clips reaches it.
const FULL_SCALE: f32 = 1.0 - 1.0 / 32_768.0;
