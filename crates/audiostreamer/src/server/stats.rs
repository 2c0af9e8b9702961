//! What a server shows of itself while it runs, and in the end.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::{Budget, Format, mixer, playout, receiver};

use super::admission::Refusals;
use super::control::StreamId;
use super::stream::Stream;
use crate::client;
use crate::device::Shape;
use crate::link::Transport;
use crate::report::{Count, Meter, Milliseconds};
use crate::volume::Volume;

/// A snapshot, several times a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Of the sum, `None` while there is no card.
    pub levels: Option<mixer::Levels>,
    /// Of the card, `None` while there is none.
    pub shape: Option<Shape>,
    /// The playout delay of the streams, as it is wanted.
    pub latency: Latency,
    /// What an automatic one is for.
    pub profile: Profile,
    /// How often the card has played silence for want of sound.
    pub xruns: u64,
    /// The clients that play.
    pub streams: Vec<StreamStatus>,
    /// What was turned away, since the start.
    pub refusals: Refusals,
    /// What is sent back, where that was asked for.
    pub talkback: Option<Box<client::Status>>,
}

/// One client.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamStatus {
    /// What commands call it.
    pub id: StreamId,
    /// Where its packets come from.
    pub peer: SocketAddr,
    /// How they come.
    pub transport: Transport,
    /// Whether others on the way can't listen.
    pub encrypted: bool,
    /// What they carry.
    pub format: Format,
    /// How loud it is played.
    pub volume: Volume,
    /// The loudest sample since the last snapshot, before its volume.
    pub peak: f32,
    /// Of the network side, since the start.
    pub received: receiver::Stats,
    /// Of the present run.
    pub playout: playout::Stats,
    /// Sound made up for what was missing, since the start.
    pub concealed: Duration,
}

impl StreamStatus {
    /// The latency by stage, as last measured.
    pub fn budget(&self, levels: &mixer::Levels) -> Budget {
        Budget::new(&self.received, &self.playout, levels.output_delay)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(levels) = &self.levels else { return f.write_str("no output device is open") };
        write!(f, "{}", Meter(levels.peak))?;
        if let Some(talkback) = &self.talkback {
            write!(f, " {} back to {}", Meter(talkback.peak), talkback.destinations.len())?;
        }
        if self.xruns > 0 {
            write!(f, " {}", Count(self.xruns, "xrun"))?;
        }
        if self.streams.is_empty() {
            f.write_str(" waiting for a client")?;
        }
        for (index, stream) in self.streams.iter().enumerate() {
            if index == 2 {
                return write!(f, "  and {} more", self.streams.len() - 2);
            }
            let StreamStatus { peer, received, playout, concealed, .. } = stream;
            let state = if playout.playing { "playing" } else { "silent" };
            // What matters most comes first: a narrow terminal cuts the rest off.
            let budget = stream.budget(levels);
            write!(f, "  {peer} {state}  latency {}", Milliseconds(budget.sum()))?;
            write!(f, ", of it jitter buffer {}", Milliseconds(budget.jitter_buffer))?;
            write!(f, "  {} lost, {} concealed", received.packets_lost, Milliseconds(*concealed))?;
            write!(f, "  {} packets", received.packets_received)?;
        }
        let refused = self.refusals.all_connections();
        if refused > 0 {
            write!(f, "  {} refused", Count(refused, "connection"))?;
        }
        Ok(())
    }
}

/// What was played in all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// From start to end of the server.
    pub duration: Duration,
    /// Streams that have played.
    pub clients: u64,
    /// Packets of all streams that could be played.
    pub packets_received: u64,
    /// Packets of all streams that never came.
    pub packets_lost: u64,
    /// What was turned away.
    pub refusals: Refusals,
    /// Sound made up for what was missing.
    pub concealed: Duration,
    /// How often the sound card has played silence for want of sound.
    pub xruns: u64,
}

impl Counted {
    pub(super) fn add(&mut self, stream: &Stream) {
        let received = stream.received();
        self.clients += u64::from(stream.is_proved());
        self.packets_received += received.packets_received;
        self.packets_lost += received.packets_lost;
        self.concealed += stream.concealed();
    }
}
