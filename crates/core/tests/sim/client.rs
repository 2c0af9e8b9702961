//! A sending process: a capture card, a packetizer and a sender, wired as the engine wires them.

use std::time::Duration;

use audiostreamer_core::codec::opus;
use audiostreamer_core::coding::Wish;
use audiostreamer_core::framing::{self, Deframer};
use audiostreamer_core::packetizer::{self, Packetizer};
use audiostreamer_core::rtcp::Ntp;
use audiostreamer_core::sender::{self, Beside, Redundancy, Sender, Wire};
use audiostreamer_core::{Codec, Encoding, Fallback, Format, Instant, packet};

use crate::card::{self, Block, Card, Clock};
use crate::netem::{self, Service};
use crate::rng::Rng;
use crate::signal::Signal;
use crate::signal::code::TimeCode;

/// What a client is like.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub card: Card,
    pub format: Format,
    pub payload_type: u8,
    /// Frames in a packet.
    pub frames: usize,
    pub service: Service,
    /// Whether what its connection can't take waits, and its connection is replaced when it stands still.
    pub live: bool,
    /// Whether payloads travel without RTP around them.
    pub raw: bool,
    pub signal: Signal,
    /// The one channel that hears the signal; the others are silent, so that several clients can
    /// be told apart in the mix. Of a signal that is wide, the one that is listened to.
    pub channel: usize,
    /// Sequence number and timestamp of the first packet, if not left to chance.
    pub first: Option<(u16, u32)>,
    pub redundancy: Redundancy,
    pub application: opus::Application,
    /// Of Opus, at the most.
    pub bitrate_bps: u32,
    /// Of all that it sends.
    pub ceiling_bps: Option<u32>,
    /// Whether it codes as the path allows.
    pub adapts: bool,
    /// Whether Opus takes the place of PCM that the path does not carry.
    pub falls_back: bool,
}

impl Client {
    /// Stereo in 24 bits, packets of 5 ms: every sample that comes out can be read.
    pub fn l24() -> Self {
        Self::pcm(98, Format::l24(48_000, 2), TimeCode::FINE)
    }

    /// Half the work.
    pub fn l24_mono() -> Self {
        Self::pcm(101, Format::l24(48_000, 1), TimeCode::FINE)
    }

    pub fn l16() -> Self {
        Self::pcm(97, Format::l16(48_000, 2), TimeCode::L16)
    }

    /// As an original client: mono at 44.1 kHz in 16 bits, 441 frames at a time, no header.
    pub fn raw() -> Self {
        let format = Format { codec: Codec::Pcm(Encoding::S16Le), rate: 44_100, channels: 1 };
        let card = Card::new(1).rate(44_100).period(441);
        Self { raw: true, frames: 441, card, ..Self::pcm(0, format, TimeCode::L16) }
    }

    /// Music at 96 kb/s in packets of 5 ms, captured in mono.
    pub fn opus() -> Self {
        Self { card: Card::new(1), signal: Signal::Chirp, ..Self::pcm(96, Format::OPUS, TimeCode::FINE) }
    }

    fn pcm(payload_type: u8, format: Format, code: TimeCode) -> Self {
        Self {
            card: Card::new(format.channels.into()).rate(format.rate),
            format,
            payload_type,
            frames: format.rate as usize / 200,
            service: Service::Datagrams,
            live: false,
            raw: false,
            signal: Signal::Code(code),
            channel: 0,
            first: None,
            redundancy: Redundancy::Auto,
            application: opus::Application::Music,
            bitrate_bps: opus::Settings::default().bitrate_bps,
            ceiling_bps: None,
            adapts: true,
            falls_back: false,
        }
    }

    pub fn bitrate(self, bitrate_bps: u32) -> Self {
        Self { bitrate_bps, ..self }
    }

    /// Sends no more in all, and codes as well as that allows.
    pub fn ceiling(self, bits_per_second: u32) -> Self {
        Self { bitrate_bps: bits_per_second, ceiling_bps: Some(bits_per_second), ..self }
    }

    /// Speech in frames of 20 ms.
    pub fn voice(self) -> Self {
        Self { application: opus::Application::Voice, frames: 960, ..self }
    }

    pub fn card(self, card: Card) -> Self {
        Self { card, ..self }
    }

    pub fn frames(self, frames: usize) -> Self {
        Self { frames, ..self }
    }

    pub fn tcp(self) -> Self {
        Self { service: Service::Stream, ..self }
    }

    pub fn live_tcp(self) -> Self {
        Self { live: true, ..self.tcp() }
    }

    pub fn signal(self, signal: Signal) -> Self {
        Self { signal, ..self }
    }

    /// Speaks into this channel only.
    pub fn channel(self, channel: usize) -> Self {
        Self { channel, ..self }
    }

    /// What is lost is missing.
    pub fn fragile(self) -> Self {
        Self { redundancy: Redundancy::Off, ..self }
    }

    /// What is lost is made up for like this.
    pub fn redundancy(self, redundancy: Redundancy) -> Self {
        Self { redundancy, ..self }
    }

