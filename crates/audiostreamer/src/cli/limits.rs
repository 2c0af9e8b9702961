//! The hidden options of the server for what strangers may cost.

use std::time::Duration;

use clap::Args;

use super::values;
use crate::server;

/// What strangers may cost; for those who have measured.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Handshakes at the same time
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().handshakes)]
    pub max_handshakes: usize,
    /// Of these, from one address
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().handshakes_per_address)]
    pub max_handshakes_per_address: usize,
    /// How long one may take
    #[arg(long, hide = true, value_name = "TIME", default_value = "5s", value_parser = values::duration)]
    pub handshake_time: Duration,
    /// Bytes that are read or kept before somebody is let in
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().handshake_bytes)]
    pub handshake_bytes: usize,
    /// New connections of one address in a second
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().per_second)]
    pub connections_per_second: u32,
    /// New connections of one address at once
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().burst)]
    pub connections_at_once: u32,
    /// Open connections
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().connections)]
    pub max_connections: usize,
    /// Of these, those of one client
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().connections_per_client)]
    pub max_connections_per_client: usize,
    /// Streams of one client
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().streams_per_client)]
    pub max_streams_per_client: usize,
    /// Streams that have yet to prove that they are some
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().unproved_streams)]
    pub max_unproved_streams: usize,
    /// Addresses whose rate is remembered
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().addresses)]
    pub max_addresses: usize,
    /// Answers in a second to those who speak plain RTP to an encrypted server
    #[arg(long, hide = true, value_name = "N", default_value_t = server::Limits::default().answers_per_second)]
    pub answers_per_second: u32,
}

impl LimitArgs {
    /// As the server takes them.
    pub fn limits(&self) -> server::Limits {
        server::Limits {
            handshakes: self.max_handshakes,
            handshakes_per_address: self.max_handshakes_per_address,
            per_second: self.connections_per_second,
            burst: self.connections_at_once,
            handshake_time: self.handshake_time,
            handshake_bytes: self.handshake_bytes,
            connections: self.max_connections,
            connections_per_client: self.max_connections_per_client,
            streams_per_client: self.max_streams_per_client,
            unproved_streams: self.max_unproved_streams,
            addresses: self.max_addresses,
            answers_per_second: self.answers_per_second,
        }
    }
}
