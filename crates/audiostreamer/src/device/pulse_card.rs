//! Sinks and sources of PulseAudio, or of PipeWire in its place.

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use audiostreamer_core::Encoding;
use audiostreamer_core::Instant;
use audiostreamer_core::codec::pcm;
use pulseaudio::protocol::ChannelPosition::*;
use pulseaudio::protocol::stream::{BufferAttr, StreamFlags};
use pulseaudio::protocol::{
    self, ChannelMap, ChannelPosition, Command, CorkStreamParams, CreatePlaybackStreamReply, CreateRecordStreamReply,
    DESCRIPTOR_SIZE, GetSinkInfo, GetSourceInfo, LatencyParams, PlaybackLatency, PlaybackStreamParams, PulseError,
    RecordLatency, RecordStreamParams, SampleFormat, SampleSpec, SinkInfo, SourceInfo,
};

use super::card_error::CardError;
use super::host::{Direction, Host};
use super::priority::raise_for_audio;
use super::pulse_list::readable;
use super::pulse_timing::Timing;
use super::pulse_wire::{Message, Server, WireError, properties};
use super::vitals::{Callback, Vitals, Watched};
use super::{Capture, Render, Shape, Wanted};
use crate::clock;

/// A stream that the server has accepted and holds back until it is run.
#[derive(Debug)]
pub(super) struct PulseCard {
    server: Server,
    channel: u32,
    name: String,
    shape: Shape,
    /// Bytes that the server wants to have before it plays.
    requested: usize,
}

impl PulseCard {
    /// Opens the device with this name, or the server's default.
    pub(super) fn open(name: Option<&str>, direction: Direction, wanted: &Wanted) -> Result<Self, CardError> {
        let server = Server::connect().map_err(unreachable_host)?;
        let opened = match direction {
            Direction::Input => Self::open_source(server, name, wanted),
            Direction::Output => Self::open_sink(server, name, wanted),
        };
        opened.map_err(|error| match error {
            WireError::Refused(PulseError::NoEntity) => {
                CardError::NotFound { wanted: name.unwrap_or("pulse:").into(), direction, available: Vec::new() }
            }
            error => CardError::Open { name: name.unwrap_or("PulseAudio's default").into(), why: error.to_string() },
        })
    }

    fn open_source(mut server: Server, name: Option<&str>, wanted: &Wanted) -> Result<Self, WireError> {
        let info: SourceInfo = server.ask(&Command::GetSourceInfo(GetSourceInfo {
            index: None,
            name: name_or(name, protocol::DEFAULT_SOURCE),
        }))?;
        let (spec, period_bytes) = ask_for(wanted);
        let command = Command::CreateRecordStream(RecordStreamParams {
            sample_spec: spec,
            channel_map: speakers(spec.channels),
            source_index: Some(info.index),
            buffer_attr: BufferAttr { fragment_size: period_bytes, ..BufferAttr::default() },
            flags: held_back(),
            props: properties(),
            ..RecordStreamParams::default()
        });
        let stream: CreateRecordStreamReply = server.ask(&command)?;
        let mut name = readable(info.description.as_deref().unwrap_or(&info.name));
        if info.monitor_of_sink_index.is_some() {
            name.push_str(" (what is played there, no microphone)"); // the default where there is none
        }
        Ok(Self {
            server,
            channel: stream.channel,
            name,
            shape: shape(&stream.sample_spec, stream.buffer_attr.fragment_size),
            requested: 0,
        })
    }

