//! Real time for sources and sinks without a card.
//!
//! The schedule is absolute: frame `n` is due at `anchor + n / rate`, so waking late delays one
//! block and nothing after it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use audiostreamer_core::{Instant, duration_of};

use crate::clock;

/// When each block of a stream is due.
#[derive(Debug)]
pub struct Pace {
    /// Frames per second.
    rate: u32,
    /// How much faster than `rate` the schedule runs.
    faster_ppm: u32,
    /// Being later than this is not made up for.
    burst: Duration,
    /// How many times faster than `rate` blocks may follow each other while they are made up for.
    speed_max: Option<u32>,
    /// When frame 0 was due.
    anchor: Instant,
    /// Frames since `anchor`.
    frames: u64,
    /// When the last block was dealt with, and with `speed_max` the earliest for the next.
    last: Instant,
    earliest: Instant,
}

/// It is time for a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// How long ago the block's first frame was due.
    pub late: Duration,
    /// Time that was given up before it, because this thread did not run.
    pub skipped: Duration,
}

impl Pace {
    /// A schedule of `rate` frames per second whose first frame is due at `now`.
    pub fn new(rate: u32, now: Instant) -> Self {
        Self { rate, faster_ppm: 0, burst: BURST, speed_max: None, anchor: now, frames: 0, last: now, earliest: now }
    }

    /// The same, but `ppm` millionths faster.
    pub fn faster_by(self, ppm: u32) -> Self {
        Self { faster_ppm: ppm, ..self }
    }

    /// The same, but after a stall up to `burst` of sound is caught up with at once.
    pub fn catching_up(self, burst: Duration) -> Self {
        Self { burst, ..self }
    }

    /// The same, but what is caught up with takes its time: never faster than `times` real time.
    pub fn no_faster_than(self, times: u32) -> Self {
        Self { speed_max: Some(times), ..self }
    }

    /// Sleeps until the next frame is due. `None` as soon as `stop` is set and the thread
    /// unparked.
    pub fn wait(&mut self, stop: &AtomicBool) -> Option<Tick> {
        while !stop.load(Ordering::Acquire) {
            let now = clock::now();
            if now >= self.next() {
                return Some(self.tick(now));
            }
            thread::park_timeout(self.next() - now);
        }
        None
    }

    /// Moves on by the `frames` that have just been dealt with.
    pub fn advance(&mut self, frames: usize) {
        self.frames += frames as u64;
        if let Some(times) = self.speed_max {
            self.earliest = self.last + duration_of(frames as u64, self.rate) / times;
        }
    }

    /// Begins anew: the next frame is due at `now`.
    pub fn restart(&mut self, now: Instant) {
        self.anchor = now;
        self.frames = 0;
    }

    fn next(&self) -> Instant {
        self.due().max(self.earliest)
    }

    fn due(&self) -> Instant {
        // In u128 exact for any rate; every moment is counted from the anchor, so that rounding
        // never adds up.
        let nanos = u128::from(self.frames) * 1_000_000_000 * 1_000_000
            / (u128::from(self.rate) * u128::from(1_000_000 + self.faster_ppm));
        self.anchor + Duration::from_nanos(nanos as u64)
    }

    fn tick(&mut self, now: Instant) -> Tick {
        self.last = now;
        let late = now - self.due();
        if late <= self.burst {
            return Tick { late, skipped: Duration::ZERO };
        }
        self.restart(now);
        Tick { late: Duration::ZERO, skipped: late }
    }
}

/// Frames in a block of `wanted` frames, or else of 5 ms: short enough to add little delay, long
/// enough to wake this thread only 200 times a second. Never more than a second.
pub fn period(wanted: Option<usize>, rate: u32) -> usize {
    wanted.unwrap_or(rate as usize / 200).clamp(1, rate as usize)
}

