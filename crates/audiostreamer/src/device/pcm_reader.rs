//! Uncompressed samples from anything that can be read.

use std::io::{self, Read};

use audiostreamer_core::codec::pcm;

use super::pcm_format::PcmFormat;
use super::wav_read::Length;

/// Reads frames of a known format, up to the end of the input or of the sound in it.
#[derive(Debug)]
pub struct PcmReader<R> {
    input: R,
    format: PcmFormat,
    /// Bytes of sound that are still to come.
    left: u64,
    bytes: Vec<u8>,
}

impl<R: Read> PcmReader<R> {
    pub fn new(input: R, format: PcmFormat, length: Length) -> Self {
        let left = match length {
            Length::Bytes(bytes) => bytes,
            Length::UntilEnd => u64::MAX,
        };
        Self { input, format, left, bytes: Vec::new() }
    }

    pub fn format(&self) -> PcmFormat {
        self.format
    }

    /// The input, to ask how the reading went.
    pub fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// Fills `samples` with `frames` frames, fewer only at the end; none after it. A frame that
    /// is cut off is left out.
    pub fn read(&mut self, frames: usize, samples: &mut Vec<f32>) -> io::Result<()> {
        let frame = self.format.frame_bytes();
        let wanted = ((frames * frame) as u64).min(self.left) as usize;
        self.bytes.resize(wanted, 0);
        let read = fill(&mut self.input, &mut self.bytes)?;
        self.left -= read as u64;
        let whole = read / frame * frame;
        samples.resize(whole / self.format.encoding.bytes(), 0.0);
        pcm::decode(self.format.encoding, &self.bytes[..whole], samples);
        Ok(())
    }
}

/// As much as there is, up to the length of `bytes`.
pub fn fill(input: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match input.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_sound_is_the_end_even_if_more_follows() {
        let mut reader = reader(&[0, 0x40, 0, 0x40, b'L', b'I', b'S', b'T'], Length::Bytes(4));
        assert_eq!(read(&mut reader), [0.5, 0.5]);
        assert!(read(&mut reader).is_empty());
    }

    #[test]
    fn a_frame_that_is_cut_off_is_left_out() {
        let mut reader = reader(&[0, 0x40, 0, 0x40, 1, 2, 3], Length::Bytes(1000));
        assert_eq!(read(&mut reader), [0.5, 0.5]);
        assert!(read(&mut reader).is_empty());
    }

    #[test]
    fn a_long_input_comes_in_blocks() {
        let mut reader = reader(&[0; 4 * 10 + 4 * 3], Length::UntilEnd);
        assert_eq!(read(&mut reader).len(), 20);
        assert_eq!(read(&mut reader).len(), 6);
        assert_eq!(read(&mut reader).len(), 0);
    }

    fn reader(bytes: &[u8], length: Length) -> PcmReader<&[u8]> {
        PcmReader::new(bytes, "s16le,44100,2".parse().unwrap(), length)
    }

    fn read(reader: &mut PcmReader<&[u8]>) -> Vec<f32> {
        let mut samples = vec![9.0; 3];
        reader.read(10, &mut samples).unwrap();
        samples
    }
}
