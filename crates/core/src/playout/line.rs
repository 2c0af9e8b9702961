//! How one clock runs in terms of another, through jitter.

/// Follows the moments of a steady count, such as the frames of a sender as they arrive, or those
/// that a card asks for.
///
/// Jitter is one-sided: nothing comes before its time. So only the earliest of each short window
/// counts, and the line runs along the lower edge of what is seen. A Kalman filter follows its
/// offset and its slope: it locks as fast as the scatter allows and then becomes quiet. A window
/// that is far off does not bend it: nothing but delayed packets, or, when that stays so, another
/// path: then the line steps and keeps its slope. Where nothing has been near it for long, at whatever
/// height, it is the line that is wrong, and it begins anew.
///
/// Counts are in frames, times in seconds, both since an origin that the caller keeps.
pub(super) struct Line {
    /// Seconds per count, nominally.
    interval: f64,
    /// How long all windows must be too late, and lie at one height, before the line steps.
    patience: f64,
    fit: Option<Fit>,
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    /// It belongs to a window that goes on, or to one that was all too late.
    Noted,
    /// It closed a window that lies on the line.
    OnLine,
    /// It showed that the line now runs so many seconds later (earlier if negative).
    Stepped(f64),
}

struct Fit {
    /// How long after its nominal time a count comes, at the time `at`.
    offset: f64,
    /// How fast that grows, in seconds per second.
    skew: f64,
    at: f64,
    /// How sure both are: the filter's covariance.
    sure: Sure,
    /// How many windows have been followed, and how many more are short and taken as they are.
    windows: u32,
    locking: u32,
    /// Where the present window began, and the least that anything in it was off the line.
    since: f64,
    least: f64,
    /// How far the windows lie off the line, and how far they scatter around that: a clock that has changed its
    /// pace is off all the time, and the less they scatter, the sooner that is seen.
    bias: f64,
    scatter: f64,
    /// Windows in a row that were all on the same side of it, further away than that explains.
    bent: i32,
    off: Option<Off>,
    /// Since when no window has been on the line.
    astray: Option<f64>,
}

/// Windows in a row that lie far off the line, on one side and at one height.
struct Off {
    windows: u32,
    since: f64,
    least: f64,
    most: f64,
}

/// Variances of the offset and the skew, and what they have in common.
struct Sure {
    offset: f64,
    both: f64,
    skew: f64,
}

/// The first windows are short, to lock at once.
const WINDOW: f64 = 0.2;
const WINDOW_FIRST: f64 = 0.1;
const WINDOWS_FIRST: u32 = 20;

/// Crystals are off by so much, and their pace wanders by so much within a second.
const SKEW_USUAL: f64 = 200e-6;
const SKEW_WANDERS: f64 = 0.2e-6;

/// What windows scatter by, at the least and, before anything is known, in seconds.
const SCATTER_MIN: f64 = 10e-6;
const SCATTER_FIRST: f64 = 300e-6;

/// A window is off the line when it is further away than this and four times the usual scatter.
const GATE: f64 = 2e-3;

/// Earlier than ever is no jitter: there three windows do.
const EARLIER_WINDOWS: u32 = 3;

/// What has been off for so many windows steps along when another line does.
const PENDING_WINDOWS: u32 = 2;

/// So many times the patience without a window on the line, and nothing is left of it: the clock runs
/// at another pace, or stops and goes. A queue that fills and drains comes back sooner than that.
const ASTRAY: f64 = 6.0;

/// An error that is no more than this beyond the scatter is no news.
const USUAL: f64 = 5e-6;

/// So many windows in a row on one side, and the slope has changed: nothing is sure about it.
const BENT_WINDOWS: i32 = 3;

/// So many times what is usual is more than the scatter explains: the offset may have changed, too.
const STEP: f64 = 3.0;

/// No crystal is that bad, but a card that is none, on a machine that has no time for it, becomes so. What is more
/// the resampler can't follow.
const SKEW_MAX: f64 = 15e-3;

impl Line {
    /// Of a clock of that rate, which has lost time when all that it counts was too late for
    /// `patience` seconds.
    pub fn new(rate: u32, patience: f64) -> Self {
        Self { interval: 1.0 / f64::from(rate), patience, fit: None }
    }

    /// Forgets everything.
    pub fn restart(&mut self) {
        self.fit = None;
    }

    /// Takes note that `count` came at `time`.
    pub fn observe(&mut self, count: f64, time: f64) -> Seen {
        let offset = time - count * self.interval;
        let Some(fit) = &mut self.fit else {
            self.fit = Some(Fit::new(offset, time));
            return Seen::OnLine;
        };
        let error = offset - fit.offset_at(time);
        if fit.windows == 0 && error < 0.0 {
            // A stream may begin in the middle of a backlog.
            fit.offset += error;
        }
        fit.least = fit.least.min(offset - fit.offset_at(time));
        let window = if fit.locking > 0 { WINDOW_FIRST } else { WINDOW };
        if time - fit.since < window { Seen::Noted } else { fit.close(time, self.patience) }
    }

