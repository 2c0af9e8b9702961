//! Compressed sound files, by symphonia.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;
use symphonia::default::{get_codecs, get_probe};

use super::decode::{Sound, name, read_error};
use super::file_error::FileError;
use super::pcm_format::{CHANNELS, RATES};

/// The first sound track of a compressed file.
pub struct Coded {
    path: PathBuf,
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    sound: Sound,
    /// The packet that [`open`](Self::open) decoded to learn about the sound.
    first: Vec<f32>,
    damaged: u64,
    /// When the next packet begins if none is missing.
    expected: Timestamp,
}

impl Coded {
    /// Finds the format and the sound track, and decodes up to the first sample.
    pub fn open(file: File, path: &Path) -> Result<Self, FileError> {
        let stream = MediaSourceStream::new(Box::new(file), Default::default());
        let (options, tags) = (FormatOptions::default(), MetadataOptions::default());
        let format = get_probe().probe(&Hint::new(), stream, options, tags).map_err(|error| unreadable(path, error))?;
        let (track, decoder) = open_track(&*format, path)?;
        let mut coded = Self {
            path: path.to_path_buf(),
            format,
            decoder,
            track,
            sound: Sound::default(),
            first: Vec::new(),
            damaged: 0,
            expected: Timestamp::MAX,
        };
        let mut first = Vec::new();
        coded.next_samples(&mut first)?;
        if first.is_empty() {
            return Err(FileError::Damaged { name: name(&coded.path), why: "none of its sound can be decoded".into() });
        }
        coded.first = first;
        Ok(coded)
    }

    /// What the sound of the last packet looks like.
    pub fn sound(&self) -> Sound {
        self.sound
    }

    /// Packets that could not be decoded.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// Decodes the next packet that holds sound into `samples`, interleaved; none at the end.
    pub fn next_samples(&mut self, samples: &mut Vec<f32>) -> Result<(), FileError> {
        samples.clear();
        std::mem::swap(samples, &mut self.first);
        while samples.is_empty() {
            match self.next_packet()? {
                Some(packet) if packet.track_id == self.track => self.decode(&packet, samples),
                Some(_) => {}
                None => break,
            }
        }
        Ok(())
    }

    fn next_packet(&mut self) -> Result<Option<Packet>, FileError> {
        for attempt in 0..MOST_ATTEMPTS {
            match self.format.next_packet() {
                Ok(Some(packet)) => return Ok(Some(packet)),
                Ok(None) => return Ok(None),
                // The file is cut off.
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                // The next of several songs that were strung together.
                Err(Error::ResetRequired) => {
                    (self.track, self.decoder) = open_track(&*self.format, &self.path)?;
                    self.expected = Timestamp::MAX;
                }
                Err(Error::IoError(error)) => return Err(read_error(&self.path, error)),
                // MP3 and AAC find their way after damage when asked again.
                Err(_) => self.damaged += u64::from(attempt == 0),
            }
        }
        Ok(None)
    }

    fn decode(&mut self, packet: &Packet, samples: &mut Vec<f32>) {
        // FLAC and Ogg get over damage by themselves, and show it by a jump of their time.
        self.damaged += u64::from(packet.pts > self.expected);
        self.expected = packet.pts.checked_add(packet.block_dur()).unwrap_or(Timestamp::MAX);
        match self.decoder.decode(packet) {
            Ok(decoded) if decoded.is_empty() => {} // padding of the encoder
            Ok(decoded) => {
                let (rate, channels) = (decoded.spec().rate(), decoded.num_planes() as u16);
                if !RATES.contains(&rate) || !CHANNELS.contains(&channels) {
                    self.damaged += 1;
                    return;
                }
                self.sound = Sound { rate, channels };
                decoded.copy_to_vec_interleaved(samples);
            }
            Err(Error::ResetRequired) => self.decoder.reset(),
            Err(_) => self.damaged += 1,
        }
    }
}

fn open_track(format: &dyn FormatReader, path: &Path) -> Result<(u32, Box<dyn AudioDecoder>), FileError> {
    let unsupported = |why: &str| FileError::Unsupported { path: path.into(), why: why.into() };
    let track = format.default_track(TrackType::Audio);
    let track = track.ok_or_else(|| unsupported("it has no sound"))?;
    let params = track.codec_params.as_ref().and_then(|params| params.audio());
    let params = params.ok_or_else(|| unsupported("it has no sound"))?;
    let decoder = get_codecs()
        .make_audio_decoder(params, &AudioDecoderOptions::default())
        .map_err(|_| unsupported("its codec is unknown"))?;
    Ok((track.id, decoder))
}

fn unreadable(path: &Path, error: Error) -> FileError {
    match error {
        Error::IoError(cause) if cause.kind() == ErrorKind::UnexpectedEof => {
            FileError::Damaged { name: name(path), why: "it is cut off before its sound".into() }
        }
        Error::IoError(cause) => read_error(path, cause),
        Error::Unsupported(what) if what.starts_with("core (probe)") => FileError::NotAudio { path: path.into() },
        Error::Unsupported(why) => FileError::Unsupported { path: path.into(), why: why.into() },
        error => FileError::Damaged { name: name(path), why: error.to_string() },
    }
}

/// So many places in a row that are no packet are the end; enough to get over half a megabyte of
/// damage in AAC, which has only 12 bits to find its way by.
const MOST_ATTEMPTS: u32 = 1000;
