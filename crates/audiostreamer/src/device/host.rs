//! The sound systems that cards are reached through.

use std::fmt;

use serde::Serialize;

/// A sound system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Host {
    /// PulseAudio, or PipeWire in its place: they speak the same protocol.
    Pulse,
    /// JACK, or PipeWire in its place.
    Jack,
    /// The kernel's drivers and whatever is configured on top of them.
    Alsa,
}

impl Host {
    /// In the order in which a name is looked up and devices are listed.
    pub const ALL: [Host; 3] = [Host::Pulse, Host::Jack, Host::Alsa];

    /// What stands before the colon where a user names a device, as in `pulse:NAME`.
    pub const fn prefix(self) -> &'static str {
        match self {
            Host::Pulse => "pulse",
            Host::Jack => "jack",
            Host::Alsa => "alsa",
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Host::Pulse => "PulseAudio",
            Host::Jack => "JACK",
            Host::Alsa => "ALSA",
        })
    }
}

/// Whether sound comes in or goes out, seen from this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// It captures.
    Input,
    /// It plays.
    Output,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Input => "input",
            Direction::Output => "output",
        })
    }
}
