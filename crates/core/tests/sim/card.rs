//! Virtual sound cards: a crystal that is off by some ppm and a driver with manners of its own.

use std::time::Duration;

use audiostreamer_core::Instant;

use crate::rng::Rng;

/// What a card is like.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// Frames per second as it says.
    pub rate: u32,
    pub channels: u16,
    /// How much faster than that its crystal really runs, in millionths.
    ppm: f64,
    /// Frames between two wake-ups of the driver.
    period: usize,
    /// The most frames in one callback; a period that is longer is handed over in pieces.
    crumb: usize,
    /// A callback comes up to so much after its moment.
    lateness: Duration,
}

impl Card {
    /// A good one: 48 kHz, periods of 128 frames, exact and on time.
    pub fn new(channels: u16) -> Self {
        Self { rate: 48_000, channels, ppm: 0.0, period: 128, crumb: usize::MAX, lateness: Duration::ZERO }
    }

    pub fn rate(self, rate: u32) -> Self {
        Self { rate, ..self }
    }

    pub fn ppm(self, ppm: f64) -> Self {
        Self { ppm, ..self }
    }

    pub fn period(self, period: usize) -> Self {
        Self { period, ..self }
    }

    /// As PulseAudio captures (24 frames), or as its ALSA plug-in plays (two thirds of a period).
    pub fn crumbs(self, crumb: usize) -> Self {
        Self { crumb, ..self }
    }

    /// Callbacks are late by anything up to `lateness`, which must be less than a period.
    pub fn late(self, lateness: Duration) -> Self {
        Self { lateness, ..self }
    }

    /// The most frames in one callback, as long as the period stays.
    pub fn callback_frames(&self) -> usize {
        self.period.min(self.crumb)
    }

    /// A card that captures, opened somewhere within a period from now.
    pub fn capture(self, now: Instant, rng: Rng) -> Running {
        Running::new(self, Direction::Capture, now, rng)
    }

    /// A card that plays, opened likewise.
    pub fn playback(self, now: Instant, rng: Rng) -> Running {
        Running::new(self, Direction::Playback, now, rng)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// A period is handed over when its last frame has been heard.
    Capture,
    /// A period is asked for when the one before it begins to be played.
    Playback,
}

/// What one callback brings or asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The card's number of its first frame, counted from its opening.
    pub first: u64,
    pub frames: usize,
}

/// A card that is open.
pub struct Running {
    pub card: Card,
    pub clock: Clock,
    direction: Direction,
    rng: Rng,
    /// The first frame of the next block.
    next: u64,
    /// What this wake-up has still to hand over.
    left: usize,
    due: Instant,
}

impl Running {
    fn new(card: Card, direction: Direction, now: Instant, mut rng: Rng) -> Self {
        let mut clock = Clock::new(now, f64::from(card.rate) * (1.0 + card.ppm * 1e-6));
        clock.start_nanos += rng.unit() * card.period as f64 * clock.frame_nanos;
        if direction == Direction::Playback {
            clock.output_frames = card.period as f64;
        }
        let mut running = Self { card, clock, direction, rng, next: 0, left: card.period, due: now };
        running.schedule();
        running
    }

    /// The next callback, if it is time for one.
    pub fn poll_block(&mut self, now: Instant) -> Option<Block> {
        if now < self.due {
            return None;
        }
        let block = Block { first: self.next, frames: self.left.min(self.card.crumb) };
        self.next += block.frames as u64;
        self.left -= block.frames;
        if self.left == 0 {
            self.left = self.card.period;
            self.schedule();
        }
        Some(block)
    }

    pub fn poll_timeout(&self) -> Instant {
        self.due
    }

    /// Changes the period from the next wake-up on, as JACK does without notice.
    pub fn set_period(&mut self, period: usize) {
        self.card.period = period;
        if self.direction == Direction::Playback {
            // A card with two periods of memory; its size never shrinks while it is open.
            self.clock.output_frames = self.clock.output_frames.max(period as f64);
        }
    }

