//! What all sinks without a card share: sound that is asked for in real time.

use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::clock;

use super::pace::Pace;
use super::{Render, Shape};

/// Renders block after block at its time and gives each to `write`, with the time that had to be
/// skipped before it, until `stop` is set or `write` breaks.
///
/// There is no card whose time is lost while this machine stands still: so after a stall the
/// frames of that time are rendered, too, and nothing is missing in a recording.
pub fn run(
    shape: &Shape,
    mut render: Render,
    stop: &AtomicBool,
    mut write: impl FnMut(&[f32], Duration) -> ControlFlow<()>,
) {
    let mut block = vec![0.0; shape.period * usize::from(shape.channels)];
    let mut pace = Pace::new(shape.rate, clock::now()).catching_up(STALL_MAX).no_faster_than(CATCH_UP_SPEED);
    while let Some(tick) = pace.wait(stop) {
        render(&mut block, Duration::ZERO);
        if write(&block, tick.skipped).is_break() {
            break;
        }
        pace.advance(shape.period);
    }
}

/// What comes after a longer stall, or after the machine was suspended, is the present at once.
const STALL_MAX: Duration = Duration::from_secs(1);

/// Who brings the sound has stood still as well, and still has to fetch it from a socket: what was
/// asked for at once would be concealed before it is there.
const CATCH_UP_SPEED: u32 = 2;
