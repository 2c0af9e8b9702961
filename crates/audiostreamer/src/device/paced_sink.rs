//! What all sinks without a card share: sound that is asked for in real time.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::clock;

use super::pace::Pace;
use super::{Render, Shape};

/// Renders block after block at its time and gives each to `write`, with the time that had to be
/// skipped before it, until `stop` is set or `write` breaks.
pub fn run(
    shape: &Shape,
    mut render: Render,
    stop: &AtomicBool,
    mut write: impl FnMut(&[f32], Duration) -> ControlFlow<()>,
) {
    let mut block = vec![0.0; shape.period * usize::from(shape.channels)];
    let mut pace = Pace::new(shape.rate, clock::now());
    while let Some(tick) = pace.wait(stop) {
        render(&mut block, Duration::ZERO);
        if write(&block, tick.skipped).is_break() {
            break;
        }
        pace.advance(shape.period);
    }
}
