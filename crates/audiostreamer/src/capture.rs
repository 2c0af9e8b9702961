//! From the capture callback to the send thread.
//!
//! **The creed of the callback: [`Tap::handle`] never allocates, frees, locks, logs or waits.**
//! It copies the block into a ring that was sized when the device was opened, and wakes the send
//! thread (one futex call at the most). When the ring is full, because the send thread has not
//! run for 200 ms, the newest block is dropped and counted, and the timeline says so. It also says
//! for how long a card that has missed its time heard nothing: or what is said afterwards would be
//! taken for late by so much.

use std::thread::Thread;
use std::time::Duration;

use audiostreamer_core::{Instant, duration_of, frames_in};
use rtrb::{Consumer, Producer, RingBuffer};

use crate::device::{Shape, Xruns};

/// What the ring holds at the most.
const RING: Duration = Duration::from_millis(200);

/// Blocks in the ring: at 24 frames each (the smallest crumbs that PulseAudio gives) and 48 kHz
/// they are 0.5 s.
const BLOCKS: usize = 1024;

/// After an overrun so much time without sound is a hole in it. What is shorter the playout takes for
/// jitter, and a server of both cards may have lost it for both.
const HOLE: Duration = Duration::from_millis(20);

/// One callback's worth of captured frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Its length; a callback may bring any number.
    pub frames: usize,
    /// Frames that were lost before this block, because the ring was full or the card missed its time.
    pub lost_frames: u64,
    /// When its first frame was heard by the card.
    pub captured: Instant,
}

/// The callback's end.
pub struct Tap {
    channels: usize,
    rate: u32,
    samples: Producer<f32>,
    blocks: Producer<Block>,
    lost_frames: u64,
    /// Of the card, and how many there were at the last block.
    xruns: Xruns,
    xruns_before: u64,
    /// When the frame after the last block is heard.
    next: Option<Instant>,
    wake: Thread,
    /// Frames that are worth waking the thread for.
    wake_frames: usize,
    /// Frames since then, less those that it was woken for.
    frames: usize,
}

/// The send thread's end.
pub struct Captured {
    /// Of the device that the blocks come from.
    pub shape: Shape,
    samples: Consumer<f32>,
    blocks: Consumer<Block>,
    block: Vec<f32>,
}

/// Both ends for a device of that shape; the thread is woken whenever another `wake_frames` have
/// come. The card adds to `xruns` where it misses its time.
pub fn tap(shape: Shape, xruns: Xruns, wake: Thread, wake_frames: usize) -> (Tap, Captured) {
    let channels = usize::from(shape.channels);
    let frames = (frames_in(RING, shape.rate) as usize).max(2 * shape.period);
    let (samples_in, samples) = RingBuffer::new(frames * channels);
    let (blocks_in, blocks) = RingBuffer::new(BLOCKS);
    let tap = Tap {
        channels,
        rate: shape.rate,
        samples: samples_in,
        blocks: blocks_in,
        lost_frames: 0,
        xruns_before: xruns.count(),
        xruns,
        next: None,
        wake,
        wake_frames,
        frames: 0,
    };
    (tap, Captured { shape, samples, blocks, block: Vec::with_capacity(frames * channels) })
}

impl Tap {
    /// Takes a block of interleaved samples; `heard` is when their first one is heard.
    pub fn handle(&mut self, heard: Instant, samples: &[f32]) {
        let frames = samples.len() / self.channels;
        let whole = &samples[..frames * self.channels];
        self.lost_frames += self.hole_before(heard);
        self.next = Some(heard + duration_of(frames as u64, self.rate));
        if self.blocks.is_full() || self.samples.push_entire_slice(whole).is_err() {
            self.lost_frames += frames as u64;
        } else {
            let block = Block { frames, lost_frames: self.lost_frames, captured: heard };
            let _ = self.blocks.push(block); // there is room
            self.lost_frames = 0;
        }
        if self.is_worth_waking(frames) {
            self.wake.unpark();
        }
    }

    /// Frames that the card has lost since the last block.
    fn hole_before(&mut self, heard: Instant) -> u64 {
        let xruns = self.xruns.count();
        let had_xrun = xruns != std::mem::replace(&mut self.xruns_before, xruns);
        let quiet = self.next.map_or(Duration::ZERO, |next| heard - next);
        if had_xrun && quiet >= HOLE { frames_in(quiet, self.rate) } else { 0 }
    }

    fn is_worth_waking(&mut self, frames: usize) -> bool {
        self.frames += frames;
        let is_worth = self.frames >= self.wake_frames;
        if is_worth {
            self.frames %= self.wake_frames.max(1);
        }
        is_worth
    }
}

impl Captured {
    /// The next block with its samples, interleaved.
    pub fn next_block(&mut self) -> Option<(Block, &[f32])> {
        let block = self.blocks.pop().ok()?;
        self.block.resize(block.frames * usize::from(self.shape.channels), 0.0);
        // The samples are pushed before their block, so they are here.
        self.samples.pop_entire_slice(&mut self.block).ok()?;
        Some((block, &self.block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { rate: 48_000, channels: 2, period: 128 };

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn blocks_come_out_as_they_went_in() {
        let (mut tap, mut captured) = tap(SHAPE, Xruns::default(), std::thread::current(), 1);
        tap.handle(at(7), &[0.1, 0.2, 0.3, 0.4]);
        let (block, samples) = captured.next_block().unwrap();
        assert_eq!(block, Block { frames: 2, lost_frames: 0, captured: at(7) });
        assert_eq!(samples, [0.1, 0.2, 0.3, 0.4]);
        assert!(captured.next_block().is_none());
    }

    #[test]
    fn the_thread_is_woken_for_whole_frames_only() {
        let (mut tap, _captured) = tap(SHAPE, Xruns::default(), std::thread::current(), 480);
        let woken: Vec<bool> = (0..8).map(|_| tap.is_worth_waking(128)).collect();
        assert_eq!(woken, [false, false, false, true, false, false, false, true]);
    }

    #[test]
    fn a_hole_after_an_overrun_is_lost_and_a_late_block_is_not() {
        let xruns = Xruns::default();
        let (mut tap, mut captured) = tap(SHAPE, xruns.clone(), std::thread::current(), 1);
        let mut lost = |at_millis, overrun: bool| {
            if overrun {
                xruns.add();
            }
            tap.handle(at(at_millis), &[0.0; 2 * 480]);
            captured.next_block().unwrap().0.lost_frames
        };
        assert_eq!([lost(0, false), lost(10, false), lost(70, false)], [0, 0, 0], "a card that wakes late");
        assert_eq!([lost(90, true), lost(250, true), lost(260, false)], [0, 150 * 48, 0]);
    }

    #[test]
    fn a_full_ring_drops_the_newest_and_says_how_much() {
        let (mut tap, mut captured) = tap(SHAPE, Xruns::default(), std::thread::current(), 1);
        for _ in 0..12 {
            tap.handle(at(0), &[0.0; 2 * 960]);
        }
        let kept = std::iter::from_fn(|| captured.next_block().map(drop)).count();
        assert_eq!(kept, 10, "200 ms");
        tap.handle(at(0), &[0.0; 2 * 960]);
        assert_eq!(captured.next_block().unwrap().0.lost_frames, 2 * 960);
    }
}
