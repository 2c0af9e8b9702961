//! One client's stream on the server: its receiver, its voice in the mixer, the way back to it.

use std::net::SocketAddr;
use std::time::Duration;

use audiostreamer_core::mixer::{Change, Voice, VoiceHandle};
use audiostreamer_core::packet::Rtp;
use audiostreamer_core::raw::RawReceiver;
use audiostreamer_core::receiver::{self, Output as Received};
use audiostreamer_core::{Error, Format, Instant, PayloadTypes, Playout, Receiver, playout};

use super::control::StreamId;
use super::peer::Peer;
use super::stats::StreamStatus;
use super::{FRAMES_MAX, Output};
use crate::link::{SharedLink, canonical};
use crate::recording::{Packet, PacketRecorder, Recorders};
use crate::volume::Volume;

/// One source of one peer.
pub(super) struct Stream {
    pub id: StreamId,
    pub peer: Peer,
    /// The RTP source; raw streams have none.
    pub source: Option<u32>,
    pub volume: Volume,
    inbound: Inbound,
    back: Option<SharedLink>,
    /// Set by the first run: from then on the stream counts as a client.
    format: Option<Format>,
    voice: Option<VoiceHandle>,
    /// Why no more will come; what has come is still being played.
    ending: Option<&'static str>,
    /// There was no room for a run of this format: its packets are dropped until there is.
    refused: Option<Format>,
    created: Instant,
    pub recorders: Option<Recorders>,
    recorder: Option<PacketRecorder>,
    /// Of voices that have ended, and of the present one as last heard.
    concealed: Duration,
    playout: playout::Stats,
    units_dropped: u64,
    peak: f32,
}

enum Inbound {
    Rtp(Box<Receiver>),
    Raw(RawReceiver),
}

/// What the server has to know of.
pub(super) enum Event {
    Started(Format),
    Refused,
    Ended,
}

impl Stream {
    pub fn rtp(
        now: Instant,
        peer: Peer,
        source: u32,
        back: SharedLink,
        (ssrc, cname): (u32, &str),
        types: PayloadTypes,
    ) -> Self {
        let receiver = Receiver::new(now, ssrc, cname, source, types);
        Self::new(now, peer, Some(source), Inbound::Rtp(Box::new(receiver)), Some(back))
    }

    /// `None` where the format is not PCM.
    pub fn raw(now: Instant, peer: Peer, format: Format) -> Option<Self> {
        Some(Self::new(now, peer, None, Inbound::Raw(RawReceiver::new(format)?), None))
    }

    fn new(created: Instant, peer: Peer, source: Option<u32>, inbound: Inbound, back: Option<SharedLink>) -> Self {
        Self {
            id: StreamId::default(),
            peer,
            source,
            volume: Volume::default(),
            inbound,
            back,
            format: None,
            voice: None,
            ending: None,
            refused: None,
            created,
            recorders: None,
            recorder: None,
            concealed: Duration::ZERO,
            playout: playout::Stats::default(),
            units_dropped: 0,
            peak: 0.0,
        }
    }

    pub fn handle_rtp(&mut self, now: Instant, rtp: &Rtp<'_>) {
        if let Inbound::Rtp(receiver) = &mut self.inbound {
            receiver.handle_rtp(now, rtp);
        }
    }

    pub fn handle_rtcp(&mut self, now: Instant, bytes: &[u8]) {
        if let Inbound::Rtp(receiver) = &mut self.inbound {
            receiver.handle_rtcp(now, bytes);
        }
    }

    pub fn handle_raw_datagram(&mut self, now: Instant, bytes: &[u8]) {
        if let Inbound::Raw(receiver) = &mut self.inbound {
            receiver.handle_datagram(now, bytes);
        }
    }

    pub fn handle_raw_stream(&mut self, now: Instant, bytes: &[u8]) {
        if let Inbound::Raw(receiver) = &mut self.inbound {
            receiver.handle_stream(now, bytes);
        }
    }

