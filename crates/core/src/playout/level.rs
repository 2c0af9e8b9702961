//! Whether the timeline stands where the latency wants it.

use std::time::Duration;

use crate::{Instant, frames_in};

/// Looks at whole windows: within one, jitter moves every single unit about, but the unit that
/// came fastest and the moment when least waited tell where the timeline stands.
pub(super) struct Level {
    rate: u32,
    /// When the window began.
    since: Option<Instant>,
    /// Windows since the timeline was started or moved.
    windows: u32,
    /// The least that has waited.
    least_frames: i64,
    /// The longest that a unit has waited for its turn, if one was played.
    longest_frames: Option<i64>,
    /// Whether a unit came after its turn had begun.
    late: bool,
}

/// A window lasts at least so long. The first few are short: a stream may begin in the middle of a
/// burst whose rest, up to seconds of it, follows at once.
const WINDOW: Duration = Duration::from_secs(1);
const WINDOW_SHORT: Duration = Duration::from_millis(100);
const WINDOWS_SHORT: u32 = 5;

/// When more than this beyond the latency has waited for a whole window, it is cut: the sender's
/// clock is the faster one, or its path has become shorter.
const EXCESS: Duration = Duration::from_millis(20);

/// When a unit came late in a window in which none was faster than three quarters of the latency,
/// the timeline is put off: the sender's clock is the slower one, or its path has become longer.
/// While none comes late, a shorter delay than the latency is welcome.
const SHORTAGE: i64 = 4;

impl Level {
    pub fn new(rate: u32) -> Self {
        Self { rate, since: None, windows: 0, least_frames: i64::MAX, longest_frames: None, late: false }
    }

    /// The timeline was started or moved.
    pub fn restart(&mut self) {
        *self = Self::new(self.rate);
    }

    /// A unit came after its turn had begun.
    pub fn late(&mut self) {
        self.late = true;
    }

    /// A unit has waited so long for its turn, or came so long after it.
    pub fn waited(&mut self, frames: i64) {
        self.longest_frames = self.longest_frames.max(Some(frames));
    }

    /// How far the timeline is to be moved, in frames: forth where too much waits, back where too
    /// little does. `waiting_frames` wait now, `target_frames` are wanted.
    pub fn offset(&mut self, now: Instant, waiting_frames: i64, target_frames: i64) -> i64 {
        self.least_frames = self.least_frames.min(waiting_frames);
        let window = if self.windows < WINDOWS_SHORT { WINDOW_SHORT } else { WINDOW };
        if now - *self.since.get_or_insert(now) < window {
            return 0;
        }
        let excess = self.least_frames.saturating_sub(target_frames);
        let shortage = self.longest_frames.map_or(0, |longest| target_frames.saturating_sub(longest));
        let late = self.late;
        *self = Self { windows: self.windows.saturating_add(1), ..Self::new(self.rate) };
        if excess > frames_in(EXCESS, self.rate) as i64 {
            excess
        } else if late && shortage > target_frames / SHORTAGE {
            -shortage
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(late: bool, waited: i64, waiting: i64) -> i64 {
        let mut level = Level::new(48_000);
        level.offset(Instant::from_nanos(0), waiting, 960);
        if late {
            level.late();
        }
        level.waited(waited);
        level.offset(Instant::from_nanos(0) + WINDOW, waiting + 100, 960)
    }

    #[test]
    fn what_waits_too_long_is_cut_and_what_comes_late_is_waited_for() {
        assert_eq!(offset(false, 960, 960), 0);
        assert_eq!(offset(false, 2400, 2400), 1440);
        assert_eq!(offset(true, 100, 100), -860);
        assert_eq!(offset(true, -240, 0), -1200);
    }

    #[test]
    fn where_nothing_was_played_nothing_is_known() {
        let mut level = Level::new(48_000);
        level.offset(Instant::from_nanos(0), 0, 960);
        level.late();
        assert_eq!(level.offset(Instant::from_nanos(0) + WINDOW, 0, 960), 0);
    }

    #[test]
    fn jitter_does_not_move_it() {
        assert_eq!(offset(true, 800, 0), 0, "the fastest are about as fast as ever");
        assert_eq!(offset(false, 100, 100), 0, "a shorter delay is welcome");
        assert_eq!(offset(false, 960, 1900), 0, "the excess is small");
    }
}
