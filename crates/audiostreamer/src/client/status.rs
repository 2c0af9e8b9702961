//! What a client shows of itself while it runs.

use std::fmt;
use std::time::Duration;

use audiostreamer_core::{Format, sender};

use crate::link::Transport;
use crate::report::{Count, Meter, Milliseconds};
use crate::volume::Volume;

/// A snapshot, several times a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Where the link stands.
    pub state: State,
    /// The server, as it was named.
    pub peer: String,
    /// How the packets travel at the moment, `None` while there is no link.
    pub transport: Option<Transport>,
    /// Whether others on the way can't listen.
    pub encrypted: bool,
    /// What is sent, `None` until the source is open.
    pub format: Option<Format>,
    /// How loud it is sent.
    pub volume: Volume,
    /// The loudest sample since the last snapshot, full scale 1.0.
    pub peak: f32,
    /// What the stream has sent, and what the server says of it.
    pub stats: sender::Stats,
    /// Packets that the socket had no room for.
    pub packets_dropped: u64,
    /// How often the sound card has lost sound.
    pub xruns: u64,
    /// From the card to the wire: capture, waiting for a full frame, resampling and look-ahead.
    pub send_delay: Duration,
}

/// Where the link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No link, or nothing captured yet.
    Waiting,
    /// Packets go out; nothing has come back.
    Sending,
    /// The server reports that it hears us.
    Heard,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Waiting => "waiting",
            State::Sending => "sending, no answer",
            State::Heard => "streaming",
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { state, peak, stats, packets_dropped, xruns, send_delay, .. } = self;
        write!(f, "{} {state}  {} packets", Meter(*peak), stats.packets_sent)?;
        if *packets_dropped > 0 {
            write!(f, ", {packets_dropped} not sent")?;
        }
        write!(f, ", {} lost", stats.packets_lost)?;
        if *xruns > 0 {
            write!(f, ", {}", Count(*xruns, "xrun"))?;
        }
        write!(f, "  send delay {}", Milliseconds(*send_delay))?;
        match stats.round_trip_time {
            Some(trip) => write!(f, "  round trip {}", Milliseconds(trip)),
            None => Ok(()),
        }
    }
}
