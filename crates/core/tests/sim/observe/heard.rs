//! All that was heard of one microphone, and the figures of it.

/// A stretch without sound between two with, or a jump from one to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap {
    /// When it began, in seconds.
    pub at: f64,
    /// How long it was, in frames of the speaker.
    pub frames: u64,
    /// How far the microphone's time went on meanwhile, in its frames: as many as `frames` when
    /// the timeline stood, more when something was skipped, less when it was put off.
    pub passed: f64,
}

/// A crossfade from one place to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Splice {
    /// When it began, in seconds.
    pub at: f64,
    /// How long both were heard, in frames of the speaker.
    pub frames: u64,
    /// How far it went, in frames of the microphone: positive when something was cut out,
    /// negative when something was repeated.
    pub lag: f64,
}

/// The delay of a short stretch of sound.
#[derive(Clone, Copy, Debug)]
struct Measured {
    at: f64,
    millis: f64,
    frames: u64,
}

/// How far the pitch of a short stretch of sound was from that of the microphone's air.
#[derive(Clone, Copy, Debug)]
struct Pitch {
    at: f64,
    cents: f64,
}

/// Where a stretch of sound begins whose pitch is to be measured, in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    heard: f64,
    said: f64,
}

/// All that was heard so far. Times are in seconds, frames are the speaker's.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub sound_frames: u64,
    pub silent_frames: u64,
    pub faded_frames: u64,
    /// Sound that is not newer than what was heard before, but for what a splice repeats.
    pub repeated_frames: u64,
    /// When the first sound was heard.
    pub first: Option<f64>,
    /// When the last sound was heard.
    pub last: f64,
    /// What is missing or clicks.
    pub gaps: Vec<Gap>,
    /// What was cut out or repeated without a click.
    pub splices: Vec<Splice>,
    /// Where the last sound was, and where the newest, in frames of the microphone.
    pub(super) position: f64,
    pub(super) newest: f64,
    pub(super) since_sound: u64,
    /// Frames of sound since the last measurement.
    unmeasured: u64,
    delays: Vec<Measured>,
    anchor: Option<Anchor>,
    pitches: Vec<Pitch>,
}

/// A delay is noted down this often, in frames; after an hour a tenth as often, so that a day
/// finds room.
const MEASURE: u64 = 480;
const MEASURE_LATER: u64 = 4_800;
const LATER: f64 = 3_600.0;

/// Pitch is measured over this many nanoseconds.
const PITCH_NANOS: f64 = 50e6;

/// A factor of 1 + x is so many cents times x, for small x.
const CENTS: f64 = 1_731.234;

/// Gaps that are closer together are one event: a slot of 20 ms either is good or is not.
const EVENT_SECONDS: f64 = 0.02;

impl Heard {
    /// The delay from mouth to ear that so much of the sound had at the most, in milliseconds;
    /// `share` from 0 to 1.
    pub fn delay(&self, share: f64) -> f64 {
        self.delay_from(0.0, share)
    }

    /// As [`delay`](Self::delay), of what was heard after `second`.
    pub fn delay_from(&self, second: f64, share: f64) -> f64 {
        self.delay_between(second, f64::INFINITY, share)
    }

    /// As [`delay`](Self::delay), of what was heard from one second to another.
    pub fn delay_between(&self, from: f64, to: f64, share: f64) -> f64 {
        let mut delays: Vec<&Measured> = self.delays.iter().filter(|delay| (from..to).contains(&delay.at)).collect();
        delays.sort_by(|a, b| a.millis.total_cmp(&b.millis));
        let all: u64 = delays.iter().map(|delay| delay.frames).sum();
        let mut left = (all as f64 * share) as u64;
        for delay in &delays {
            match left.checked_sub(delay.frames) {
                Some(rest) if rest > 0 => left = rest,
                _ => return delay.millis,
            }
        }
        panic!("nothing was heard after second {from}");
    }

    /// The mean delay of what was heard after `second`, in milliseconds.
    pub fn mean_delay_from(&self, second: f64) -> f64 {
        let delays = self.delays.iter().filter(|delay| delay.at >= second);
        let (sum, frames) = delays.fold((0.0, 0.0), |(sum, frames), delay| {
            (sum + delay.millis * delay.frames as f64, frames + delay.frames as f64)
        });
        sum / frames
    }

