//! A sine: the source that needs no hardware.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use crate::clock;

use super::file_error::FileError;
use super::pace::Pace;
use super::running::Running;
use super::{Capture, Gap, Notice, Shape, Wanted};

/// Plays a sine of `hz` at -12 dBFS on every channel, at 48 kHz stereo unless `wanted` otherwise.
pub fn start(
    hz: f64,
    wanted: Wanted,
    mut make: impl FnMut(&Shape) -> Capture + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, FileError> {
    let shape = wanted.shape();
    let tone = Tone::new(hz, shape.rate)?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = thread::Builder::new()
        .name("tone".into())
        .spawn(move || {
            let capture = make(&shape);
            notify(Notice::Opened { name: format!("tone:{hz}"), shape });
            play(tone, &shape, capture, notify, &stopped);
        })
        .map_err(FileError::Thread)?;
    Ok(Running::new(stop, vec![thread]))
}

fn play(mut tone: Tone, shape: &Shape, mut capture: Capture, notify: impl Fn(Notice), stop: &AtomicBool) {
    let mut block = vec![0.0; shape.period * usize::from(shape.channels)];
    let mut pace = Pace::new(shape.rate, clock::now());
    while let Some(tick) = pace.wait(stop) {
        Gap::stalled(tick.skipped, &notify);
        tone.fill(&mut block, shape.channels.into());
        capture(&block, tick.late);
        pace.advance(shape.period);
    }
}

/// An endless sine.
#[derive(Debug)]
struct Tone {
    /// Radians, below a full turn so that it never loses precision.
    phase: f64,
    /// Radians per frame.
    step: f64,
}

impl Tone {
    fn new(hz: f64, rate: u32) -> Result<Self, FileError> {
        match (1.0..f64::from(rate) / 2.0).contains(&hz) {
            true => Ok(Self { phase: 0.0, step: TAU * hz / f64::from(rate) }),
            false => Err(FileError::Tone { hz, rate }),
        }
    }

    fn fill(&mut self, block: &mut [f32], channels: usize) {
        for frame in block.chunks_exact_mut(channels) {
            frame.fill((AMPLITUDE * self.phase.sin()) as f32);
            self.phase = (self.phase + self.step) % TAU;
        }
    }
}

/// -12 dBFS: clearly heard, not startling.
const AMPLITUDE: f64 = 0.251_188_643;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_join_without_a_step() {
        let mut pieces = Tone::new(440.0, 44_100).unwrap();
        let mut whole = Tone::new(440.0, 44_100).unwrap();
        let (mut a, mut b) = (vec![0.0; 3000], vec![0.0; 3000]);
        a.chunks_mut(7 * 2).for_each(|block| pieces.fill(block, 2));
        whole.fill(&mut b, 2);
        assert_eq!(a, b);
    }

    #[test]
    fn every_channel_has_the_sine_at_minus_12_decibels() {
        let mut block = vec![0.0; 48_000 * 3];
        Tone::new(1000.0, 48_000).unwrap().fill(&mut block, 3);
        for (n, frame) in block.chunks_exact(3).enumerate() {
            let expected = AMPLITUDE * (TAU * (n % 48) as f64 / 48.0).sin();
            for sample in frame {
                assert!((f64::from(*sample) - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_tone_that_can_not_be_heard_is_refused() {
        for hz in [0.0, -440.0, 24_000.0, f64::NAN] {
            assert!(matches!(Tone::new(hz, 48_000), Err(FileError::Tone { .. })), "{hz}");
        }
    }
}
