//! A receiving process: receivers, voices and a mixer on one playback card, wired as the engine
//! wires them, with a book-keeper beside each.

use std::collections::BTreeMap;
use std::time::Duration;

use audiostreamer_core::framing::Deframer;
use audiostreamer_core::mixer::{MixerHandle, Voice, VoiceHandle};
use audiostreamer_core::packet::{Packet, Rtp};
use audiostreamer_core::playout::{self, Origin, Playout};
use audiostreamer_core::raw::RawReceiver;
use audiostreamer_core::receiver::{self, Output};
use audiostreamer_core::{Budget, Format, Instant, Mixer, PayloadTypes, Receiver};

use crate::card::{self, Block, Card, Clock};
use crate::rng::Rng;
use crate::tuning::{Latency, Profile, playout_config};

/// What a server is like.
#[derive(Clone, Debug)]
pub struct Server {
    pub card: Card,
    pub latency: Latency,
    pub profile: Profile,
    pub types: PayloadTypes,
    /// What arrives without a header is this.
    pub raw: Option<Format>,
    pub voices_max: usize,
}

/// Sources that are listened to at once; beyond, one that has never begun must go.
const SOURCES_MAX: usize = 32;

/// What a stall held back may wait for a moment; no scenario stalls for longer.
const BUFFERED_MAX: Duration = Duration::from_secs(4);

/// The server's own synchronisation source.
const SSRC: u32 = 1;

impl Server {
    /// Stereo at 48 kHz, 20 ms, eight voices.
    pub fn new() -> Self {
        let (latency, types) = (Latency::Fixed(Duration::from_millis(20)), PayloadTypes::default());
        Self { card: Card::new(2), latency, profile: Profile::Live, types, raw: None, voices_max: 8 }
    }

    pub fn card(self, card: Card) -> Self {
        Self { card, ..self }
    }

    pub fn latency(self, millis: u64) -> Self {
        Self { latency: Latency::Fixed(Duration::from_millis(millis)), ..self }
    }

    /// Finds its delay by itself.
    pub fn auto(self, profile: Profile) -> Self {
        Self { latency: Latency::Auto, profile, ..self }
    }

    pub fn payload_type(mut self, payload_type: u8, format: Format) -> Self {
        self.types.set(payload_type, format);
        self
    }

    /// Takes everything for PCM of that format without a header.
    pub fn raw(self, format: Format) -> Self {
        Self { raw: Some(format), ..self }
    }
}

/// A server that runs.
pub struct Running {
    server: Server,
    card: card::Running,
    mixer: Mixer,
    handle: MixerHandle,
    sources: Vec<Source>,
    /// The record that has not arrived whole, by client and its connection.
    streams: BTreeMap<(usize, u8), Deframer>,
    block: Vec<f32>,
    counts: Counts,
}

/// What a server has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Neither RTP nor RTCP.
    pub unreadable: u64,
    pub voices_begun: u64,
    pub voices_freed: u64,
    /// Streams that found no room in the mixer.
    pub voices_refused: u64,
    pub ends: u64,
    /// Units that found no room on their way to a voice.
    pub units_refused: u64,
}

/// One source behind one connection.
struct Source {
    from: usize,
    ssrc: u32,
    input: Input,
    /// Packets given to the receiver.
    handed: u64,
    voice: Option<Book>,
    /// Of the last voice.
    stats: playout::Stats,
}

enum Input {
    Rtp(Box<Receiver>),
    Raw(RawReceiver),
}

/// A voice and what must be true of it.
struct Book {
    handle: VoiceHandle,
    units_sent: u64,
    payloads_back: u64,
    frames_asked: u64,
}

impl Running {
    pub fn new(server: Server, now: Instant, mut rng: Rng) -> Self {
        let card = server.card.playback(now, rng.fork());
        let Card { rate, channels, .. } = server.card;
        let (handle, mixer) = Mixer::new(rate, channels, server.card.callback_frames(), server.voices_max);
        let (sources, streams, block) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { server, card, mixer, handle, sources, streams, block, counts: Counts::default() }
    }

    /// Takes a datagram of client `from`.
    pub fn handle_datagram(&mut self, now: Instant, from: usize, bytes: &[u8]) {
        match self.server.raw {
            Some(format) => self.handle_raw(now, from, format, |raw| raw.handle_datagram(now, bytes)),
            None => self.handle_packet(now, from, bytes),
        }
    }

    /// Takes the next bytes of the connection with client `from`.
    pub fn handle_stream(&mut self, now: Instant, from: usize, bytes: &[u8]) {
        if let Some(format) = self.server.raw {
            return self.handle_raw(now, from, format, |raw| raw.handle_stream(now, bytes));
        }
        self.handle_records(now, 0, from, bytes);
    }