    /// Moves it so many seconds later.
    pub fn step(&mut self, later: f64) {
        if let Some(fit) = &mut self.fit {
            fit.offset += later;
            fit.least -= later;
            fit.off = None;
        }
    }

    /// Steps now where it has been off and would step soon: another line has. Returns how much later
    /// it runs then.
    pub fn step_along(&mut self) -> f64 {
        let pending = self.fit.as_ref().and_then(|fit| fit.off.as_ref());
        let later = pending.filter(|off| off.windows >= PENDING_WINDOWS).map_or(0.0, |off| off.least);
        if later != 0.0 {
            self.step(later);
        }
        later
    }

    /// How far an observation would be above the line, in seconds; `None` before the first.
    pub fn above(&self, count: f64, time: f64) -> Option<f64> {
        self.fit.as_ref().map(|fit| time - count * self.interval - fit.offset_at(time))
    }

    /// When `count` comes, if nothing delays it.
    pub fn time_of(&self, count: f64) -> Option<f64> {
        let fit = self.fit.as_ref()?;
        let nominal = count * self.interval;
        Some(nominal + fit.offset_at(nominal + fit.offset))
    }

    /// What comes at `time`, if nothing delays it.
    pub fn count_at(&self, time: f64) -> Option<f64> {
        self.fit.as_ref().map(|fit| (time - fit.offset_at(time)) / self.interval)
    }

    /// How much more slowly than nominal the counted clock runs: 1e-6 is one ppm.
    pub fn skew(&self) -> f64 {
        self.fit.as_ref().map_or(0.0, |fit| fit.skew)
    }
}

impl Fit {
    fn new(offset: f64, time: f64) -> Self {
        let sure = Sure { offset: SCATTER_FIRST.powi(2), both: 0.0, skew: SKEW_USUAL.powi(2) };
        let (least, scatter) = (f64::INFINITY, SCATTER_FIRST);
        Self {
            offset,
            skew: 0.0,
            at: time,
            sure,
            windows: 0,
            locking: WINDOWS_FIRST,
            since: time,
            least,
            bias: 0.0,
            scatter,
            bent: 0,
            off: None,
            astray: None,
        }
    }

    fn offset_at(&self, time: f64) -> f64 {
        self.offset + self.skew * (time - self.at)
    }

    fn close(&mut self, time: f64, patience: f64) -> Seen {
        let span = time - self.at;
        let error = std::mem::replace(&mut self.least, f64::INFINITY);
        self.offset = self.offset_at(time);
        (self.at, self.since) = (time, time);
        let gate = GATE + 4.0 * self.scatter;
        if error.abs() <= gate {
            (self.off, self.astray) = (None, None);
            self.follow(error, span);
            return Seen::OnLine;
        }
        if time - *self.astray.get_or_insert(time) >= ASTRAY * patience {
            *self = Self::new(self.offset + error, time);
            return Seen::Stepped(error);
        }
        match self.set_off(error, gate, patience) {
            None => Seen::Noted,
            Some(step) => {
                self.offset += step;
                self.off = None;
                Seen::Stepped(step)
            }
        }
    }

    fn follow(&mut self, error: f64, span: f64) {
        self.windows += 1;
        if self.windows == 1 {
            return; // the offset is that of the least already
        }
        let usual = USUAL + 3.0 * self.scatter;
        let share = f64::max(0.05, 1.0 / f64::from(self.windows));
        self.scatter += share * ((error - self.bias).abs().min(usual) - self.scatter);
        self.bias += share * (error - self.bias);
        self.watch_bend(error, usual);
        self.locking = self.locking.saturating_sub(1);
        self.correct(if self.locking > 0 { error } else { error.clamp(-usual, usual) }, span);
    }

    /// The slope itself may change, as when a card warms up or is replaced by another: lock anew. Or
    /// the card has lost a little time: far off as that is, it would throw the line about if it were
    /// taken for slope.
    fn watch_bend(&mut self, error: f64, usual: f64) {
        self.bent = match error.abs() > usual {
            true if error.signum() as i32 == self.bent.signum() => self.bent + self.bent.signum(),
            true => error.signum() as i32,
            false => 0,
        };
        if self.bent.abs() >= BENT_WINDOWS {
            self.bent = 0;
            self.locking = WINDOWS_FIRST;
            self.sure.skew = SKEW_USUAL.powi(2);
            if error.abs() > STEP * usual {
                (self.sure.offset, self.sure.both) = (error.powi(2), 0.0);
            }
        }
    }

