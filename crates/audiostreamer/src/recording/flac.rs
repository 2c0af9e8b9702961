//! A FLAC file that is valid at every moment (RFC 9639).
//!
//! Whole blocks are added, then the number of frames in the header is replaced. Of the header only
//! that ever changes: the lengths of blocks and the checksum of all are "not known", as the format
//! has it for streams.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use flac_codec::encode::{FlacStreamWriter, Options};

use crate::device::Shape;

/// Frames of a block: a twelfth of a second, of which as much is lost when the program is killed.
pub(super) const BLOCK_FRAMES: usize = 4096;

/// Holds everything that arrives (Opus, L16, L24) without loss.
const BITS: u32 = 24;

pub(super) struct FlacFile {
    file: File,
    shape: Shape,
    encoder: FlacStreamWriter<Coded>,
    /// What the encoder has just written.
    coded: Coded,
    /// What makes no block yet.
    waiting: Vec<i32>,
    frames: u64,
    bytes: u64,
}

impl FlacFile {
    pub fn new(file: File, shape: Shape) -> io::Result<Self> {
        let header = header(&shape, 0);
        file.write_all_at(&header, 0)?;
        let coded = Coded::default();
        let encoder = FlacStreamWriter::new(coded.clone(), Options::fast());
        Ok(Self { file, shape, encoder, coded, waiting: Vec::new(), frames: 0, bytes: header.len() as u64 })
    }

    /// Adds interleaved samples.
    pub fn append(&mut self, samples: &[f32]) -> io::Result<()> {
        let full = (1 << (BITS - 1)) as f32;
        self.waiting.extend(samples.iter().map(|sample| (sample * full).round().clamp(-full, full - 1.0) as i32));
        let block = BLOCK_FRAMES * usize::from(self.shape.channels);
        while self.waiting.len() >= block {
            self.write(block)?;
        }
        Ok(())
    }

    /// Writes what makes no whole block: nothing may follow.
    pub fn finish(&mut self) -> io::Result<()> {
        match self.waiting.len() {
            0 => Ok(()),
            rest => self.write(rest),
        }
    }

    /// Of the file, when what waits is in it.
    pub fn bytes(&self) -> u64 {
        self.bytes + (self.waiting.len() * BITS as usize / 8) as u64
    }

    fn write(&mut self, samples: usize) -> io::Result<()> {
        let Shape { rate, channels, .. } = self.shape;
        let refused = |why: flac_codec::Error| io::Error::new(io::ErrorKind::InvalidInput, why.to_string());
        self.encoder.write(rate, channels as u8, BITS, &self.waiting[..samples]).map_err(refused)?;
        self.waiting.drain(..samples);
        let coded = std::mem::take(&mut *self.coded.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.file.write_all_at(&coded, self.bytes)?;
        self.bytes += coded.len() as u64;
        self.frames += (samples / usize::from(channels)) as u64;
        self.file.write_all_at(&header(&self.shape, self.frames), 0)
    }
}

/// The encoder keeps what it writes to.
#[derive(Clone, Default)]
struct Coded(Arc<Mutex<Vec<u8>>>);

impl io::Write for Coded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The marker and the one block of metadata that there must be (RFC 9639 section 8.2).
fn header(shape: &Shape, frames: u64) -> Vec<u8> {
    let mut header = b"fLaC".to_vec();
    header.extend([0x80, 0, 0, 34]); // the last block of metadata, and its length
    header.extend([(BLOCK_FRAMES as u16).to_be_bytes(); 2].concat());
    header.extend([0; 6]); // lengths of blocks in bytes: not known
    let rate_channels_bits =
        u64::from(shape.rate) << 44 | u64::from(shape.channels - 1) << 41 | u64::from(BITS - 1) << 36;
    header.extend((rate_channels_bits | frames & ((1 << 36) - 1)).to_be_bytes());
    header.extend([0; 16]); // no checksum
    header
}
