//! One object that says how a server or a client stands.
//!
//! The names are those of W3C webrtc-stats where it has one; durations are in seconds, counters run
//! from the start of the stream (those of the playout from the start of its present run). Fields may
//! be added; what is taken away or changes its meaning changes [`SCHEMA`].

use std::time::Duration;

use audiostreamer_core::playout::Latency;
use audiostreamer_core::{Budget, Format, mixer};
use serde::Serialize;

use crate::{client, server};

/// The version of all this.
pub const SCHEMA: &str = "audiostreamer-stats/2";

/// How one side stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are what docs/statistics.md says of them")]
pub struct Snapshot {
    pub schema: &'static str,
    /// Seconds since 1970.
    pub timestamp: f64,
    #[serde(flatten)]
    pub side: Side,
}

/// Which side.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "side", rename_all = "camelCase")]
#[expect(missing_docs, reason = "the variants are what they are called")]
pub enum Side {
    Server(Server),
    Client(Client),
}

/// A server.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are what docs/statistics.md says of them")]
pub struct Server {
    pub output: Option<Output>,
    pub xruns: u64,
    pub profile: String,
    /// `null` where it finds itself.
    pub wanted_delay: Option<f64>,
    pub connections_refused: u64,
    pub refused: server::Refusals,
    pub streams: Vec<Stream>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub talkback: Option<Box<Side>>,
}

/// Its card.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are what docs/statistics.md says of them")]
pub struct Output {
    pub rate: u32,
    pub channels: u16,
    pub period: usize,
    pub peak: f32,
    pub clipped_samples: u64,
    pub limiter_gain: f32,
}