    /// Takes the next bytes of another connection with client `from`, over the same way.
    pub fn handle_stream_beside(&mut self, now: Instant, from: usize, bytes: &[u8]) {
        self.handle_records(now, 1, from, bytes);
    }

    fn handle_records(&mut self, now: Instant, connection: u8, from: usize, bytes: &[u8]) {
        let mut deframer = self.streams.remove(&(from, connection)).unwrap_or_default();
        deframer.handle_bytes(bytes);
        while let Some(packet) = deframer.poll_packet() {
            self.handle_packet(now, from, packet);
        }
        self.streams.insert((from, connection), deframer);
    }

    /// Takes a datagram of client `from` that has come another way, of that number.
    pub fn handle_datagram_over(&mut self, now: Instant, way: u8, from: usize, bytes: &[u8]) {
        let set_way = |server: &mut Self, way| {
            for source in server.sources.iter_mut().filter(|source| source.from == from) {
                if let Input::Rtp(receiver) = &mut source.input {
                    receiver.set_way(way);
                }
            }
        };
        set_way(self, way);
        self.handle_datagram(now, from, bytes);
        set_way(self, 0);
    }

    /// The connection with client `from` is closed.
    pub fn handle_close(&mut self, from: usize) {
        self.sources.retain(|source| source.from != from);
        self.streams.retain(|(other, _), _| *other != from);
    }

    /// One callback of the card, if it is time for one: the block and its samples.
    pub fn poll_block(&mut self, now: Instant) -> Option<(Block, &[f32])> {
        let block = self.card.poll_block(now)?;
        self.block.clear();
        self.block.resize(block.frames * usize::from(self.server.card.channels), f32::NAN);
        self.mixer.fill(now, self.card.output_delay(now, block), &mut self.block);
        assert!(self.block.iter().all(|sample| (-1.0..=1.0).contains(sample)), "every sample is written, in bounds");
        self.counts.voices_freed += self.handle.free_retired() as u64;
        for source in &mut self.sources {
            source.check(block.frames as u64);
        }
        Some((block, &self.block))
    }

    /// The next report, and the client that it is for.
    pub fn poll_transmit(&mut self, now: Instant, packet: &mut Vec<u8>) -> Option<usize> {
        self.sources.iter_mut().find_map(|source| match &mut source.input {
            Input::Rtp(receiver) => receiver.poll_transmit(now, packet).then_some(source.from),
            Input::Raw(_) => None,
        })
    }

    pub fn poll_timeout(&self) -> Instant {
        let report = |source: &Source| match &source.input {
            Input::Rtp(receiver) => receiver.poll_timeout(),
            Input::Raw(_) => None,
        };
        self.sources.iter().filter_map(report).fold(self.card.poll_timeout(), Instant::min)
    }

    pub fn set_period(&mut self, period: usize) {
        self.card.set_period(period);
    }

    /// The card's crystal is off by so much from now on.
    pub fn set_ppm(&mut self, now: Instant, ppm: f64) {
        self.card.set_ppm(now, ppm);
    }

    /// The card is not served for so many frames.
    pub fn lose(&mut self, now: Instant, frames: u64) {
        self.card.lose(now, frames);
    }

    pub fn speaker(&self) -> &Clock {
        &self.card.clock
    }

    pub fn rate(&self) -> u32 {
        self.server.card.rate
    }

