//! What a client shows of itself while it runs, and what it has counted at the end.

use std::fmt;
use std::time::Duration;

use audiostreamer_core::{Format, sender};

use crate::link::Transport;
use crate::report::{Count, Meter, Milliseconds};
use crate::server;
use crate::volume::Volume;

/// A snapshot, several times a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// What is sent, `None` until the source is open.
    pub format: Option<Format>,
    /// How loud it is sent.
    pub volume: Volume,
    /// The loudest sample since the last snapshot, full scale 1.0.
    pub peak: f32,
    /// How often the sound card has lost sound.
    pub xruns: u64,
    /// From the card to the wire: capture, waiting for a full frame, resampling and look-ahead.
    pub send_delay: Duration,
    /// How each of those stands that are not given up, in the order of the configuration.
    pub destinations: Vec<FeedStatus>,
    /// What comes back, where that was asked for.
    pub talkback: Option<Box<server::Status>>,
}

/// How one destination stands.
#[derive(Clone, Debug, PartialEq)]
pub struct FeedStatus {
    /// Where the link stands.
    pub state: State,
    /// The server, as it was named.
    pub peer: String,
    /// How the packets travel at the moment, `None` while there is no link.
    pub transport: Option<Transport>,
    /// Whether others on the way can't listen.
    pub encrypted: bool,
    /// What the stream has sent, and what the server says of it.
    pub stats: sender::Stats,
    /// Packets that the socket had no room for.
    pub packets_dropped: u64,
    /// What the sound is coded in at the moment, bits per second without headers.
    pub target_bps: f64,
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

/// What was sent in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// From the first packet to the last.
    pub duration: Duration,
    /// Captured frames that were lost before they could be sent.
    pub frames_lost: u64,
    /// How often the sound card has lost sound.
    pub xruns: u64,
    /// To whom: first those that were given up, then the others in the order of the configuration.
    pub destinations: Vec<Sent>,
}

/// What was sent to one destination.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The server, as it was named.
    pub peer: String,
    /// Of the last stream; a source that changed its shape began a new one.
    pub stats: sender::Stats,
    /// Packets that the socket had no room for.
    pub packets_dropped: u64,
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
        write!(f, "{}", Meter(self.peak))?;
        match &*self.destinations {
            [one] => write!(f, " {one}")?,
            several => several.iter().try_for_each(|feed| write!(f, "  {}: {feed}", feed.peer))?,
        }
        if self.xruns > 0 {
            write!(f, "  {}", Count(self.xruns, "xrun"))?;
        }
        write!(f, "  send delay {}", Milliseconds(self.send_delay))?;
        match &self.talkback {
            Some(talkback) => write!(f, "  hears {talkback}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FeedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, stats, packets_dropped, .. } = self;
        write!(f, "{state}, {} packets", stats.packets_sent)?;
        if *packets_dropped > 0 {
            write!(f, ", {packets_dropped} not sent")?;
        }
        write!(f, ", {} lost", stats.packets_lost)?;
        if let Some(trip) = stats.round_trip_time {
            write!(f, ", round trip {}", Milliseconds(trip))?;
        }
        match stats.budget_bps {
            Some(budget) => write!(f, ", the path carries {:.0} kb/s", budget / 1e3),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {:.1} s", self.duration.as_secs_f64())?;
        match &*self.destinations {
            [one] => write!(f, " in {one}")?,
            several => several.iter().try_for_each(|sent| write!(f, "; to {} in {sent}", sent.peer))?,
        }
        match self.frames_lost {
            0 => Ok(()),
            lost => write!(f, ", {lost} frames lost before they could be sent"),
        }
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} packets, {} lost on the way", self.stats.packets_sent, self.stats.packets_lost)?;
        match self.packets_dropped {
            0 => Ok(()),
            dropped => write!(f, ", {dropped} not sent because the connection was too slow"),
        }
    }
}
