//! What a server is told to do.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::{Format, PayloadTypes};

use super::Limits;
use crate::client;
use crate::device::{SinkSpec, Wanted};
use crate::recording;
use crate::trust::{Gate, Identity};

/// What a server does.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address and port of both protocols; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether UDP is listened to.
    pub udp: bool,
    /// Whether TCP is listened to.
    pub tcp: bool,
    /// Where it is played.
    pub sink: SinkSpec,
    /// Where a copy of what is played, or comes, is kept.
    pub record: Option<recording::Config>,
    /// Where what arrives, and becomes of it, is written for [replay](audiostreamer_core::replay).
    pub trace: Option<PathBuf>,
    /// What the sink is asked for.
    pub wanted: Wanted,
    /// After so long without a client the sink is closed, until one comes. For sound cards: a file that is
    /// opened again begins anew.
    pub idle_release: Option<Duration>,
    /// Who is told what is played, so that its echo can be taken out of what is captured meanwhile.
    pub played: Option<client::Played>,
    /// The playout delay of each stream: from a packet's arrival to its being asked for.
    pub latency: Latency,
    /// What delay and sound are worth to the listener.
    pub profile: Profile,
    /// How loud each stream begins, in dB; 0 leaves it as it is.
    pub gain: f32,
    /// Streams that play at the same time; more are refused.
    pub clients_max: usize,
    /// RTP, or bare PCM.
    pub wire: WireFormat,
    /// How clients are recognised; `None` plays whatever comes in the clear. Bare PCM always does.
    pub encryption: Option<Encryption>,
    /// Whether the local network is told that it is there; only one that encrypts is announced.
    pub announce: bool,
    /// What is sent back to clients that ask for it, which are its destinations; `None` sends nothing.
    pub duplex: Option<Box<client::Config>>,
    /// What strangers may cost.
    pub limits: Limits,
}

/// What a server needs that only plays whom it knows.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// The key by which clients know it.
    pub identity: Identity,
    /// Who may play.
    pub gate: Gate,
}

/// What is expected on the wire.
#[derive(Clone, Debug)]
pub enum WireFormat {
    /// RTP with these payload types.
    Rtp(Box<PayloadTypes>),
    /// Bare PCM of this format.
    Raw(Format),
}
