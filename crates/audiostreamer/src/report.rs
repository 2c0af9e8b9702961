//! What the client and the server tell whoever runs them: events as they happen, and a status
//! several times a second. Each has its text as `Display`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use audiostreamer_core::Format;

use crate::device::{Gap, Shape};
use crate::link::{Transport, Via};
use crate::trust::Fingerprint;
use crate::{client, server};

/// One thing told.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Something happened.
    Event(Event),
    /// How the client stands.
    Client(client::Status),
    /// How the server stands.
    Server(server::Status),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum Event {
    /// The server is ready.
    Listening { address: SocketAddr, transports: &'static str },
    /// The local network is told that the server is there, under this name.
    Announced { name: String },
    /// The sink is open (again).
    Playing { name: String, shape: Shape },
    /// The source is open (again).
    Capturing { name: String, shape: Shape },
    /// The source or sink is gone; it is tried again until it is back.
    DeviceLost { name: String, why: String },
    /// Nobody has been there for so long: the sink is closed until somebody comes.
    OutputReleased { idle: Duration },
    /// A sink that was released can't be opened; it is tried again.
    OutputGone { why: String },
    /// Whoever read what is played has closed the pipe, as `head` does.
    OutputClosed,
    /// Some of the sound is missing on our own side.
    Gap(Gap),
    /// The system grants no real-time priority; sound may stutter when the machine is busy.
    NoRealTime,
    /// The client has no server yet, or no longer.
    Waiting { peer: String, why: String },
    /// One of several ways to a server works now, or does not, for that reason.
    Way { peer: String, via: Via, down: Option<String> },
    /// Sound gets through, as far as can be known.
    Streaming { peer: String, transport: Transport, encrypted: bool, format: String },
    /// That server will not be tried again; the sound to the others goes on.
    GivenUp { peer: String, why: String },
    /// What is sent has another format from now on, as its path carries no more, or carries it again.
    Recoded { peers: Vec<String>, format: Format, lossless: bool },
    /// The server's key was seen for the first time, and is kept.
    Met { peer: String, key: Fingerprint },
    /// The server has said that it ends.
    ServerEnded { peer: String },
    /// A server that was heard before says nothing any more.
    ServerSilent { peer: String, silent: Duration },
    /// A new stream has proved to be one, and plays.
    ClientStarted { peer: SocketAddr, transport: Transport, encrypted: bool, format: Format },
    /// A file of a recording was begun; where it is of one stream, whose that is.
    Recording { path: PathBuf, whose: Option<String> },
    /// Opus is recorded as it is sent, and this is none.
    NotRecorded { whose: Option<String>, format: Format },
    /// The disk was too slow: so much is missing in the recording, and only there.
    RecordingMissing { sound: Duration },
    /// Nothing more can be traced; the sound goes on.
    TraceEnded { why: String },
    /// Nothing more can be recorded; the sound goes on.
    RecordingEnded { why: String },
    /// What that server sends back plays.
    Hearing { peer: SocketAddr, format: Format },
    /// It plays no longer.
    HearingEnded { peer: SocketAddr, why: &'static str },
    /// One direction of a conversation has ended for good; the other goes on.
    HalfEnded { half: &'static str, why: String },
    /// Somebody has come with an invite, and is on the list from now on.
    ClientInvited { peer: SocketAddr, name: String, key: Fingerprint },
    /// Somebody is not let in, or no longer.
    ClientRejected { peer: SocketAddr, why: String },
    /// A stream plays no longer.
    ClientEnded { peer: SocketAddr, why: &'static str },
    /// As many streams as may play do so already.
    ClientRefused { peer: SocketAddr, limit: usize },
    /// Summaries.
    Sent(client::Counted),
    /// The summary of a server.
    Played(server::Counted),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Listening { address, transports } => write!(f, "listening on {address} ({transports})"),
            Event::Announced { name } => {
                write!(
                    f,
                    "announced on this network as {name}: its clients need no address (--no-announce says nothing)"
                )
            }
            Event::Playing { name, shape } => write!(f, "playing on {name}, {shape}"),
            Event::Capturing { name, shape } => write!(f, "capturing from {name}, {shape}"),
            Event::DeviceLost { name, why } => write!(f, "{name} is gone: {why}; trying to open it again"),
            Event::OutputReleased { idle } => {
                write!(f, "no client for {} s: the output is closed until one comes", idle.as_secs_f64())
            }
            Event::OutputGone { why } => write!(f, "{why}; trying to open it again"),
            Event::OutputClosed => f.write_str("standard output is closed: nobody reads what is played any more"),
            Event::Gap(gap) => gap.fmt(f),
            Event::NoRealTime => f.write_str(
                "no real-time priority: sound may stutter when the machine is busy; `audiostreamer doctor` says how \
                     to get it",
            ),
            Event::Waiting { peer, why } => write!(f, "waiting for {peer}: {why}"),
            Event::Way { peer, via, down: None } => write!(f, "{via} works, of those to {peer}"),
            Event::Way { peer, via, down: Some(why) } => write!(f, "{via} is down, of those to {peer}: {why}"),
            Event::Streaming { peer, transport, encrypted, format } => {
                write!(f, "streaming to {peer} over {transport}{}: {format}", secrecy(*encrypted))
            }
            Event::Recoded { peers, format, lossless: true } => {
                write!(f, "lossless once more to {}: {format}", peers.join(", "))
            }
            Event::Recoded { peers, format, .. } => {
                write!(f, "the path to {} does not carry lossless sound: {format}", peers.join(", "))
            }
            Event::Met { peer, key } => {
                write!(f, "{peer} is new here: its key {key} is kept, and another one will not be accepted")
            }
            Event::GivenUp { peer, why } => write!(f, "{peer} gets no sound: {why}"),
            Event::ServerEnded { peer } => write!(f, "the server at {peer} has ended; waiting for it to come back"),
            Event::ServerSilent { peer, silent } => {
                write!(f, "no answer from {peer} for {} s; still sending", silent.as_secs())
            }
            Event::ClientStarted { peer, transport, encrypted, format } => {
                write!(f, "client {peer}: {format}, over {transport}{}", secrecy(*encrypted))
            }
            Event::Recording { path, whose: None } => write!(f, "recording into {}", path.display()),
            Event::Recording { path, whose: Some(whose) } => write!(f, "recording {whose} into {}", path.display()),
            Event::NotRecorded { whose, format } => {
                let whose = whose.as_deref().unwrap_or("what is sent");
                write!(f, "{whose} is {format} and not recorded: .opus keeps Opus, .wav and .flac keep everything")
            }
            Event::RecordingMissing { sound } => {
                write!(f, "{} ms are missing in the recording: its disk is too slow", sound.as_millis())
            }
            Event::TraceEnded { why } => write!(f, "the trace has ended: {why}"),
            Event::RecordingEnded { why } => write!(f, "the recording has ended: {why}"),
            Event::ClientInvited { peer, name, key } => {
                write!(f, "client {peer} came with the invite {name}; its key {key} is on the list from now on")
            }
            Event::ClientRejected { peer, why } => write!(f, "client {peer} is not let in: {why}"),
            Event::Hearing { peer, format } => write!(f, "hearing {peer}: {format}"),
            Event::HearingEnded { peer, why } => write!(f, "{peer} {why}: it is not heard any more"),
            Event::HalfEnded { half, why } => write!(f, "{half} from now on: {why}"),
            Event::ClientEnded { peer, why } => write!(f, "client {peer} {why}"),
            Event::ClientRefused { peer, limit } => {
                write!(f, "client {peer} is not played: {limit} play already (--max-clients)")
            }
            Event::Sent(counted) => {
                counted.fmt(f)?;
                card_lost(counted.xruns, f)
            }
            Event::Played(counted) => played(counted, f),
        }
    }
}

fn secrecy(encrypted: bool) -> &'static str {
    if encrypted { ", encrypted" } else { "" }
}

fn played(counted: &server::Counted, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let server::Counted { duration, clients, packets_received, packets_lost, refusals, .. } = counted;
    write!(f, "played {} in {:.1} s", Count(*clients, "client"), duration.as_secs_f64())?;
    write!(f, ", {packets_received} packets, {packets_lost} lost, {} refused", refusals.all_packets())?;
    write!(f, ", {} concealed", Milliseconds(counted.concealed))?;
    if refusals.all_connections() > 0 {
        write!(f, ", {} refused", Count(refusals.all_connections(), "connection"))?;
    }
    card_lost(counted.xruns, f)
}

/// What most never see needs a word more than its name.
fn card_lost(xruns: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match xruns {
        0 => Ok(()),
        _ => write!(f, ", {} of the sound card", Count(xruns, "xrun")),
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { rate, channels, period } = self;
        write!(f, "{rate} Hz, {}, {period} frames", Count((*channels).into(), "channel"))
    }
}

/// So many of something: `1 client`, `2 clients`.
pub struct Count(pub u64, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, what) = self;
        write!(f, "{count} {what}{}", if *count == 1 { "" } else { "s" })
    }
}