    /// Passes on what the receiver has made of the last packet. `room` says whether one more
    /// client may play.
    pub fn play_outputs(&mut self, mut output: Option<&mut Output>, room: bool) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(received) = self.poll_output() {
            let begins = match &received {
                Received::Start(format) => Some(*format),
                Received::Unit(_) => self.refused.filter(|_| room),
                Received::End => None, // there is nothing left to begin with
            };
            if let Some(format) = begins {
                events.push(self.begin(format, output.as_deref_mut(), room));
            }
            match received {
                Received::Start(_) => {}
                Received::Unit(unit) => self.send_to_voice(unit),
                Received::End => events.push(Event::Ended),
            }
        }
        events
    }

    fn begin(&mut self, format: Format, output: Option<&mut Output>, room: bool) -> Event {
        tracing::debug!(peer = %self.peer.address(), source = self.source, %format, room, "a run begins");
        if !room && !self.is_proved() {
            self.refused = Some(format);
            return Event::Refused;
        }
        self.refused = None;
        self.ending = None;
        self.end_voice();
        self.format = Some(format);
        let whose = || format!("client {}", self.address());
        self.recorder = self.recorders.as_ref().and_then(|recorders| recorders.of_packets(format, Some(whose())));
        self.reopen(output);
        Event::Started(format)
    }

    /// Gives the stream a voice on a card that was opened (again).
    pub fn reopen(&mut self, output: Option<&mut Output>) {
        let (Some(format), Some(output)) = (self.format, output) else { return };
        if let Ok((handle, voice)) = voice(format, output, self.volume)
            && output.mixer.add(voice).is_ok()
        {
            self.end_voice();
            self.voice = Some(handle);
        }
    }

    /// Plays on with another volume, or as the output now wants it.
    pub fn change(&mut self, output: &Output) {
        let &Output { latency, profile, .. } = output;
        if let Some(voice) = &mut self.voice {
            voice.change(Change { latency, profile, gain: self.volume.factor() });
        }
    }

    /// When there will be something to send.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.inbound {
            Inbound::Rtp(receiver) if self.back.is_some() => receiver.poll_timeout(),
            _ => None,
        }
    }

    /// Sends the reports that are due.
    pub fn transmit(&mut self, now: Instant, packet: &mut Vec<u8>) {
        let Inbound::Rtp(receiver) = &mut self.inbound else { return };
        let Some(mut link) = self.back.as_ref().and_then(|link| link.lock().ok()) else { return };
        while receiver.poll_transmit(now, packet) {
            let _ = link.send(packet); // a client that is gone will fall silent
        }
    }

    pub fn say_goodbye(&mut self, now: Instant, packet: &mut Vec<u8>) {
        if let Inbound::Rtp(receiver) = &mut self.inbound {
            receiver.close();
        }
        self.transmit(now, packet);
    }

    /// No more will come: lets the voice play what it has. Only the first reason counts.
    pub fn finish(&mut self, why: &'static str) {
        self.ending.get_or_insert(why);
        if let Some(voice) = &mut self.voice {
            voice.finish();
        }
    }

    /// Why it has ended, once all that came has been played.
    pub fn has_ended(&self) -> Option<&'static str> {
        self.ending.filter(|_| self.voice.as_ref().is_none_or(VoiceHandle::is_ended))
    }

    /// Takes back what the callback has sent: used payloads and statistics.
    pub fn collect(&mut self) {
        let Some(voice) = &mut self.voice else { return };
        while let Some(payload) = voice.reclaim() {
            if let Inbound::Rtp(receiver) = &mut self.inbound {
                receiver.recycle(payload);
            }
        }
        self.playout = voice.stats();
        if let Inbound::Rtp(receiver) = &mut self.inbound {
            receiver.set_room(self.playout.room);
        }
        self.peak = self.peak.max(self.playout.peak);
    }

    /// Whether it has shown itself to be a stream, and plays.
    pub fn is_proved(&self) -> bool {
        self.format.is_some()
    }

    /// The client has come back over another connection: its stream goes on as if nothing had been.
    pub fn go_on_with(&mut self, peer: Peer, back: SharedLink) {
        tracing::debug!(before = ?self.peer, now = ?peer, "a stream has moved");
        self.peer = peer;
        self.back = Some(back);
    }

    /// From where it comes now: a QUIC connection may have moved since it was made.
    pub fn address(&self) -> SocketAddr {
        let link = self.back.as_ref().and_then(|link| link.lock().ok());
        let moved = link.and_then(|link| link.quic().map(quinn::Connection::remote_address));
        moved.map_or(self.peer.address(), canonical)
    }

    pub fn last_heard(&self) -> Instant {
        match &self.inbound {
            Inbound::Rtp(receiver) => receiver.last_heard(),
            Inbound::Raw(receiver) => receiver.last_heard().unwrap_or(self.created),
        }
    }

    pub fn received(&self) -> receiver::Stats {
        match &self.inbound {
            Inbound::Rtp(receiver) => receiver.stats(),
            Inbound::Raw(receiver) => {
                let (packets_received, bytes_received) = receiver.received();
                receiver::Stats { packets_received, bytes_received, ..receiver::Stats::default() }
            }
        }
    }

    pub fn packets_refused(&self) -> u64 {
        self.received().packets_refused + self.units_dropped
    }

    /// Sound made up for what was missing, over all voices.
    pub fn concealed(&self) -> Duration {
        self.concealed + self.concealed_now()
    }

    /// `None` before it has proved to be a stream.
    pub fn status(&mut self) -> Option<StreamStatus> {
        Some(StreamStatus {
            id: self.id,
            peer: self.address(),
            transport: self.peer.transport(),
            encrypted: self.peer.is_encrypted(),
            format: self.format?,
            volume: self.volume,
            peak: std::mem::take(&mut self.peak),
            received: self.received(),
            playout: self.playout,
            concealed: self.concealed(),
        })
    }

    fn concealed_now(&self) -> Duration {
        let rate = self.format.map_or(1, |format| format.rate);
        audiostreamer_core::duration_of(self.playout.concealed_samples, rate)
    }

    fn poll_output(&mut self) -> Option<Received> {
        match &mut self.inbound {
            Inbound::Rtp(receiver) => receiver.poll_output(),
            Inbound::Raw(receiver) => receiver.poll_output(),
        }
    }

    fn send_to_voice(&mut self, unit: playout::Unit) {
        if let Some(recorder) = &self.recorder {
            let &playout::Unit { time, frames, arrived, .. } = &unit;
            recorder.record(Packet { time, frames, at: arrived, payload: unit.payload.clone() });
        }
        match &mut self.voice {
            Some(voice) => {
                if voice.send(unit).is_err() {
                    self.units_dropped += 1; // the card has stopped asking
                }
            }
            None => self.units_dropped += 1,
        }
    }

    /// Lets the voice play what it has and end.
    fn end_voice(&mut self) {
        self.collect();
        self.concealed += self.concealed_now();
        self.playout = playout::Stats::default();
        self.voice = None;
    }
}

