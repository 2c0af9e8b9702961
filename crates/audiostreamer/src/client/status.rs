//! What a client shows of itself while it runs.

use std::fmt;
use std::time::Duration;

use audiostreamer_core::sender;

use crate::report::{Count, Meter, Milliseconds};

/// A snapshot, several times a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Where the link stands.
    pub state: State,
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

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { state, peak, stats, packets_dropped, xruns, send_delay } = self;
        let state = match state {
            State::Waiting => "waiting",
            State::Sending => "sending, no answer",
            State::Heard => "streaming",
        };
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
