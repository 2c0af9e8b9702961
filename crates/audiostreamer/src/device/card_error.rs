//! Why a sound card can't be used.

use std::io;

use super::host::{Direction, Host};
use crate::error::plain;

/// Why a device can't be used, in words for the person who asked for it.
#[expect(missing_docs, reason = "the fields are what the messages name")]
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// No device fits what was asked for. Trying again helps once it has been plugged in.
    #[error("there is no {direction} device \"{wanted}\"; {}", choice(available))]
    NotFound {
        wanted: String,
        direction: Direction,
        /// What there is instead, as `id (name)`.
        available: Vec<String>,
    },

    /// A part of a name fits more than one device.
    #[error("\"{wanted}\" is not the name of one {direction} device; {}", choice(candidates))]
    Ambiguous {
        wanted: String,
        direction: Direction,
        /// All that fit, as `id (name)`.
        candidates: Vec<String>,
    },

    /// The sound system that was asked for does not run, or does not let us in.
    #[error("{host} can't be reached: {why}")]
    NoHost { host: Host, why: String },

    /// Nobody said which device, and this machine has none.
    #[error(
        "this machine has no {direction} device: no PulseAudio, PipeWire or JACK server runs, \
        and ALSA has no card; use {}", instead(*direction)
    )]
    NoDefault { direction: Direction },

    /// The device is there but refuses.
    #[error("can't open {name}: {why}")]
    Open { name: String, why: String },

    /// The device opens, but no sound comes from it or goes to it.
    #[error("{name} stands still: it is open, but its sound server or driver moves no sound")]
    Still { name: String },

    /// Something that only looks like a sound card, such as ALSA's `null`.
    #[error(
        "{name} runs much faster than real time, so it is no sound card; use {}",
        instead(*direction)
    )]
    TooFast { name: String, direction: Direction },

    /// The sound system neither opens the device nor refuses.
    #[error("{name} does not answer; is its sound server hanging?")]
    Hangs { name: String },

    /// The system has no thread left.
    #[error("can't start a thread: {}", plain(.0))]
    Thread(io::Error),
}

/// What works on every machine.
fn instead(direction: Direction) -> &'static str {
    match direction {
        Direction::Input => "--input with a file, or --input tone:440",
        Direction::Output => "--output with a file, or --output null",
    }
}

fn choice(devices: &[String]) -> String {
    let shown = devices.len().min(MANY);
    let names = devices[..shown].join(", ");
    match devices.len() - shown {
        0 if shown == 0 => "none was found at all".into(),
        0 => format!("there is {names}"),
        more => format!("there is {names} and {more} more, see `audiostreamer devices`"),
    }
}

/// More than this is no longer read.
const MANY: usize = 6;
