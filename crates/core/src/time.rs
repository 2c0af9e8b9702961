//! Time as the core sees it: an argument, never a clock that it reads.

use std::ops::{Add, AddAssign, Sub};
use std::time::Duration;

/// A moment of local time: nanoseconds since an epoch that the caller chose.
///
/// The engine counts from its own start, the simulator from zero. All moments given to one
/// [`Sender`](crate::Sender), [`Receiver`](crate::Receiver) or [`Playout`](crate::Playout) must
/// come from the same epoch.
///
/// ```
/// use audiostreamer_core::Instant;
/// use std::time::Duration;
///
/// let start = Instant::from_nanos(0);
/// let later = start + Duration::from_millis(20);
/// assert_eq!(later - start, Duration::from_millis(20));
/// assert_eq!(start - later, Duration::ZERO, "the past is zero away, not an error");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Signed distance in seconds: positive when `self` is the later one.
    pub fn seconds_since(self, earlier: Instant) -> f64 {
        if self >= earlier { (self.0 - earlier.0) as f64 / 1e9 } else { -((earlier.0 - self.0) as f64 / 1e9) }
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, span: Duration) -> Instant {
        Instant(self.0.saturating_add(nanos(span)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, span: Duration) -> Instant {
        Instant(self.0.saturating_sub(nanos(span)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    /// The time from `earlier` to `self`, zero when `earlier` is in fact the later one.
    fn sub(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A span as nanoseconds, at most 584 years.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// A position on a sender's media timeline: its extended RTP timestamp, in frames (one frame is
/// one sample of every channel) of the stream's clock rate.
///
/// The 32 bits on the wire wrap after a day; this does not. Its arithmetic saturates, so that no
/// absurd time can break a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaTime(pub i64);

impl MediaTime {
    /// Frames from `earlier` to `self`, negative when `self` comes first.
    pub const fn frames_since(self, earlier: MediaTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<i64> for MediaTime {
    type Output = MediaTime;
    fn add(self, frames: i64) -> MediaTime {
        MediaTime(self.0.saturating_add(frames))
    }
}

impl Sub<i64> for MediaTime {
    type Output = MediaTime;
    fn sub(self, frames: i64) -> MediaTime {
        MediaTime(self.0.saturating_sub(frames))
    }
}

/// How long `frames` frames last at `rate` frames per second, at most 584 years.
pub fn duration_of(frames: u64, rate: u32) -> Duration {
    // In parts: dividing 128 bits takes several times as long, and this is asked in every callback.
    let rate = u64::from(rate.max(1));
    let (seconds, rest) = (frames / rate, frames % rate);
    Duration::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(rest * 1_000_000_000 / rate))
}

/// How many whole frames fit into `span` at `rate` frames per second, rounded to the nearest;
/// at most what a [`MediaTime`] holds.
pub fn frames_in(span: Duration, rate: u32) -> u64 {
    let frames = (span.as_nanos() * u128::from(rate) + 500_000_000) / 1_000_000_000;
    frames.min(i64::MAX as u128) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_durations_convert_both_ways() {
        assert_eq!(frames_in(Duration::from_micros(2500), 48_000), 120);
        assert_eq!(duration_of(441, 44_100), Duration::from_millis(10));
        assert_eq!(frames_in(duration_of(128, 48_000), 48_000), 128);
    }

    #[test]
    fn seconds_since_is_signed() {
        let a = Instant::from_nanos(1_000_000_000);
        let b = Instant::from_nanos(3_000_000_000);
        assert_eq!(b.seconds_since(a), 2.0);
        assert_eq!(a.seconds_since(b), -2.0);
    }
    #[test]
    fn absurd_times_stay_at_the_end_of_the_scale() {
        assert_eq!(MediaTime(i64::MAX) + 1, MediaTime(i64::MAX));
        assert_eq!(MediaTime(i64::MIN).frames_since(MediaTime(1)), i64::MIN);
        assert_eq!(Instant::from_nanos(1) + Duration::MAX, Instant::from_nanos(u64::MAX));
        assert_eq!(frames_in(Duration::MAX, u32::MAX), i64::MAX as u64);
        assert_eq!(duration_of(u64::MAX, 1), Duration::from_nanos(u64::MAX));
    }
}