    /// One step of a Kalman filter whose state is offset and skew, of which the offset is seen.
    fn correct(&mut self, error: f64, span: f64) {
        let sure = &mut self.sure;
        sure.offset += span * (2.0 * sure.both + span * sure.skew);
        sure.both += span * sure.skew;
        sure.skew += span * SKEW_WANDERS.powi(2);
        let seen = sure.offset + (1.25 * self.scatter).max(SCATTER_MIN).powi(2);
        let (offset_gain, skew_gain) = (sure.offset / seen, sure.both / seen);
        sure.offset *= 1.0 - offset_gain;
        sure.skew -= skew_gain * sure.both;
        sure.both *= 1.0 - offset_gain;
        self.offset += offset_gain * error;
        self.skew = (self.skew + skew_gain * error).clamp(-SKEW_MAX, SKEW_MAX);
    }

    /// Notes a window off the line; returns the step when there have been enough.
    fn set_off(&mut self, error: f64, gate: f64, patience: f64) -> Option<f64> {
        let off = self.off.take().filter(|off| {
            let (least, most) = (off.least.min(error), off.most.max(error));
            off.least.signum() == error.signum() && most - least <= gate
        });
        let off = match off {
            None => Off { windows: 1, since: self.at, least: error, most: error },
            Some(off) => {
                Off { windows: off.windows + 1, least: off.least.min(error), most: off.most.max(error), ..off }
            }
        };
        let enough = if error > 0.0 { self.at - off.since >= patience } else { off.windows >= EARLIER_WINDOWS };
        let step = enough.then_some(off.least);
        self.off = Some(off);
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets of 5 ms from a clock that is `ppm` slow, through `jitter(n)` seconds.
    fn follow(line: &mut Line, packets: std::ops::Range<u32>, ppm: f64, jitter: impl Fn(u32) -> f64) -> Vec<Seen> {
        let time = |n: u32| f64::from(n) * 0.005 * (1.0 + ppm * 1e-6);
        packets.map(|n| line.observe(f64::from(n) * 240.0, time(n) + jitter(n))).collect()
    }

    /// Somewhat like an exponential distribution with that mean.
    fn exponential(n: u32, mean: f64) -> f64 {
        let unit = (f64::from(n.wrapping_mul(2_654_435_761) >> 8) + 0.5) / f64::from(1 << 24);
        -unit.ln() * mean
    }

    #[test]
    fn it_locks_within_five_seconds_and_stays_quiet() {
        let mut line = Line::new(48_000, 2.0);
        follow(&mut line, 0..1000, 300.0, |n| exponential(n, 50e-6));
        let error = |line: &Line, n: f64| line.time_of(n * 240.0).unwrap() - n * 0.005 * 1.0003;
        assert!(error(&line, 1000.0).abs() < 10e-6, "{}", error(&line, 1000.0));
        follow(&mut line, 1000..12_000, 300.0, |n| exponential(n, 50e-6));
        assert!((line.skew() - 300e-6).abs() < 1e-6, "{}", line.skew());
        assert!(error(&line, 12_000.0).abs() < 5e-6);
    }

    #[test]
    fn another_slope_is_followed_within_five_seconds() {
        let mut line = Line::new(48_000, 2.0);
        follow(&mut line, 0..24_000, 0.0, |n| exponential(n, 50e-6));
        let bend = |n: u32| (f64::from(n) - 24_000.0) * 0.005 * 300e-6;
        follow(&mut line, 24_000..25_000, 0.0, |n| bend(n) + exponential(n, 50e-6));
        let error = line.time_of(25_000.0 * 240.0).unwrap() - 125.0 - bend(25_000);
        assert!(error.abs() < 10e-6, "{error}");
    }

    /// As a card that warms up, or is none on a machine that becomes busy: never so fast that it shows at once.
    #[test]
    fn a_pace_that_changes_gradually_is_followed_and_not_taken_for_scatter() {
        for (ppm_per_second, jitter) in [(0.3, 50e-6), (3.0, 0.2e-3), (3.0, 1e-3), (30.0, 1e-3), (-60.0, 3e-3)] {
            let mut line = Line::new(48_000, 0.5);
            follow(&mut line, 0..24_000, 0.0, |n| exponential(n, jitter));
            let bend = |n: u32| {
                let time = (f64::from(n) - 24_000.0) * 0.005;
                let changing = time.min(60.0);
                ppm_per_second * 1e-6 * (changing * changing / 2.0 + changing * (time - changing))
            };
            let error =
                |line: &Line, n: u32| line.time_of(f64::from(n) * 240.0).unwrap() - f64::from(n) * 0.005 - bend(n);
            for n in (24_000..48_000).step_by(200) {
                follow(&mut line, n..n + 200, 0.0, |n| bend(n) + exponential(n, jitter));
                let error = error(&line, n + 200);
                assert!(error.abs() < 4e-3, "{ppm_per_second} ppm/s: {error} s off at {n}");
            }
            assert!(error(&line, 48_000).abs() < 0.2e-3, "{}", error(&line, 48_000));
            assert!((line.skew() * 1e6 - ppm_per_second * 60.0).abs() < 15.0, "{}", line.skew());
        }
    }

    #[test]
    fn a_card_that_loses_a_millisecond_is_followed_at_once_and_keeps_its_slope() {
        let mut line = Line::new(48_000, 2.0);
        follow(&mut line, 0..4000, 50.0, |n| exponential(n, 20e-6));
        for n in 4000..5000 {
            follow(&mut line, n..n + 1, 50.0, |n| 1e-3 + exponential(n, 20e-6));
            assert!((line.skew() - 50e-6).abs() < 100e-6, "{n}: {}", line.skew());
        }
        let error = line.time_of(5000.0 * 240.0).unwrap() - 25.0 * (1.0 + 50e-6) - 1e-3;
        assert!(error.abs() < 10e-6, "{error}");
    }

    #[test]
    fn jitter_of_milliseconds_moves_it_by_little() {
        let mut line = Line::new(48_000, 2.0);
        follow(&mut line, 0..12_000, -100.0, |n| exponential(n, 5e-3));
        assert!((line.skew() + 100e-6).abs() < 25e-6, "{}", line.skew());
    }

    #[test]
    fn a_stall_bends_nothing_and_a_longer_path_is_a_step() {
        let mut line = Line::new(48_000, 2.0);
        follow(&mut line, 0..4000, 50.0, |n| exponential(n, 50e-6));
        let skew = line.skew();
        let seen = follow(&mut line, 4000..4200, 50.0, |n| f64::from(4200 - n) * 0.005);
        assert!(seen.iter().all(|seen| !matches!(seen, Seen::Stepped(_))));
        assert!((line.skew() - skew).abs() < 2e-6, "{}", line.skew());
        let seen = follow(&mut line, 4200..5000, 50.0, |n| 0.04 + exponential(n, 50e-6));
        let step = seen.iter().position(|seen| matches!(seen, Seen::Stepped(step) if (step - 0.04).abs() < 1e-3));
        assert!((400..500).contains(&step.expect("a step")), "{step:?}");
        assert!((line.skew() - skew).abs() < 5e-6);
        let seen = follow(&mut line, 5000..5400, 50.0, |n| exponential(n, 50e-6));
        let step = seen.iter().position(|seen| matches!(seen, Seen::Stepped(step) if (step + 0.04).abs() < 1e-3));
        assert!(step.expect("a step back") < 200);
    }

    #[test]
    fn what_has_been_off_steps_along_with_another_line() {
        let mut line = Line::new(48_000, 2.0);
        follow(&mut line, 0..4000, 50.0, |n| exponential(n, 50e-6));
        assert_eq!(line.step_along(), 0.0);
        follow(&mut line, 4000..4120, 50.0, |n| 8e-3 + exponential(n, 50e-6));
        let later = line.step_along();
        assert!((later - 8e-3).abs() < 100e-6, "{later}");
        let seen = follow(&mut line, 4120..4200, 50.0, |n| 8e-3 + exponential(n, 50e-6));
        assert!(seen.contains(&Seen::OnLine) && !seen.iter().any(|seen| matches!(seen, Seen::Stepped(_))));
    }

    #[test]
    fn a_clock_that_stops_and_goes_is_found_again_when_it_runs() {
        let mut line = Line::new(48_000, 0.5);
        follow(&mut line, 0..2000, 0.0, |_| 0.0);
        // A third of its pace: never late by the same twice.
        follow(&mut line, 2000..4000, 0.0, |n| f64::from(n - 2000) * 0.010);
        let late = |n: u32| 20.0 + exponential(n, 50e-6);
        follow(&mut line, 4000..5600, 0.0, late);
        let error = line.time_of(5600.0 * 240.0).unwrap() - 28.0 - 20.0;
        assert!(error.abs() < 100e-6, "{error}");
    }

    #[test]
    fn a_queue_that_fills_is_no_longer_path() {
        let mut line = Line::new(48_000, 2.0);
        follow(&mut line, 0..2000, 0.0, |_| 0.0);
        let triangle = |n: u32| 0.2 * (1.0 - (f64::from(n % 2000) / 1000.0 - 1.0).abs());
        let seen = follow(&mut line, 2000..12_000, 0.0, triangle);
        assert!(seen.iter().all(|seen| !matches!(seen, Seen::Stepped(_))));
        assert!(line.skew().abs() < 500e-6, "{}", line.skew());
    }
}
