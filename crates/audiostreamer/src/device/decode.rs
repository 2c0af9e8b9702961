//! Sound files, decoded piece by piece.
//!
//! Uncompressed WAV is read here, because it can be cut off, still growing, or longer than
//! 4 GiB; everything else by symphonia.

use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Seek};
use std::path::{Path, PathBuf};

use super::coded::Coded;
use super::file_error::FileError;
use super::pcm_reader::{PcmReader, fill};
use super::wav_read::{self, MAGIC_BYTES, WavError};

/// A sound file that is being decoded.
pub struct Decoder {
    path: PathBuf,
    source: Source,
    samples: Vec<f32>,
}

enum Source {
    Pcm(PcmReader<BufReader<File>>),
    Coded(Box<Coded>),
}

/// A piece of decoded sound.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// What these samples look like.
    pub sound: Sound,
    /// Interleaved.
    pub samples: &'a [f32],
}

/// What decoded sound looks like. It may change in the middle of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sound {
    /// Frames per second.
    pub rate: u32,
    /// Samples in a frame.
    pub channels: u16,
}

impl Decoder {
    /// Opens the file and finds out what is in it.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let path = path.to_path_buf();
        let mut file = open_file(&path)?;
        let is_wav = begins_as_wav(&mut file).map_err(|cause| read_error(&path, cause))?;
        let source = match is_wav {
            true => open_wav(file, &path)?,
            false => Source::Coded(Box::new(Coded::open(file, &path)?)),
        };
        Ok(Self { path, source, samples: Vec::new() })
    }

    /// What the sound looks like at its beginning.
    pub fn sound(&self) -> Sound {
        match &self.source {
            Source::Pcm(reader) => {
                let format = reader.format();
                Sound { rate: format.rate, channels: format.channels }
            }
            Source::Coded(coded) => coded.sound(),
        }
    }

    /// The next piece, `None` at the end.
    pub fn next_piece(&mut self) -> Result<Option<Piece<'_>>, FileError> {
        match &mut self.source {
            Source::Pcm(reader) => {
                let read = reader.read(PIECE_FRAMES, &mut self.samples);
                read.map_err(|cause| read_error(&self.path, cause))?;
            }
            Source::Coded(coded) => coded.next_samples(&mut self.samples)?,
        }
        let piece = Piece { sound: self.sound(), samples: &self.samples };
        Ok((!piece.samples.is_empty()).then_some(piece))
    }

    /// Packets that could not be decoded so far, and were left out.
    pub fn damaged(&self) -> u64 {
        match &self.source {
            Source::Pcm(_) => 0,
            Source::Coded(coded) => coded.damaged(),
        }
    }
}

fn open_file(path: &Path) -> Result<File, FileError> {
    let failed = |cause| FileError::Open { path: path.into(), cause };
    let metadata = fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(ErrorKind::IsADirectory.into()));
    }
    if !metadata.is_file() {
        // Opening a named pipe would wait until someone writes to it.
        return Err(FileError::NotAFile { path: path.into() });
    }
    if metadata.len() == 0 {
        return Err(FileError::Empty { path: path.into() });
    }
    File::open(path).map_err(failed)
}

fn begins_as_wav(file: &mut File) -> io::Result<bool> {
    let mut begin = [0; MAGIC_BYTES];
    let read = fill(file, &mut begin)?;
    file.rewind()?;
    Ok(wav_read::is_wav(&begin[..read]))
}

fn open_wav(file: File, path: &Path) -> Result<Source, FileError> {
    let mut input = BufReader::new(file);
    match wav_read::header(&mut input) {
        Ok(wav) => Ok(Source::Pcm(PcmReader::new(input, wav.format, wav.data))),
        Err(WavError::Unsupported(_)) => {
            let mut file = input.into_inner();
            file.rewind().map_err(|cause| read_error(path, cause))?;
            Ok(Source::Coded(Box::new(Coded::open(file, path)?)))
        }
        Err(WavError::Io(cause)) => Err(read_error(path, cause)),
        Err(error) => Err(FileError::Damaged { name: name(path), why: error.to_string() }),
    }
}

pub(super) fn read_error(path: &Path, cause: io::Error) -> FileError {
    FileError::Read { name: name(path), cause }
}

pub(crate) fn name(path: &Path) -> String {
    path.display().to_string()
}