/// What a receiver's buffer takes in its stride.
const BURST: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(7_000_000_000);

    #[test]
    fn an_hour_of_odd_blocks_ends_on_the_nanosecond() {
        let mut pace = Pace::new(44_100, START);
        let blocks = 3600 * 44_100 / 147;
        for _ in 0..blocks {
            pace.advance(147);
        }
        assert_eq!(pace.due(), START + Duration::from_secs(3600));
    }

    #[test]
    fn a_late_block_does_not_delay_the_next() {
        let mut pace = Pace::new(48_000, START);
        let late = Duration::from_millis(3);
        assert_eq!(pace.tick(START + late), Tick { late, skipped: Duration::ZERO });
        pace.advance(240);
        assert_eq!(pace.due(), START + Duration::from_millis(5));
    }

    #[test]
    fn a_short_stall_is_caught_up_with() {
        let mut pace = Pace::new(48_000, START);
        let now = START + Duration::from_millis(50);
        let blocks = (0..).take_while(|_| {
            let due = pace.due() <= now;
            pace.tick(now);
            pace.advance(240);
            due
        });
        assert_eq!(blocks.count(), 11);
    }

    #[test]
    fn a_long_stall_is_skipped_and_told() {
        let mut pace = Pace::new(48_000, START);
        let stall = Duration::from_millis(400);
        let tick = pace.tick(START + stall);
        assert_eq!(tick, Tick { late: Duration::ZERO, skipped: stall });
        pace.advance(240);
        assert_eq!(pace.due(), START + stall + Duration::from_millis(5));
    }

    /// Deals with blocks of 240 frames for so long, as a thread that sleeps exactly: when each was
    /// dealt with, and how late that was.
    fn blocks(pace: &mut Pace, begin: Instant, length: Duration) -> Vec<(Instant, Duration)> {
        let mut now = begin;
        let mut blocks = Vec::new();
        loop {
            now = pace.next().max(now);
            if now > begin + length {
                return blocks;
            }
            let tick = pace.tick(now);
            assert_eq!(tick.skipped, Duration::ZERO);
            pace.advance(240);
            blocks.push((now, tick.late));
        }
    }

    fn sink() -> Pace {
        Pace::new(48_000, START).catching_up(Duration::from_secs(1)).no_faster_than(2)
    }

    #[test]
    fn a_stall_is_made_up_for_at_twice_the_pace() {
        let millis = Duration::from_millis;
        let mut pace = sink();
        let before = blocks(&mut pace, START, millis(99));
        let awake = START + millis(500);
        let after = blocks(&mut pace, awake, millis(600));
        let soon = after.iter().filter(|(at, _)| *at < awake + millis(10)).count();
        assert_eq!(soon, 4, "20 ms of sound are asked for in the first 10 ms");
        let (again, _) = after.iter().find(|(_, late)| late.is_zero()).expect("it is on time again");
        assert_eq!(*again - awake, millis(400), "which takes as long as the stall");
        assert_eq!(before.len() + after.len(), 221, "nothing of 1.1 s is left out");
    }

    #[test]
    fn a_thread_that_wakes_late_now_and_then_keeps_its_pace() {
        let mut pace = sink();
        pace.tick(START + Duration::from_millis(2));
        pace.advance(240);
        assert_eq!(pace.next(), START + Duration::from_millis(5));
    }

    #[test]
    fn more_than_a_second_is_skipped_all_the_same() {
        let mut pace = sink();
        let stall = Duration::from_millis(1001);
        assert_eq!(pace.tick(START + stall), Tick { late: Duration::ZERO, skipped: stall });
    }

    #[test]
    fn a_faster_schedule_gains_200_microseconds_a_second() {
        let mut pace = Pace::new(48_000, START).faster_by(200);
        pace.advance(48_000 * 10_002);
        assert_eq!(pace.due(), START + Duration::from_secs(10_000));
    }

    #[test]
    fn a_stopped_thread_does_not_wait() {
        let mut pace = Pace::new(48_000, clock::now() + Duration::from_secs(1_000));
        assert_eq!(pace.wait(&AtomicBool::new(true)), None);
    }

    #[test]
    fn stopping_wakes_a_waiting_thread() {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| Pace::new(48_000, clock::now() + Duration::from_secs(1_000)).wait(&stop));
            stop.store(true, Ordering::Release);
            waiter.thread().unpark();
            assert_eq!(waiter.join().unwrap(), None);
        });
    }
}