    fn open_sink(mut server: Server, name: Option<&str>, wanted: &Wanted) -> Result<Self, WireError> {
        let info: SinkInfo = server
            .ask(&Command::GetSinkInfo(GetSinkInfo { index: None, name: name_or(name, protocol::DEFAULT_SINK) }))?;
        let (spec, period_bytes) = ask_for(wanted);
        let command = Command::CreatePlaybackStream(PlaybackStreamParams {
            sample_spec: spec,
            channel_map: speakers(spec.channels),
            sink_index: Some(info.index),
            buffer_attr: BufferAttr {
                // One period plays while the next is made. A sink that has idled renders
                // seconds in advance; the limit keeps it from asking for all of them.
                max_length: 2 * period_bytes,
                target_length: 2 * period_bytes,
                minimum_request_length: period_bytes,
                ..BufferAttr::default()
            },
            flags: held_back(),
            props: properties(),
            ..PlaybackStreamParams::default()
        });
        let stream: CreatePlaybackStreamReply = server.ask(&command)?;
        Ok(Self {
            server,
            channel: stream.channel,
            name: readable(info.description.as_deref().unwrap_or(&info.name)),
            shape: shape(&stream.sample_spec, stream.buffer_attr.minimum_request_length),
            requested: stream.requested_bytes as usize,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Moves sound on this thread until nobody wants it or the server ends it.
    pub(super) fn run(self, callback: Callback, vitals: &Arc<Vitals>) -> Result<(), WireError> {
        self.server.be_patient(GLANCE)?;
        raise_for_audio();
        let channels = self.shape.channels;
        match callback {
            Callback::Capture(capture) => self.capture(Watched::new(capture, channels, vitals), vitals),
            Callback::Render(render) => self.play(Watched::new(render, channels, vitals), vitals),
        }
    }

    fn capture(mut self, mut ear: Watched<Capture>, vitals: &Vitals) -> Result<(), WireError> {
        let mut block = self.block();
        let mut timing = Timing::new(self.byte_rate());
        let mut question = Question::default();
        self.server.tell(&Command::CorkRecordStream(released(self.channel)))?;
        while !vitals.is_closed() {
            if question.is_due(clock::now()) {
                let command = Command::GetRecordLatency(latency_of(self.channel));
                question.asked(self.server.tell(&command)?, clock::now());
            }
            match self.server.next()? {
                Some(Message::Sound(bytes)) => {
                    for bytes in bytes.chunks(block.len() * SAMPLE_BYTES) {
                        let samples = &mut block[..bytes.len() / SAMPLE_BYTES];
                        pcm::decode(ENCODING, bytes, samples);
                        ear.hear(samples, timing.age(clock::now()));
                        timing.advance(bytes.len());
                    }
                }
                Some(Message::Reply { sequence, answer }) if question.is(sequence) => {
                    timing.captured(clock::now(), &answer.read::<RecordLatency>()?);
                }
                Some(Message::Xrun) => vitals.count_xrun(),
                Some(Message::Killed) => return Err(WireError::Killed),
                Some(Message::Refused { error, .. }) => return Err(WireError::Refused(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn play(mut self, mut voice: Watched<Render>, vitals: &Vitals) -> Result<(), WireError> {
        let frame_bytes = usize::from(self.shape.channels) * SAMPLE_BYTES;
        let mut block = self.block();
        let mut message = Vec::with_capacity(DESCRIPTOR_SIZE + block.len() * SAMPLE_BYTES);
        let mut timing = Timing::new(self.byte_rate());
        let mut question = Question::default();
        self.server.tell(&Command::CorkPlaybackStream(released(self.channel)))?;
        while !vitals.is_closed() {
            while self.requested >= frame_bytes {
                let frames = (self.requested / frame_bytes).min(self.shape.period);
                let samples = &mut block[..frames * usize::from(self.shape.channels)];
                voice.fill(samples, timing.delay(clock::now()));
                message.clear();
                message.resize(DESCRIPTOR_SIZE, 0); // written by `play`
                pcm::encode(ENCODING, samples, &mut message);
                self.server.play(self.channel, &mut message)?;
                timing.advance(frames * frame_bytes);
                self.requested -= frames * frame_bytes;
            }
            if question.is_due(clock::now()) {
                let command = Command::GetPlaybackLatency(latency_of(self.channel));
                question.asked(self.server.tell(&command)?, clock::now());
                timing.asked();
            }
            match self.server.next()? {
                Some(Message::Request(bytes)) => self.requested += bytes,
                Some(Message::Reply { sequence, answer }) if question.is(sequence) => {
                    timing.played(clock::now(), &answer.read::<PlaybackLatency>()?);
                }
                Some(Message::Xrun) => vitals.count_xrun(),
                Some(Message::Killed) => return Err(WireError::Killed),
                Some(Message::Refused { error, .. }) => return Err(WireError::Refused(error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn block(&self) -> Vec<f32> {
        vec![0.0; self.shape.period * usize::from(self.shape.channels)]
    }

    fn byte_rate(&self) -> u32 {
        self.shape.rate * u32::from(self.shape.channels) * SAMPLE_BYTES as u32
    }
}

/// Whether a server runs that lets us in.
pub(super) fn is_reachable() -> bool {
    Server::connect().is_ok()
}

/// When the server is asked for the stream's latency, and which answer is to that.
#[derive(Debug, Default)]
struct Question {
    next: Instant,
    sequence: Option<u32>,
}

impl Question {
    fn is_due(&self, now: Instant) -> bool {
        now >= self.next
    }

    fn asked(&mut self, sequence: u32, now: Instant) {
        self.sequence = Some(sequence);
        self.next = now + BETWEEN_QUESTIONS;
    }

    fn is(&self, sequence: u32) -> bool {
        self.sequence == Some(sequence)
    }
}

/// The samples to ask for and the bytes of a period. The server converts, so that anything it
/// has room for will do.
fn ask_for(wanted: &Wanted) -> (SampleSpec, u32) {
    let wanted = wanted.shape();
    let spec = SampleSpec {
        format: SampleFormat::Float32Le,
        sample_rate: wanted.rate.min(protocol::sample_spec::MAX_RATE),
        channels: wanted.channels.min(protocol::sample_spec::MAX_CHANNELS.into()) as u8,
    };
    let frame_bytes = usize::from(spec.channels) * SAMPLE_BYTES;
    let longest = protocol::MAX_MEMBLOCKQ_LENGTH / 2 / frame_bytes;
    (spec, (wanted.period.min(longest) * frame_bytes) as u32)
}

fn shape(spec: &SampleSpec, period_bytes: u32) -> Shape {
    let frame_bytes = usize::from(spec.channels) * SAMPLE_BYTES;
    Shape {
        rate: spec.sample_rate,
        channels: u16::from(spec.channels),
        period: (period_bytes as usize / frame_bytes).max(1),
    }
}

/// Starts silent, and has the whole way to the card as short as the period asks for.
fn held_back() -> StreamFlags {
    StreamFlags { start_corked: true, adjust_latency: true, ..StreamFlags::default() }
}

fn released(channel: u32) -> CorkStreamParams {
    CorkStreamParams { channel, cork: false }
}

fn latency_of(channel: u32) -> LatencyParams {
    LatencyParams {
        channel,
        now: SystemTime::UNIX_EPOCH, // comes back unread
    }
}

/// Where the channels sound, in the order that WAV has; numbered where there is no usual order.
fn speakers(channels: u8) -> ChannelMap {
    let order: &[ChannelPosition] = match channels {
        1 => &[Mono],
        2 | 4 => &[FrontLeft, FrontRight, RearLeft, RearRight],
        6 | 8 => &SURROUND,
        _ => &NUMBERED,
    };
    ChannelMap::new(order.iter().copied().take(channels.into()))
}

fn name_or(name: Option<&str>, default: &CStr) -> Option<CString> {
    name.map_or_else(|| Some(default.to_owned()), |name| CString::new(name).ok())
}

fn unreachable_host(error: WireError) -> CardError {
    CardError::NoHost { host: Host::Pulse, why: error.to_string() }
}

const ENCODING: Encoding = Encoding::F32Le;
const SAMPLE_BYTES: usize = ENCODING.bytes();

const SURROUND: [ChannelPosition; 8] =
    [FrontLeft, FrontRight, FrontCenter, Lfe, RearLeft, RearRight, SideLeft, SideRight];

#[rustfmt::skip]
const NUMBERED: [ChannelPosition; protocol::sample_spec::MAX_CHANNELS as usize] = [
    Aux0, Aux1, Aux2, Aux3, Aux4, Aux5, Aux6, Aux7, Aux8, Aux9, Aux10, Aux11, Aux12, Aux13, Aux14,
    Aux15, Aux16, Aux17, Aux18, Aux19, Aux20, Aux21, Aux22, Aux23, Aux24, Aux25, Aux26, Aux27,
    Aux28, Aux29, Aux30, Aux31,
];

/// How long a stream that is no longer wanted may go on.
const GLANCE: Duration = Duration::from_millis(100);

/// Often enough to see a change of the server's latency, rare enough to cost nothing.
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(100);