    /// Sends Opus where the path does not carry lossless sound.
    pub fn falls_back(self) -> Self {
        Self { falls_back: true, ..self }
    }

    /// Codes as it was told, whatever the path carries.
    pub fn rigid(self) -> Self {
        Self { adapts: false, ..self }
    }

    /// Begins with this sequence number and timestamp.
    pub fn first(self, sequence: u16, timestamp: u32) -> Self {
        Self { first: Some((sequence, timestamp)), ..self }
    }
}

/// A client that runs.
pub struct Running {
    client: Client,
    card: card::Running,
    rng: Rng,
    /// `None` while the process is gone; its card and its signal go on.
    process: Option<Process>,
    samples: Vec<f32>,
    packet: Vec<u8>,
    record: Vec<u8>,
    /// What has not come back whole.
    back: Deframer,
    /// Whether what is captured is thrown away.
    muted: bool,
}

/// What a restart makes anew.
struct Process {
    packetizer: Packetizer,
    sender: Sender,
    /// Of Opus.
    wish: Wish,
    /// As it is without a fallback: payload type, format and frames.
    lossless: (u8, Format, usize),
    fallback: Option<Fallback>,
    ssrc: u32,
    /// Sequence number and timestamp of the next packet.
    next: (u16, u32),
}

impl Running {
    pub fn new(client: Client, now: Instant, mut rng: Rng) -> Self {
        let card = client.card.capture(now, rng.fork());
        let random = (rng.number() as u16, rng.number() as u32);
        let process = Process::new(&client, rng.number() as u32, client.first.unwrap_or(random));
        let (samples, packet, record, back) = (Vec::new(), Vec::new(), Vec::new(), Deframer::default());
        Self { client, card, rng, process: Some(process), samples, packet, record, back, muted: false }
    }

    /// Starts the process anew, as a new source.
    pub fn restart(&mut self) {
        let ssrc = self.rng.number() as u32;
        self.restart_as(ssrc);
    }

    /// Starts the process anew as `ssrc`; where its packets count from is left to chance.
    pub fn restart_as(&mut self, ssrc: u32) {
        let first = (self.rng.number() as u16, self.rng.number() as u32);
        self.process = Some(Process::new(&self.client, ssrc, first));
        self.back = Deframer::default();
    }

    /// Goes on as the same source with another format: a new payload type in mid-stream.
    pub fn set_format(&mut self, payload_type: u8, format: Format, frames: usize) {
        self.client = Client { payload_type, format, frames, ..self.client };
        if let Some(Process { ssrc, next, .. }) = self.process {
            self.process = Some(Process::new(&self.client, ssrc, next));
        }
    }

    /// Goes on with the same sound in another format.
    pub fn recode(&mut self, payload_type: u8, format: Format, frames: usize) {
        if let Some(process) = &mut self.process {
            process.packetizer.set_format(format, frames).expect("a format that can be coded");
            let beside = Beside { format, application: process.wish.opus.application };
            process.sender.set_format(payload_type, format.rate, Some(beside));
        }
    }

    /// Ends the process without a word.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Ends the stream as Ctrl-C does; then the process is gone.
    pub fn finish(&mut self, now: Instant, mut transmit: impl FnMut(&[u8])) {
        if let Some(mut process) = self.process.take() {
            process.sender.finish();
            process.transmit(now, &self.client, &mut self.packet, &mut self.record, &mut transmit);
        }
    }

    pub fn set_period(&mut self, period: usize) {
        self.card.set_period(period);
    }

    /// The card's crystal is off by so much from now on.
    pub fn set_ppm(&mut self, now: Instant, ppm: f64) {
        self.card.set_ppm(now, ppm);
    }

    /// The card loses so many frames, and may say so.
    pub fn lose(&mut self, now: Instant, frames: u64, told: bool) {
        self.card.lose(now, frames);
        if let (Some(process), true) = (&mut self.process, told) {
            process.packetizer.skip(frames);
        }
    }

    /// Says nothing for a while, or speaks again: media time goes on, packets do not.
    pub fn mute(&mut self, muted: bool) {
        self.muted = muted;
    }

    /// Takes what came back from the server: a datagram, or the next bytes of the stream. Gives away
    /// what that asks for.
    pub fn handle_bytes(&mut self, now: Instant, bytes: &[u8], mut transmit: impl FnMut(&[u8])) {
        let Some(process) = &mut self.process else { return };
        match self.client.service {
            Service::Datagrams => process.sender.handle_packet(now, bytes),
            Service::Stream => {
                self.back.handle_bytes(bytes);
                while let Some(packet) = self.back.poll_packet() {
                    process.sender.handle_packet(now, packet);
                }
            }
        }
        if self.client.adapts {
            process.adapt(now);
        }
        process.transmit(now, &self.client, &mut self.packet, &mut self.record, &mut transmit);
    }

