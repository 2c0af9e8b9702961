//! A snapshot in Prometheus' text format (OpenMetrics).
//!
//! One table says what is told: a name, its meaning, and where in the snapshot it stands.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::snapshot::{Client, Destination, Server, Side, Snapshot, Stages, Stream};
use crate::server::Refusals;

/// The content type that goes with it.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What a scrape gets: nothing but the end, before there is a snapshot.
pub(super) fn text(snapshot: Option<Snapshot>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("audiostreamer");
    if let Some(snapshot) = snapshot {
        registry.register_collector(Box::new(Told(snapshot)));
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

/// How a number behaves.
#[derive(Clone, Copy)]
enum Kind {
    /// It only rises, but where its stream begins anew.
    Counter,
    Gauge,
    /// In seconds.
    Time,
}
use Kind::{Counter, Gauge, Time};

/// One line of a table: what it is called, what it says, how it behaves, where it stands.
type Row<T> = (&'static str, &'static str, Kind, Look<T>);

/// Where a figure stands; `None` where it is not known.
type Look<T> = fn(&T) -> Option<f64>;

const OF_A_SERVER: &[Row<Server>] = &[
    ("output_peak", "Loudest sample of the last second before limiting, full scale 1", Gauge, |s| {
        Some(s.output?.peak.into())
    }),
    ("output_clipped_samples", "Samples that were beyond full scale", Counter, |s| {
        Some(s.output?.clipped_samples as f64)
    }),
    ("output_limiter_gain", "Lowest gain of the limiter in the last second", Gauge, |s| {
        Some(s.output?.limiter_gain.into())
    }),
    ("xruns", "Times that the sound card had no sound", Counter, |s| Some(s.xruns as f64)),
    ("streams", "Streams that play", Gauge, |s| Some(s.streams.len() as f64)),
    ("connections_refused", "Connections that were turned away", Counter, |s| Some(s.connections_refused as f64)),
];

/// By what stood in the way.
const REFUSED: &[(&str, Look<Refusals>)] = &[
    ("handshakes", |r| Some(r.handshakes as f64)),
    ("too fast", |r| Some(r.too_fast as f64)),
    ("connections", |r| Some(r.connections as f64)),
    ("strangers", |r| Some(r.strangers as f64)),
    ("streams", |r| Some(r.streams as f64)),
    ("unproved streams", |r| Some(r.unproved_streams as f64)),
    ("kicked", |r| Some(r.kicked as f64)),
    ("garbage", |r| Some(r.garbage as f64)),
    ("answers", |r| Some(r.answers as f64)),
    ("addresses", |r| Some(r.addresses as f64)),
];

const OF_A_STREAM: &[Row<Stream>] = &[
    ("stream_playing", "1 while sound is there", Gauge, |s| Some(f64::from(u8::from(s.playing)))),
    ("stream_peak", "Loudest sample of the last second, full scale 1", Gauge, |s| Some(s.peak.into())),
    ("stream_packets_received", "Packets", Counter, |s| Some(s.packets_received as f64)),
    ("stream_bytes_received", "Bytes of payload", Counter, |s| Some(s.bytes_received as f64)),
    ("stream_packets_lost", "Packets that never came", Counter, |s| Some(s.packets_lost as f64)),
    ("stream_packets_discarded", "Packets that were none of the stream", Counter, |s| Some(s.packets_discarded as f64)),
    ("stream_retransmitted_packets_received", "Lost packets that came once more", Counter, |s| {
        Some(s.retransmitted_packets_received as f64)
    }),
    ("stream_copied_samples", "Frames heard from copies", Counter, |s| Some(s.copied_samples as f64)),
    ("stream_bitrate", "Bits of payload in the last second", Gauge, |s| Some(s.bitrate)),
    ("stream_jitter", "Interarrival jitter (RFC 3550)", Time, |s| Some(s.jitter)),
    ("stream_round_trip", "To the client and back", Time, |s| s.round_trip_time),
    ("stream_concealment_events", "Holes that were filled", Counter, |s| Some(s.concealment_events as f64)),
    ("stream_concealed_samples", "Frames made up for missing ones", Counter, |s| Some(s.concealed_samples as f64)),
    ("stream_units_late", "Packets that came too late to be played", Counter, |s| Some(s.units_late as f64)),
    ("stream_delay", "Playout delay", Time, |s| Some(s.delay)),
    ("stream_target_delay", "What the playout delay is brought to", Time, |s| Some(s.target_delay)),
    ("stream_clock_offset_ppm", "How much faster the client's sound card runs", Gauge, |s| Some(s.clock_offset_ppm)),
];

const OF_STAGES: &[(&str, Look<Stages>)] = &[
    ("capture", |s| s.capture),
    ("frame", |s| Some(s.frame)),
    ("network", |s| s.network),
    ("jitter buffer", |s| Some(s.jitter_buffer)),
    ("resampling", |s| Some(s.resampling)),
    ("playback", |s| Some(s.playback)),
];

const OF_A_CLIENT: &[Row<Client>] = &[
    ("client_peak", "Loudest sample of the last second, full scale 1", Gauge, |c| Some(c.peak.into())),
    ("client_send_delay", "From the card to the wire", Time, |c| Some(c.send_delay)),
    ("xruns", "Times that the sound card has lost sound", Counter, |c| Some(c.xruns as f64)),
];

const OF_A_DESTINATION: &[Row<Destination>] = &[
    ("client_connected", "1 while there is a link", Gauge, |d| Some(f64::from(u8::from(d.transport.is_some())))),
    ("client_packets_sent", "Packets", Counter, |d| Some(d.packets_sent as f64)),
    ("client_bytes_sent", "Bytes of payload", Counter, |d| Some(d.bytes_sent as f64)),
    ("client_packets_not_sent", "Packets that the connection was too slow for", Counter, |d| {
        Some(d.packets_not_sent as f64)
    }),
    ("client_retransmitted_packets_sent", "Packets sent once more", Counter, |d| {
        Some(d.retransmitted_packets_sent as f64)
    }),
    ("client_copied_bytes_sent", "Bytes of copies", Counter, |d| Some(d.copied_bytes_sent as f64)),
    ("client_packets_lost", "Packets lost on the way, as the server says", Counter, |d| Some(d.packets_lost.into())),
    ("client_bitrate", "Bits of payload in the last second", Gauge, |d| Some(d.bitrate)),
    ("client_target_bitrate", "What the sound is coded in", Gauge, |d| Some(d.target_bitrate)),
    ("client_available_bitrate", "What the path carries with headers, where that is too little", Gauge, |d| {
        d.available_outgoing_bitrate
    }),
    ("client_queueing_delay", "What packets wait on their way", Time, |d| Some(d.queueing_delay)),
    ("client_jitter", "Interarrival jitter, as the server says", Time, |d| Some(d.jitter)),
    ("client_round_trip", "To the server and back", Time, |d| d.round_trip_time),
];

#[derive(Debug)]
struct Told(Snapshot);

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        match &self.0.side {
            Side::Server(server) => {
                tell(&mut encoder, OF_A_SERVER, &[(server, vec![])])?;
                tell_refused(&mut encoder, server)?;
                tell_streams(&mut encoder, server)?;
                match server.talkback.as_deref() {
                    Some(Side::Client(back)) => tell_destinations(&mut encoder, back),
                    _ => Ok(()),
                }
            }
            Side::Client(client) => {
                tell(&mut encoder, OF_A_CLIENT, &[(client, vec![])])?;
                tell_destinations(&mut encoder, client)?;
                match client.talkback.as_deref() {
                    Some(Side::Server(back)) => tell_streams(&mut encoder, back),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn tell_refused(encoder: &mut DescriptorEncoder<'_>, server: &Server) -> fmt::Result {
    let label = |why: &str| vec![("why", why.to_owned())];
    let values: Vec<_> =
        REFUSED.iter().filter_map(|(why, value)| Some((value(&server.refused)?, label(why)))).collect();
    let values = values.iter().map(|(value, labels)| (*value, labels));
    family(encoder, "refused", "What was turned away, by the bound that it met or by what it was", Counter, values)
}

fn tell_streams(encoder: &mut DescriptorEncoder<'_>, server: &Server) -> fmt::Result {
    let streams: Vec<_> = server.streams.iter().map(|stream| (stream, labels(stream))).collect();
    tell(encoder, OF_A_STREAM, &streams)?;
    tell_stages(encoder, &streams)
}

fn tell_destinations(encoder: &mut DescriptorEncoder<'_>, client: &Client) -> fmt::Result {
    let destinations: Vec<_> = client.destinations.iter().map(|to| (to, vec![("peer", to.peer.clone())])).collect();
    tell(encoder, OF_A_DESTINATION, &destinations)
}

type Labels = Vec<(&'static str, String)>;

fn labels(stream: &Stream) -> Labels {
    vec![("stream", stream.id.to_string()), ("peer", stream.peer.clone()), ("codec", stream.media.codec.clone())]
}

fn tell<T>(encoder: &mut DescriptorEncoder<'_>, table: &[Row<T>], of: &[(&T, Labels)]) -> fmt::Result {
    for (name, help, kind, value) in table {
        let values = of.iter().filter_map(|(of, labels)| Some((value(of)?, labels)));
        family(encoder, name, help, *kind, values)?;
    }
    Ok(())
}

fn tell_stages(encoder: &mut DescriptorEncoder<'_>, streams: &[(&Stream, Labels)]) -> fmt::Result {
    let mut values = Vec::new();
    for (stream, labels) in streams {
        for (stage, value) in OF_STAGES {
            let with_stage = [labels.clone(), vec![("stage", (*stage).to_owned())]].concat();
            values.extend(value(&stream.latency).map(|value| (value, with_stage)));
        }
    }
    let values = values.iter().map(|(value, labels)| (*value, labels));
    family(encoder, "stream_latency", "Where the time goes from mouth to ear", Time, values)
}

fn family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: Kind,
    values: impl Iterator<Item = (f64, &'a Labels)>,
) -> fmt::Result {
    let (counter, gauge) = (ConstCounter::new(0.0), ConstGauge::new(0.0));
    let (unit, metric_type) = match kind {
        Counter => (None, counter.metric_type()),
        Gauge => (None, gauge.metric_type()),
        Time => (Some(Unit::Seconds), gauge.metric_type()),
    };
    let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), metric_type)?;
    for (value, labels) in values {
        let one = family.encode_family(labels)?;
        match kind {
            Counter => ConstCounter::new(value).encode(one)?,
            Gauge | Time => ConstGauge::new(value).encode(one)?,
        }
    }
    Ok(())
}