    pub fn channels(&self) -> usize {
        self.server.card.channels.into()
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What the receiver of a client's newest source counts.
    pub fn received(&self, from: usize) -> receiver::Stats {
        match self.newest(from).map(|source| &source.input) {
            Some(Input::Rtp(receiver)) => receiver.stats(),
            _ => receiver::Stats::default(),
        }
    }

    /// What the playout of a client's newest source counts, as last reported.
    pub fn played(&self, from: usize) -> playout::Stats {
        self.newest(from).map_or(playout::Stats::default(), |source| source.stats)
    }

    /// Where the time of a client's newest source goes.
    pub fn budget(&mut self, from: usize) -> Budget {
        Budget::new(&self.received(from), &self.played(from), self.handle.levels().output_delay)
    }

    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    fn newest(&self, from: usize) -> Option<&Source> {
        self.sources.iter().rev().find(|source| source.from == from)
    }

    fn handle_packet(&mut self, now: Instant, from: usize, bytes: &[u8]) {
        match Packet::parse(bytes) {
            Some(Packet::Rtp(rtp)) => self.handle_rtp(now, from, &rtp),
            Some(Packet::Rtcp(bytes)) => {
                for index in 0..self.sources.len() {
                    let source = &mut self.sources[index];
                    if let (true, Input::Rtp(receiver)) = (source.from == from, &mut source.input) {
                        receiver.handle_rtcp(now, bytes);
                        self.drain(now, index);
                    }
                }
            }
            None => self.counts.unreadable += 1,
        }
    }

    fn handle_rtp(&mut self, now: Instant, from: usize, rtp: &Rtp<'_>) {
        let types = &self.server.types;
        let make = || Input::Rtp(Box::new(Receiver::new(now, SSRC, "server", rtp.ssrc, types.clone())));
        let index = find_or_insert(&mut self.sources, from, rtp.ssrc, make);
        let source = &mut self.sources[index];
        if let Input::Rtp(receiver) = &mut source.input {
            receiver.handle_rtp(now, rtp);
            source.handed += 1;
        }
        self.drain(now, index);
    }

    fn handle_raw(&mut self, now: Instant, from: usize, format: Format, handle: impl FnOnce(&mut RawReceiver)) {
        let make = || Input::Raw(RawReceiver::new(format).expect("PCM"));
        let index = find_or_insert(&mut self.sources, from, 0, make);
        if let Input::Raw(receiver) = &mut self.sources[index].input {
            handle(receiver);
        }
        self.drain(now, index);
    }

    /// Passes on what a source's receiver has.
    fn drain(&mut self, now: Instant, index: usize) {
        while let Some(output) = self.sources[index].poll_output() {
            match output {
                Output::Start(format) => self.begin(index, format),
                Output::Unit(unit) => {
                    assert!(unit.arrived <= now || unit.origin == Origin::Lost);
                    if let Some(book) = &mut self.sources[index].voice {
                        match book.handle.send(unit) {
                            Ok(()) => book.units_sent += 1,
                            Err(_) => self.counts.units_refused += 1,
                        }
                    }
                }
                Output::End => {
                    self.counts.ends += 1;
                    self.sources[index].voice = None;
                }
            }
        }
    }

    fn begin(&mut self, index: usize, format: Format) {
        let config = playout_config(&self.server);
        let mut playout = Playout::new(format, config).expect("a format that can be played");
        if self.sources[index].voice.is_some() {
            playout.start_from(self.sources[index].stats.target_delay);
        }
        let (handle, voice) = Voice::new(playout, 1.0);
        let book = Book { handle, units_sent: 0, payloads_back: 0, frames_asked: 0 };
        self.sources[index].voice = match self.handle.add(voice) {
            Ok(()) => {
                self.counts.voices_begun += 1;
                Some(book)
            }
            Err(_) => {
                self.counts.voices_refused += 1;
                None
            }
        };
    }
}

fn find_or_insert(sources: &mut Vec<Source>, from: usize, ssrc: u32, make: impl FnOnce() -> Input) -> usize {
    if let Some(index) = sources.iter().position(|source| source.from == from && source.ssrc == ssrc) {
        return index;
    }
    if sources.len() == SOURCES_MAX {
        let idle = sources.iter().position(|source| source.voice.is_none());
        sources.remove(idle.unwrap_or(0));
    }
    sources.push(Source { from, ssrc, input: make(), handed: 0, voice: None, stats: playout::Stats::default() });
    sources.len() - 1
}

impl Source {
    fn poll_output(&mut self) -> Option<Output> {
        match &mut self.input {
            Input::Rtp(receiver) => receiver.poll_output(),
            Input::Raw(receiver) => receiver.poll_output(),
        }
    }

    /// After a callback that asked for so many frames.
    fn check(&mut self, frames: u64) {
        if let Input::Rtp(receiver) = &self.input {
            let stats = receiver.stats();
            let counted = stats.packets_received + stats.packets_refused;
            assert!((counted..=counted + 1).contains(&self.handed), "one may wait for a second: {stats:?}");
        }
        let Some(book) = &mut self.voice else { return };
        while let Some(payload) = book.handle.reclaim() {
            book.payloads_back += 1;
            if let Input::Rtp(receiver) = &mut self.input {
                receiver.recycle(payload);
            }
        }
        book.frames_asked += frames;
        self.stats = book.handle.stats();
        if let Input::Rtp(receiver) = &mut self.input {
            receiver.set_room(self.stats.room);
        }
        // Statistics come back now and then; those of this callback are told by their frames.
        if self.stats.total_samples_received == book.frames_asked {
            book.check(&self.stats);
        }
    }
}

impl Book {
    fn check(&self, stats: &playout::Stats) {
        assert_eq!(stats.units_received, self.units_sent, "every unit arrives: {stats:?}");
        let dropped =
            stats.units_late + stats.units_duplicate + stats.units_overflowed + stats.units_refused + stats.units_lost;
        let gone = stats.units_played + dropped;
        assert_eq!(stats.units_received, gone + stats.units_waiting, "every unit is somewhere: {stats:?}");
        assert_eq!(self.payloads_back, gone, "every payload that does not wait comes back: {stats:?}");
        assert!(stats.buffered < BUFFERED_MAX, "the buffer is bounded: {stats:?}");
    }
}
