//! What playouts are told, and what is read from them: the one place that knows how far playout has
//! come.

use std::time::Duration;

use audiostreamer_core::playout;

use crate::server::Server;

/// How long playout waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    Auto,
    Fixed(Duration),
}

/// What delay is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    Live,
    Talk,
    Listen,
    Hifi,
}

impl Profile {
    pub const ALL: [Profile; 4] = [Profile::Live, Profile::Talk, Profile::Listen, Profile::Hifi];

    /// Milliseconds of delay that one event per minute less is worth.
    pub fn lambda(self) -> f64 {
        match self {
            Profile::Live => 0.3,
            Profile::Talk => 2.0,
            Profile::Listen => 10.0,
            Profile::Hifi => 30.0,
        }
    }
}

/// What a server's playouts are told. Today's have one fixed delay, and no profile.
pub fn playout_config(server: &Server) -> playout::Config {
    let card = server.card;
    let latency = match (server.latency, server.profile) {
        (Latency::Fixed(latency), _) => latency,
        (Latency::Auto, _) => Duration::from_millis(20),
    };
    playout::Config { latency, rate: card.rate, channels: card.channels, frames_max: card.callback_frames() }
}

/// Frames that were cut out or put in to move the delay, at the stream's rate. Today nothing is
/// put in.
pub fn stretched_frames(stats: &playout::Stats) -> u64 {
    stats.removed_samples_for_acceleration
}