/// A duration as `12.3 ms`.
pub struct Milliseconds(pub Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3)
    }
}

/// A peak level, full scale 1.0, as a bar of 10 and a number: `[######....]  -21 dBFS`.
pub struct Meter(pub f32);

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decibels = 20.0 * self.0.max(1e-6).log10();
        // 6 dB a step: from -60 dBFS to full scale.
        let filled = ((decibels + 60.0) / 6.0).ceil().clamp(0.0, 10.0) as usize;
        write!(f, "[{}{}]", "#".repeat(filled), ".".repeat(10 - filled))?;
        match self.0 > 1e-5 {
            true => write!(f, " {decibels:4.0} dBFS"),
            false => f.write_str("   silent "),
        }
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub fn host_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_shows_what_is_heard() {
        assert_eq!(Meter(1.0).to_string(), "[##########]    0 dBFS");
        assert_eq!(Meter(0.25).to_string(), "[########..]  -12 dBFS");
        assert_eq!(Meter(0.0).to_string(), "[..........]   silent ");
    }

    #[test]
    fn xruns_are_told_where_there_were_some() {
        let to = |peer: &str| client::Sent { peer: peer.into(), stats: Default::default(), packets_dropped: 0 };
        let sent = |xruns| {
            let destinations = vec![to("studio:5004")];
            Event::Sent(client::Counted { xruns, destinations, ..Default::default() }).to_string()
        };
        assert_eq!(sent(0), "sent 0.0 s in 0 packets, 0 lost on the way");
        assert_eq!(sent(1), "sent 0.0 s in 0 packets, 0 lost on the way, 1 xrun of the sound card");
        let played = |xruns| Event::Played(server::Counted { xruns, ..Default::default() }).to_string();
        assert!(played(0).ends_with("concealed"), "{}", played(0));
        assert!(played(3).ends_with(", 3 xruns of the sound card"), "{}", played(3));
    }

    #[test]
    fn an_ipv6_peer_is_bracketed() {
        assert_eq!(host_port("::1", 5004), "[::1]:5004");
        assert_eq!(host_port("studio.local", 5004), "studio.local:5004");
    }
}