/// A stream that it plays.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are what docs/statistics.md says of them")]
pub struct Stream {
    pub id: u64,
    pub peer: String,
    pub transport: String,
    pub encrypted: bool,
    #[serde(flatten)]
    pub media: Media,
    pub gain: f32,
    pub muted: bool,
    pub peak: f32,
    pub playing: bool,
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_lost: u64,
    pub packets_discarded: u64,
    pub retransmitted_packets_received: u64,
    pub fec_packets_received: u64,
    pub fec_packets_discarded: u64,
    pub copied_samples: u64,
    pub bitrate: f64,
    pub jitter: f64,
    pub round_trip_time: Option<f64>,
    pub total_samples_received: u64,
    pub concealed_samples: u64,
    pub concealment_events: u64,
    pub concealed: f64,
    pub inserted_samples_for_deceleration: u64,
    pub removed_samples_for_acceleration: u64,
    pub jitter_buffer_delay: f64,
    pub jitter_buffer_emitted_count: u64,
    pub units_late: u64,
    pub delay: f64,
    pub target_delay: f64,
    pub clock_offset_ppm: f64,
    pub latency: Stages,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are what docs/statistics.md says of them")]
pub struct Media {
    pub codec: String,
    pub clock_rate: u32,
    pub channels: u8,
}

/// Where the time goes from mouth to ear; `null` is what is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are what `Budget` says of them")]
pub struct Stages {
    pub capture: Option<f64>,
    pub frame: f64,
    pub network: Option<f64>,
    pub jitter_buffer: f64,
    pub resampling: f64,
    pub playback: f64,
    pub sum: f64,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are what docs/statistics.md says of them")]
pub struct Client {
    #[serde(flatten)]
    pub media: Option<Media>,
    pub gain: f32,
    pub muted: bool,
    pub peak: f32,
    pub send_delay: f64,
    pub xruns: u64,
    pub destinations: Vec<Destination>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub talkback: Option<Box<Side>>,
}

/// A server that it sends to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are what docs/statistics.md says of them")]
pub struct Destination {
    pub peer: String,
    pub state: &'static str,
    pub transport: Option<String>,
    pub encrypted: bool,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub packets_not_sent: u64,
    pub retransmitted_packets_sent: u64,
    pub copied_bytes_sent: u64,
    pub copies: usize,
    pub packets_lost: u32,
    pub fraction_lost: f64,
    pub bitrate: f64,
    pub target_bitrate: f64,
    pub available_outgoing_bitrate: Option<f64>,
    pub queueing_delay: f64,
    pub jitter: f64,
    pub round_trip_time: Option<f64>,
}

impl Server {
    pub(super) fn new(status: &server::Status, bitrate: impl Fn(&server::StreamStatus) -> f64) -> Self {
        let levels = status.levels.unwrap_or_default();
        Self {
            output: status.levels.zip(status.shape).map(|(levels, shape)| Output {
                rate: shape.rate,
                channels: shape.channels,
                period: shape.period,
                peak: levels.peak,
                clipped_samples: levels.clipped_samples,
                limiter_gain: levels.limiter_gain,
            }),
            xruns: status.xruns,
            profile: status.profile.to_string(),
            wanted_delay: match status.latency {
                Latency::Auto => None,
                Latency::Fixed(delay) => Some(delay.as_secs_f64()),
            },
            connections_refused: status.refusals.all_connections(),
            refused: status.refusals,
            streams: status.streams.iter().map(|stream| Stream::new(stream, &levels, bitrate(stream))).collect(),
            talkback: None,
        }
    }
}

impl Stream {
    fn new(status: &server::StreamStatus, levels: &mixer::Levels, bitrate: f64) -> Self {
        let server::StreamStatus { received, playout, volume, .. } = status;
        Self {
            id: status.id.0,
            peer: status.peer.to_string(),
            transport: status.transport.to_string(),
            encrypted: status.encrypted,
            media: Media::new(&status.format),
            gain: volume.gain,
            muted: volume.muted,
            peak: status.peak,
            playing: playout.playing,
            packets_received: received.packets_received,
            bytes_received: received.bytes_received,
            packets_lost: received.packets_lost,
            packets_discarded: received.packets_refused,
            retransmitted_packets_received: received.packets_repaired,
            fec_packets_received: received.copies_received,
            fec_packets_discarded: received.copies_received.saturating_sub(playout.copies_heard),
            copied_samples: playout.copied_samples,
            bitrate,
            jitter: received.jitter.as_secs_f64(),
            round_trip_time: seconds(received.round_trip_time),
            total_samples_received: playout.total_samples_received,
            concealed_samples: playout.concealed_samples,
            concealment_events: playout.concealment_events,
            concealed: status.concealed.as_secs_f64(),
            inserted_samples_for_deceleration: playout.inserted_samples_for_deceleration,
            removed_samples_for_acceleration: playout.removed_samples_for_acceleration,
            jitter_buffer_delay: playout.jitter_buffer_delay,
            jitter_buffer_emitted_count: playout.jitter_buffer_emitted_count,
            units_late: playout.units_late,
            delay: playout.delay.as_secs_f64(),
            target_delay: playout.target_delay.as_secs_f64(),
            clock_offset_ppm: playout.clock_offset_ppm,
            latency: Stages::new(&status.budget(levels)),
        }
    }
}

impl Stages {
    fn new(budget: &Budget) -> Self {
        Self {
            capture: seconds(budget.capture),
            frame: budget.frame.as_secs_f64(),
            network: seconds(budget.network),
            jitter_buffer: budget.jitter_buffer.as_secs_f64(),
            resampling: budget.resampling.as_secs_f64(),
            playback: budget.playback.as_secs_f64(),
            sum: budget.sum().as_secs_f64(),
        }
    }
}

impl Client {
    pub(super) fn new(status: &client::Status, bitrate: impl Fn(&client::FeedStatus) -> f64) -> Self {
        Self {
            media: status.format.as_ref().map(Media::new),
            gain: status.volume.gain,
            muted: status.volume.muted,
            peak: status.peak,
            send_delay: status.send_delay.as_secs_f64(),
            xruns: status.xruns,
            destinations: status.destinations.iter().map(|to| Destination::new(to, bitrate(to))).collect(),
            talkback: None,
        }
    }
}

impl Destination {
    fn new(status: &client::FeedStatus, bitrate: f64) -> Self {
        let stats = &status.stats;
        Self {
            peer: status.peer.clone(),
            state: match status.state {
                client::State::Waiting => "waiting",
                client::State::Sending => "sending",
                client::State::Heard => "streaming",
            },
            transport: status.transport.map(|transport| transport.to_string()),
            encrypted: status.encrypted,
            packets_sent: stats.packets_sent,
            bytes_sent: stats.bytes_sent,
            packets_not_sent: status.packets_dropped,
            retransmitted_packets_sent: stats.packets_resent,
            copied_bytes_sent: stats.bytes_copied,
            copies: stats.copies,
            packets_lost: stats.packets_lost,
            fraction_lost: stats.fraction_lost,
            bitrate,
            target_bitrate: status.target_bps,
            available_outgoing_bitrate: stats.budget_bps,
            queueing_delay: stats.queueing_delay.as_secs_f64(),
            jitter: stats.jitter.as_secs_f64(),
            round_trip_time: seconds(stats.round_trip_time),
        }
    }
}

impl Media {
    fn new(format: &Format) -> Self {
        Self { codec: format.codec.to_string(), clock_rate: format.rate, channels: format.channels }
    }
}

fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}