fn voice(format: Format, output: &Output, volume: Volume) -> Result<(VoiceHandle, Box<Voice>), Error> {
    let config = playout::Config {
        latency: output.latency,
        profile: output.profile,
        rate: output.shape.rate,
        channels: output.shape.channels,
        frames_max: FRAMES_MAX,
    };
    Ok(Voice::new(Playout::new(format, config)?, volume.factor()))
}

#[cfg(test)]
mod tests {
    use audiostreamer_core::rtcp::Outgoing;

    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000);
    const SOURCE: u32 = 7;

    fn stream() -> Stream {
        let receiver = Receiver::new(START, 1, "server", SOURCE, PayloadTypes::default());
        let peer = Peer::Udp(([127, 0, 0, 1], 5004).into());
        Stream::new(START, peer, Some(SOURCE), Inbound::Rtp(Box::new(receiver)), None)
    }

    /// The packet with that number, of L16 in mono (RFC 3551); what the server hears of it.
    fn send(stream: &mut Stream, number: u16, room: bool) -> Vec<Event> {
        let timestamp = u32::from(number) * 441;
        let payload = [0; 882];
        stream
            .handle_rtp(START, &Rtp { ssrc: SOURCE, payload_type: 11, sequence: number, timestamp, payload: &payload });
        stream.play_outputs(None, room)
    }

    fn say_bye(stream: &mut Stream, room: bool) -> Vec<Event> {
        let mut bye = Vec::new();
        Outgoing { ssrc: SOURCE, cname: "client", bye: true, ..Outgoing::default() }.write(&mut bye);
        stream.handle_rtcp(START, &bye);
        stream.play_outputs(None, room)
    }

    #[test]
    fn a_refused_stream_begins_when_there_is_room() {
        let mut stream = stream();
        assert!(send(&mut stream, 0, false).is_empty(), "one packet is no stream");
        assert!(matches!(send(&mut stream, 1, false)[..], [Event::Refused]));
        assert!(matches!(send(&mut stream, 2, true)[..], [Event::Started(_)]));
        assert!(stream.is_proved());
    }

    #[test]
    fn a_refused_stream_does_not_begin_with_its_last_word() {
        let mut stream = stream();
        (0..3).for_each(|number| drop(send(&mut stream, number, false)));
        assert!(matches!(say_bye(&mut stream, true)[..], [Event::Ended]));
        assert!(!stream.is_proved());
    }
}
