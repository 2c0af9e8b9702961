//! When nothing is to be sent because there is nothing to hear.

use std::time::Duration;

use audiostreamer_core::frames_in;

use crate::device::Shape;

/// Knows how long it has been quiet.
pub(super) struct Silence {
    threshold: f32,
    hangover_frames: u64,
    quiet_frames: u64,
}

/// It is quiet for so long before it counts: no word is cut, and short pauses cost nothing.
const HANGOVER: Duration = Duration::from_millis(500);

impl Silence {
    /// Of sound of that shape; what is no louder than `threshold` is quiet.
    pub fn new(threshold: f32, shape: &Shape) -> Self {
        Self { threshold, hangover_frames: frames_in(HANGOVER, shape.rate), quiet_frames: 0 }
    }

    /// Takes a block of so many frames; returns whether it need not be sent. The one that is louder is sent
    /// as a whole, so that a word keeps its beginning.
    pub fn covers(&mut self, frames: usize, samples: &[f32]) -> bool {
        if samples.iter().any(|sample| sample.abs() > self.threshold) {
            self.quiet_frames = 0;
            return false;
        }
        let covers = self.quiet_frames >= self.hangover_frames;
        self.quiet_frames += frames as u64;
        covers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quiet_for_long_is_not_sent_and_what_is_louder_is_at_once() {
        let mut silence = Silence::new(0.001, &Shape { rate: 48_000, channels: 1, period: 480 });
        let (quiet, mut word) = ([0.001; 480], [0.0; 480]);
        assert_eq!((0..100).filter(|_| silence.covers(480, &quiet)).count(), 50, "half a second is sent");
        word[479] = -0.002;
        assert!(!silence.covers(480, &word), "with its beginning");
        assert!((0..50).all(|_| !silence.covers(480, &quiet)), "and half a second more");
        assert!(silence.covers(480, &quiet));
    }
}
