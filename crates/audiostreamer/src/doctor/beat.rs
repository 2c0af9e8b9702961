//! How regularly a card calls.

use std::time::Duration;

use audiostreamer_core::{Instant, duration_of};

/// One call of a card.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// When.
    pub at: Instant,
    /// How much it moved.
    pub frames: usize,
    /// How old the first captured frame was, or when the first rendered one will be heard.
    pub delay: Duration,
}

/// What many calls come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regularity {
    /// Frames of a usual call.
    pub frames: usize,
    /// The card's own delay, block included: the median.
    pub delay: Duration,
    /// How much later than the most punctual ones calls come: the median, ...
    pub late: Duration,
    /// ... and the worst.
    pub latest: Duration,
}

impl Regularity {
    /// Of the calls of a card that runs at `rate`; `None` of too few.
    pub fn of(beats: &[Beat], rate: u32) -> Option<Self> {
        let start = beats.first()?.at;
        let mut moved = 0;
        // When each came, less what had been moved before: the same for all, if they were punctual.
        let shifts: Vec<f64> = beats
            .iter()
            .map(|beat| {
                let shift = beat.at.seconds_since(start) - duration_of(moved, rate).as_secs_f64();
                moved += beat.frames as u64;
                shift
            })
            .collect();
        let least = shifts.iter().copied().fold(f64::INFINITY, f64::min);
        let mut late: Vec<Duration> = shifts.iter().map(|shift| Duration::from_secs_f64(shift - least)).collect();
        let mut frames: Vec<usize> = beats.iter().map(|beat| beat.frames).collect();
        let mut delays: Vec<Duration> = beats.iter().map(|beat| beat.delay).collect();
        (beats.len() >= BEATS_MIN).then(|| Self {
            latest: late.iter().copied().max().unwrap_or_default(),
            frames: median(&mut frames),
            delay: median(&mut delays),
            late: median(&mut late),
        })
    }
}

/// Fewer say nothing about regularity.
const BEATS_MIN: usize = 4;

/// The one in the middle; of none, nothing.
pub fn median<T: Ord + Copy + Default>(values: &mut [T]) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(millis: &[u64]) -> Vec<Beat> {
        let beat =
            |at: &u64| Beat { at: Instant::from_nanos(at * 1_000_000), frames: 480, delay: Duration::from_millis(12) };
        millis.iter().map(beat).collect()
    }

    #[test]
    fn calls_are_late_against_the_most_punctual_of_them() {
        let regular = Regularity::of(&beats(&[100, 110, 120, 130, 140]), 48_000).unwrap();
        assert_eq!((regular.frames, regular.latest), (480, Duration::ZERO));
        assert_eq!(regular.delay, Duration::from_millis(12));
        let late = Regularity::of(&beats(&[102, 110, 127, 130, 140]), 48_000).unwrap();
        assert_eq!(late.late, Duration::ZERO);
        assert_eq!(late.latest.as_millis(), 7);
        assert_eq!(Regularity::of(&beats(&[100, 110]), 48_000), None);
    }
}
