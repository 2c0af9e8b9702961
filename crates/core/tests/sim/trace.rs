//! A fingerprint of everything that happened: two runs are the same when theirs are.

use audiostreamer_core::Instant;

/// FNV-1a over words instead of bytes: an hour of samples must not take long to fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(u64);

impl Trace {
    pub fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Something that was sent or has arrived.
    pub fn packet(&mut self, now: Instant, bytes: &[u8]) {
        self.fold(now.as_nanos());
        self.fold(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.fold(u64::from_le_bytes(*word)));
        rest.iter().for_each(|byte| self.fold(u64::from(*byte)));
    }

    /// Something that was played.
    pub fn samples(&mut self, now: Instant, samples: &[f32]) {
        self.fold(now.as_nanos());
        samples.iter().for_each(|sample| self.fold(u64::from(sample.to_bits())));
    }

    fn fold(&mut self, word: u64) {
        // Multiplication only carries upwards; the rotation brings the high bits back down.
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
}