    /// Gaps that began after `second`.
    pub fn gaps_from(&self, second: f64) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(move |gap| gap.at >= second)
    }

    /// Frames in the longest gap.
    pub fn longest_gap(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.frames).max().unwrap_or(0)
    }

    /// How many times something was missing after `second`; gaps within 20 ms are one.
    pub fn events_from(&self, second: f64, rate: u32) -> usize {
        let mut clear = f64::NEG_INFINITY;
        let mut events = 0;
        for gap in self.gaps_from(second) {
            events += usize::from(gap.at >= clear);
            clear = gap.at + gap.frames as f64 / f64::from(rate) + EVENT_SECONDS;
        }
        events
    }

    /// How far the pitch was off in stretches of 50 ms without gaps and splices after `second`: at
    /// most, and root mean square, in cents.
    pub fn pitch_from(&self, second: f64) -> (f64, f64) {
        let pitches = self.pitches.iter().filter(|pitch| pitch.at >= second).map(|pitch| pitch.cents);
        let (max, squares, count) = pitches.fold((0.0f64, 0.0, 0.0), |(max, squares, count), cents| {
            (max.max(cents.abs()), squares + cents * cents, count + 1.0)
        });
        (max, (squares / f64::max(count, 1.0)).sqrt())
    }

    /// Seconds from the first sound until the delay is where it stays: for a second, within 1 ms
    /// or a tenth of the median of the last third.
    pub fn settled(&self) -> Option<f64> {
        let first = self.first?;
        let goal = self.delay_from(self.last - (self.last - first) / 3.0, 0.5);
        let near = |delay: &Measured| (delay.millis - goal).abs() <= f64::max(1.0, goal / 10.0);
        let mut since = None;
        for delay in &self.delays {
            match (near(delay), since) {
                (true, Some(since)) if delay.at - since >= 1.0 => return Some(since - first),
                (true, Some(_)) => {}
                (true, None) => since = Some(delay.at),
                (false, _) => since = None,
            }
        }
        None
    }

    /// Seconds from `second` until the delay is, and stays for `span` seconds, within `millis` of
    /// `goal`.
    pub fn returns(&self, second: f64, span: f64, goal: f64, millis: f64) -> Option<f64> {
        let mut since = None;
        for delay in self.delays.iter().filter(|delay| delay.at >= second) {
            let near = (delay.millis - goal).abs() <= millis;
            match since {
                Some(since) if near && delay.at - since >= span => return Some(since - second),
                _ => since = if near { since.or(Some(delay.at)) } else { None },
            }
        }
        None
    }

    pub(super) fn begin(&mut self, now: f64) {
        self.first = Some(now);
        self.newest = f64::NEG_INFINITY;
        self.since_sound = 0;
    }

    pub(super) fn gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
        self.interrupt();
    }

    pub(super) fn splice(&mut self, splice: Splice) {
        self.splices.push(splice);
        // What it repeats is meant to be repeated.
        self.newest = f64::NEG_INFINITY;
        self.interrupt();
    }

    pub(super) fn sound(&mut self, position: f64) {
        self.sound_frames += 1;
        self.unmeasured += 1;
        self.since_sound = 0;
        if position <= self.newest {
            self.repeated_frames += 1;
        }
        self.newest = self.newest.max(position);
        self.position = position;
    }

    pub(super) fn silent(&mut self) {
        self.silent_frames += 1;
        self.since_sound += 1;
    }

    pub(super) fn faded(&mut self, frames: u64) {
        self.faded_frames += frames;
        self.since_sound += frames;
    }

    /// At the end of a block, at `now`, what was said at `said` is heard, in nanoseconds.
    pub(super) fn measure(&mut self, now: f64, said: f64) {
        self.last = now * 1e-9;
        self.measure_pitch(now, said);
        let interval = if self.last < LATER { MEASURE } else { MEASURE_LATER };
        if self.unmeasured >= interval || self.delays.is_empty() {
            let frames = std::mem::take(&mut self.unmeasured);
            self.delays.push(Measured { at: self.last, millis: (now - said) * 1e-6, frames });
        }
    }

    fn measure_pitch(&mut self, now: f64, said: f64) {
        let Some(anchor) = self.anchor else {
            self.anchor = Some(Anchor { heard: now, said });
            return;
        };
        if now - anchor.heard >= PITCH_NANOS {
            let cents = ((said - anchor.said) / (now - anchor.heard) - 1.0) * CENTS;
            self.pitches.push(Pitch { at: now * 1e-9, cents });
            self.anchor = Some(Anchor { heard: now, said });
        }
    }

    fn interrupt(&mut self) {
        self.anchor = None;
        self.since_sound = 0;
    }
}