    /// Its crystal is off by so much from now on, as after warming up.
    pub fn set_ppm(&mut self, now: Instant, ppm: f64) {
        self.clock.turn(now, f64::from(self.card.rate) * (1.0 + ppm * 1e-6));
    }

    /// Is not served for so many frames: a capture loses what is said meanwhile, a playback plays
    /// nothing and goes on where it was.
    pub fn lose(&mut self, now: Instant, frames: u64) {
        match self.direction {
            Direction::Capture => self.next += frames,
            Direction::Playback => self.clock.put_off(now, frames),
        }
        self.schedule();
    }

    /// How long from `now` the card plays the first frame of `block`.
    pub fn output_delay(&self, now: Instant, block: Block) -> Duration {
        let nanos = self.clock.heard_nanos(block.first as f64) - now.as_nanos() as f64;
        Duration::from_nanos(nanos.max(0.0) as u64)
    }

    fn schedule(&mut self) {
        let whole = match self.direction {
            Direction::Capture => self.left as u64,
            Direction::Playback => 0,
        };
        let nominal = self.clock.turn_nanos((self.next + whole) as f64);
        let late = self.rng.unit() * self.card.lateness.as_nanos() as f64;
        self.due = self.due.max(Instant::from_nanos((nominal + late) as u64));
    }
}

/// When which frame passes between the card and the air. Nanoseconds of true time as floats: they
/// hold a day to a hundredth of a nanosecond.
///
/// Knows of the last change only: what was before an earlier one is told wrongly.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start_nanos: f64,
    frame_nanos: f64,
    /// How long after its turn to be asked for a frame is played.
    output_frames: f64,
    /// The first frame since the last change, and start and length of those before it.
    since: f64,
    before: (f64, f64),
}

impl Clock {
    pub fn new(start: Instant, rate: f64) -> Self {
        let (start_nanos, frame_nanos) = (start.as_nanos() as f64, 1e9 / rate);
        let before = (start_nanos, frame_nanos);
        Self { start_nanos, frame_nanos, output_frames: 0.0, since: f64::NEG_INFINITY, before }
    }

    /// The moment that a frame is in the air, in nanoseconds.
    pub fn heard_nanos(&self, frame: f64) -> f64 {
        let turn = frame + self.output_frames;
        if turn >= self.since {
            self.turn_nanos(turn)
        } else {
            let (start_nanos, frame_nanos) = self.before;
            start_nanos + turn * frame_nanos
        }
    }

    /// The frame that is in the air at a moment.
    pub fn frame_at(&self, nanos: f64) -> f64 {
        let turn = (nanos - self.start_nanos) / self.frame_nanos;
        let (start_nanos, frame_nanos) = self.before;
        let turn = if turn >= self.since { turn } else { (nanos - start_nanos) / frame_nanos };
        turn - self.output_frames
    }

    /// When a frame's turn is, in nanoseconds.
    fn turn_nanos(&self, frame: f64) -> f64 {
        self.start_nanos + frame * self.frame_nanos
    }

    /// Runs at another rate from the next frame on.
    fn turn(&mut self, now: Instant, rate: f64) {
        let turn = self.remember(now);
        let nanos = self.turn_nanos(turn);
        self.frame_nanos = 1e9 / rate;
        self.start_nanos = nanos - turn * self.frame_nanos;
    }

    /// Stands still for so many frames before the next one.
    fn put_off(&mut self, now: Instant, frames: u64) {
        self.remember(now);
        self.start_nanos += frames as f64 * self.frame_nanos;
    }

    fn remember(&mut self, now: Instant) -> f64 {
        self.before = (self.start_nanos, self.frame_nanos);
        self.since = ((now.as_nanos() as f64 - self.start_nanos) / self.frame_nanos).ceil();
        self.since
    }
}
