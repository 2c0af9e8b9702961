//! A level as a needle shows it: up at once, down slowly, with the loudest held for a while.

use std::time::Duration;

use audiostreamer_core::Instant;
use audiostreamer_core::fader::decibels;

/// How fast the needle falls, in dB per second: as that of a studio's peak meter (IEC 60268-18).
const FALL: f32 = 20.0;

/// How long the loudest is held before it falls, too.
const HOLD: Duration = Duration::from_secs(2);

/// How long clipping is shown.
const CLIP: Duration = Duration::from_secs(3);

/// What is as good as silence, in dBFS.
pub const FLOOR: f32 = -60.0;

/// One meter.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    level: f32,
    hold: f32,
    held_since: Instant,
    clipped: Option<Instant>,
    last: Instant,
}

impl Meter {
    /// One that shows silence.
    pub fn new(now: Instant) -> Self {
        Self { level: FLOOR, hold: FLOOR, held_since: now, clipped: None, last: now }
    }

    /// Takes the loudest sample since the last call, full scale 1.0.
    pub fn handle_peak(&mut self, now: Instant, peak: f32) {
        let fall = FALL * (now - self.last).as_secs_f32();
        self.last = now;
        let level = decibels(peak).max(FLOOR);
        self.level = level.max(self.level - fall);
        if level >= self.hold {
            (self.hold, self.held_since) = (level, now);
        } else if now - self.held_since > HOLD {
            self.hold = (self.hold - fall).max(self.level);
        }
        if peak >= 1.0 {
            self.clipped = Some(now);
        }
    }

    /// In dBFS.
    pub fn level(&self) -> f32 {
        self.level
    }

    /// The loudest of the last seconds, in dBFS.
    pub fn hold(&self) -> f32 {
        self.hold
    }

    /// Whether full scale was reached a moment ago.
    pub fn is_clipping(&self) -> bool {
        self.clipped.is_some_and(|clipped| self.last - clipped < CLIP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_falls_slowly_and_holds_the_loudest() {
        let at = |tenth: u64| Instant::from_nanos(tenth * 100_000_000);
        let mut meter = Meter::new(at(0));
        meter.handle_peak(at(1), 1.0);
        assert!(meter.level() == 0.0 && meter.is_clipping());
        for tenth in 2..=11 {
            meter.handle_peak(at(tenth), 0.0);
        }
        assert!((meter.level() + 20.0).abs() < 0.1, "{}", meter.level());
        assert!(meter.hold() == 0.0 && meter.is_clipping());
        for tenth in 12..=100 {
            meter.handle_peak(at(tenth), 0.0);
        }
        assert!(meter.level() == FLOOR && meter.hold() == FLOOR && !meter.is_clipping());
    }
}
