//! What playouts are told, and what is read from them.

use audiostreamer_core::playout;

pub use audiostreamer_core::playout::{Latency, Profile};

use crate::server::Server;

/// For the server's card.
pub fn playout_config(server: &Server) -> playout::Config {
    let &Server { card, latency, profile, .. } = server;
    playout::Config { latency, profile, rate: card.rate, channels: card.channels, frames_max: card.callback_frames() }
}

/// Frames that were cut out or put in to move the delay, at the stream's rate.
pub fn stretched_frames(stats: &playout::Stats) -> u64 {
    stats.removed_samples_for_acceleration + stats.inserted_samples_for_deceleration
}