/// As much as a compressed packet usually holds.
const PIECE_FRAMES: usize = 1024;

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::device::pcm_format::PcmFormat;
    use crate::device::wav_header;

    #[test]
    fn every_format_decodes_to_its_tone() {
        // The padding of AAC at both ends is played: neither ADTS nor symphonia's MP4 tells it.
        let files = [
            ("tone.flac", 48_000, 1, 24_000..=24_000),
            ("tone-44100-stereo.mp3", 44_100, 2, 22_050..=22_050),
            ("tone.ogg", 48_000, 1, 24_000..=24_000),
            ("tone.aac", 48_000, 1, 24_000..=27_000),
            ("tone-stereo.m4a", 48_000, 2, 24_000..=27_000),
            ("tone-adpcm.wav", 48_000, 1, 24_000..=26_000),
        ];
        for (file, rate, channels, frames) in files {
            let (mut decoder, samples) = decode(&fixture(file)).unwrap();
            assert_eq!(decoder.sound(), Sound { rate, channels }, "{file}");
            let decoded = samples.len() / usize::from(channels);
            assert!(frames.contains(&decoded), "{file}: {decoded} frames");
            let middle: Vec<f32> = samples.iter().step_by(channels.into()).copied().collect();
            let hz = frequency(&middle[decoded / 4..decoded * 3 / 4], rate);
            assert!((hz - 1000.0).abs() < 10.0, "{file}: {hz} Hz");
            assert_eq!(decoder.damaged(), 0, "{file}");
            assert!(decoder.next_piece().unwrap().is_none(), "{file}: the end stays the end");
        }
    }

    #[test]
    fn damage_is_left_out_and_counted() {
        for file in ["tone.flac", "tone-44100-stereo.mp3", "tone.aac"] {
            let mut bytes = fs::read(fixture(file)).unwrap();
            let middle_of_sound = bytes.len() * 3 / 4;
            bytes[middle_of_sound..][..40].fill(0x55);
            let (_dir, path) = written("damaged", &bytes);
            let (whole, _) = decode(&fixture(file)).unwrap();
            let (decoder, samples) = decode(&path).unwrap();
            assert!(decoder.damaged() > 0, "{file}");
            assert_eq!(decoder.sound(), whole.sound(), "{file}");
            let channels = usize::from(decoder.sound().channels);
            assert!(samples.len() / channels > 12_000, "{file}: {}", samples.len() / channels);
        }
    }

    #[test]
    fn songs_strung_together_follow_each_other() {
        let mut decoder = Decoder::open(&fixture("songs-48000-22050.ogg")).unwrap();
        let mut frames = [0, 0];
        while let Some(Piece { sound, samples }) = decoder.next_piece().unwrap() {
            match (sound.rate, sound.channels) {
                (48_000, 1) => frames[0] += samples.len(),
                (22_050, 2) => frames[1] += samples.len() / 2,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(frames, [24_000, 11_025]);
    }

    #[test]
    fn half_a_wav_plays_what_is_there() {
        let format: PcmFormat = "s24le,48000,2".parse().unwrap();
        let header = wav_header::of_file(&format, 6000);
        let (_dir, path) = written("half.wav", &[&header[..], &[0x40; 3000]].concat());
        let (decoder, samples) = decode(&path).unwrap();
        assert_eq!(decoder.sound(), Sound { rate: 48_000, channels: 2 });
        assert_eq!(samples.len(), 1000);
    }

    #[test]
    fn a_wav_whose_writer_was_killed_plays_to_its_end() {
        let header = wav_header::of_stream(&"s16le,44100,1".parse().unwrap());
        let (_dir, path) = written("killed.wav", &[&header[..], &[0; 2000]].concat());
        assert_eq!(decode(&path).unwrap().1.len(), 1000);
    }

    #[test]
    fn a_wav_without_sound_just_ends() {
        let header = wav_header::of_file(&"s16le,44100,1".parse().unwrap(), 0);
        let (_dir, path) = written("silent.wav", &header);
        assert_eq!(decode(&path).unwrap().1.len(), 0);
    }

    #[test]
    fn what_is_no_sound_is_refused_with_the_reason() {
        let text = "It was a dark and stormy night. ".repeat(1000);
        assert!(matches!(refused("a.txt", text.as_bytes()), FileError::NotAudio { .. }));
        assert!(matches!(refused("a.mp3", text.as_bytes()), FileError::NotAudio { .. }));
        assert!(matches!(refused("short", b"x"), FileError::NotAudio { .. }));
        assert!(matches!(refused("empty.wav", b""), FileError::Empty { .. }));
        assert!(matches!(refused("a.wav", b"RIFF\x08\0\0\0WAVE"), FileError::Damaged { .. }));
        let opus = fs::read(fixture("tone-opus.ogg")).unwrap();
        assert!(matches!(refused("a.ogg", &opus), FileError::Unsupported { .. }));
    }

    #[test]
    fn what_can_not_be_opened_is_told() {
        let error = |path: &str| Decoder::open(Path::new(path)).err().unwrap().to_string();
        assert!(error("/nowhere/song.flac").starts_with("can't open /nowhere/song.flac: no such"));
        assert_eq!(error("/"), "can't open /: is a directory");
        assert!(error("/dev/zero").contains("--input - < /dev/zero"));
    }

    fn refused(name: &str, bytes: &[u8]) -> FileError {
        let (_dir, path) = written(name, bytes);
        let error = decode(&path).err().unwrap();
        assert!(error.to_string().contains(name), "{error}");
        error
    }

    /// A file that is gone when the directory is dropped.
    fn written(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    /// The decoder at its end, and all samples.
    fn decode(path: &Path) -> Result<(Decoder, Vec<f32>), FileError> {
        let mut decoder = Decoder::open(path)?;
        let mut samples = Vec::new();
        while let Some(piece) = decoder.next_piece()? {
            samples.extend(piece.samples);
        }
        Ok((decoder, samples))
    }

    /// By the zero crossings from below.
    fn frequency(samples: &[f32], rate: u32) -> f64 {
        let crossings = samples.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        crossings as f64 * f64::from(rate) / samples.len() as f64
    }

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }
}