    /// Captures what is due and gives away what is to be sent.
    pub fn handle_timeout(&mut self, now: Instant, mut transmit: impl FnMut(&[u8])) {
        while let Some(block) = self.card.poll_block(now) {
            self.listen(block);
            let captured = Instant::from_nanos(self.card.clock.heard_nanos(block.first as f64) as u64);
            if let Some(process) = &mut self.process {
                if self.muted {
                    process.packetizer.pause(block.frames as u64);
                    process.sender.handle_time(now);
                    process.transmit(now, &self.client, &mut self.packet, &mut self.record, &mut transmit);
                    continue;
                }
                process.packetizer.push(captured, &self.samples);
                process.transmit(now, &self.client, &mut self.packet, &mut self.record, &mut transmit);
            }
        }
    }

    pub fn poll_timeout(&self) -> Instant {
        self.card.poll_timeout()
    }

    /// How long what it sends may wait.
    pub fn room(&self) -> Duration {
        self.process.as_ref().and_then(|process| process.sender.room()).unwrap_or_default()
    }

    pub fn microphone(&self) -> &Clock {
        &self.card.clock
    }

    pub fn ssrc(&self) -> Option<u32> {
        self.process.as_ref().map(|process| process.ssrc)
    }

    pub fn stats(&self) -> Option<sender::Stats> {
        self.process.as_ref().map(|process| process.sender.stats())
    }

    fn listen(&mut self, block: Block) {
        let Client { card, signal, channel, .. } = self.client;
        let channels = usize::from(card.channels);
        self.samples.clear();
        self.samples.resize(block.frames * channels, 0.0);
        let heard = if signal.is_wide() { 0..channels } else { channel..channel + 1 };
        for channel in heard {
            signal.listen(block.first, card.rate, channel, self.samples[channel..].iter_mut().step_by(channels));
        }
    }
}

impl Process {
    fn new(client: &Client, ssrc: u32, first: (u16, u32)) -> Self {
        let Client { card, format, payload_type, frames, raw, bitrate_bps, .. } = *client;
        let wish = Wish {
            opus: opus::Settings { bitrate_bps, application: client.application },
            frames,
            overhead_bytes: netem::HEADER_BYTES + packet::HEADER_BYTES,
        };
        let packetizer = Packetizer::new(packetizer::Config {
            rate: card.rate,
            channels: card.channels,
            format,
            frames,
            opus: wish.opus,
        });
        let mut sender = Sender::new(sender::Config {
            ssrc,
            first_sequence: first.0,
            first_timestamp: first.1,
            cname: "client".into(),
            wire: if raw { Wire::Raw } else { Wire::Rtp { payload_type } },
            rate: format.rate,
            beside: Some(Beside { format, application: client.application }),
            wall_epoch: Ntp(1 << 40),
        });
        sender.set_redundancy(match (client.service, client.redundancy) {
            (Service::Datagrams, redundancy) | (_, redundancy @ Redundancy::Fixed(_)) => redundancy,
            (Service::Stream, _) => Redundancy::Off, // loses nothing
        });
        sender.set_overhead(netem::HEADER_BYTES);
        sender.set_full_bps(wish.full_bps(format));
        sender.set_ceiling_bps(client.ceiling_bps.map(f64::from));
        let lossless = (payload_type, format, frames);
        let fallback = client.falls_back.then(|| Fallback::new(Instant::default()));
        let packetizer = packetizer.expect("a format that can be coded");
        Self { packetizer, sender, wish, lossless, fallback, ssrc, next: first }
    }

    /// Codes as the path allows.
    fn adapt(&mut self, now: Instant) {
        if let Some(fallback) = &mut self.fallback {
            let lossless = fallback.handle(now, self.sender.budget_bps().is_some());
            if lossless == self.packetizer.coding().is_some() {
                let coded = (96, Format::OPUS, 240);
                let (payload_type, format, frames) = if lossless { self.lossless } else { coded };
                self.packetizer.set_format(format, frames).expect("a format that can be coded");
                let beside = Beside { format, application: self.wish.opus.application };
                self.sender.set_format(payload_type, format.rate, Some(beside));
                self.wish.frames = frames;
                self.sender.set_full_bps(self.wish.full_bps(format));
            }
        }
        let Some(now) = self.packetizer.coding() else { return };
        let coding = self.wish.coding(now, self.sender.frames_bps());
        self.packetizer.set_coding(coding).expect("a coding that Opus takes");
    }

    fn transmit(
        &mut self,
        now: Instant,
        client: &Client,
        packet: &mut Vec<u8>,
        record: &mut Vec<u8>,
        transmit: &mut impl FnMut(&[u8]),
    ) {
        loop {
            self.packetizer.set_copies(self.sender.copies()).expect("copies that can be coded");
            let frame = self.packetizer.poll().expect("a frame that the codec takes");
            let more = frame.is_some();
            if let Some(frame) = &frame {
                self.sender.handle_frame(now, frame);
                self.next = (self.next.0.wrapping_add(1), self.next.1.wrapping_add(frame.frames as u32));
            }
            while self.sender.poll_transmit(now, packet) {
                match (client.service, client.raw) {
                    (Service::Stream, false) => {
                        record.clear();
                        framing::frame(packet, record);
                        transmit(record);
                    }
                    _ => transmit(packet),
                }
            }
            if !more {
                return;
            }
        }
    }
}
