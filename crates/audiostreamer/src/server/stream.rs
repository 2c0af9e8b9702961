//! One client's stream on the server: its receiver, its voice in the mixer, the way back to it.

use std::net::SocketAddr;
use std::time::Duration;

use audiostreamer_core::mixer::{Change, Voice, VoiceHandle};
use audiostreamer_core::packet::Rtp;
use audiostreamer_core::playout::Origin;
use audiostreamer_core::raw::RawReceiver;
use audiostreamer_core::receiver::{self, Output as Received};
use audiostreamer_core::trace::Record;
use audiostreamer_core::{Error, Format, Instant, PayloadTypes, Playout, Receiver, playout};

use super::control::StreamId;
use super::peer::Peer;
use super::stats::StreamStatus;
use super::{FRAMES_MAX, Output, Watchers};
use crate::clock;
use crate::link::{SharedLink, canonical};
use crate::recording::{Packet, PacketRecorder};
use crate::volume::Volume;

/// One source of one client.
pub(super) struct Stream {
    pub id: StreamId,
    /// Over which we answer.
    way: Way,
    /// Over which it comes as well, or has come of late.
    other_ways: Vec<Way>,
    /// The RTP source; raw streams have none.
    pub source: Option<u32>,
    pub volume: Volume,
    inbound: Inbound,
    /// Set by the first run: from then on the stream counts as a client.
    format: Option<Format>,
    voice: Option<VoiceHandle>,
    /// Why no more will come; what has come is still being played.
    ending: Option<&'static str>,
    /// There was no room for a run of this format: its packets are dropped until there is.
    refused: Option<Format>,
    created: Instant,
    pub watchers: Watchers,
    recorder: Option<PacketRecorder>,
    /// Of voices that have ended, and of the present one as last heard.
    concealed: Duration,
    playout: playout::Stats,
    units_dropped: u64,
    peak: f32,
}

/// A connection over which a stream comes.
struct Way {
    peer: Peer,
    back: Option<SharedLink>,
    heard: Instant,
}

/// A client has one way, two where it sends everything twice, and the last ones for a moment more when it
/// moves.
const OTHER_WAYS_MAX: usize = 3;

/// Where nothing has come over a way for so long, we answer over another one that something comes over.
const WAY_SILENT: Duration = Duration::from_millis(100);

/// What has come over a way longer ago than this says nothing of the next moment.
const WAY_FORGOTTEN: Duration = Duration::from_secs(1);

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
            way: Way { peer, back, heard: created },
            other_ways: Vec::new(),
            source,
            volume: Volume::default(),
            inbound,
            format: None,
            voice: None,
            ending: None,
            refused: None,
            created,
            watchers: Watchers::default(),
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
        tracing::debug!(peer = %self.way.peer.address(), source = self.source, %format, room, "a run begins");
        if !room && !self.is_proved() {
            self.refused = Some(format);
            return Event::Refused;
        }
        self.refused = None;
        self.ending = None;
        self.collect();
        // A run that follows another one begins where that one ends.
        let delay = self.voice.as_ref().map_or(Duration::ZERO, |_| self.playout.target_delay);
        self.end_voice();
        self.format = Some(format);
        let whose = || format!("client {}", self.address());
        let recorders = self.watchers.recorders.as_ref();
        self.recorder = recorders.and_then(|recorders| recorders.of_packets(format, Some(whose())));
        let (latency, profile) = output.as_ref().map_or_else(Default::default, |out| (out.latency, out.profile));
        self.trace(clock::now(), Record::Start { stream: self.id.0, format, latency, profile });
        self.open(output, delay);
        Event::Started(format)
    }

    /// Gives the stream a voice on a card that was opened (again).
    pub fn reopen(&mut self, output: Option<&mut Output>) {
        self.open(output, Duration::ZERO);
    }

    fn open(&mut self, output: Option<&mut Output>, delay: Duration) {
        let (Some(format), Some(output)) = (self.format, output) else { return };
        if let Ok((handle, voice)) = voice(format, output, self.volume, delay)
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
            Inbound::Rtp(receiver) if self.way.back.is_some() => receiver.poll_timeout(),
            _ => None,
        }
    }

    /// Sends the reports that are due.
    pub fn transmit(&mut self, now: Instant, packet: &mut Vec<u8>) {
        let Inbound::Rtp(receiver) = &mut self.inbound else { return };
        let Some(mut link) = self.way.back.as_ref().and_then(|link| link.lock().ok()) else { return };
        while receiver.poll_transmit(now, packet) {
            let _ = link.send(packet); // a client that is gone will fall silent
        }
        let _ = link.flush();
    }

    pub fn say_goodbye(&mut self, now: Instant, packet: &mut Vec<u8>) {
        if let Inbound::Rtp(receiver) = &mut self.inbound {
            receiver.close();
        }
        self.transmit(now, packet);
    }

    /// No more will come: lets the voice play what it has. Only the first reason counts.
    pub fn finish(&mut self, why: &'static str) {
        if self.ending.is_none() {
            self.trace(clock::now(), Record::End { stream: self.id.0 });
        }
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
        if self.playout.playing {
            self.trace(clock::now(), Record::Played { stream: self.id.0, decisions: (&self.playout).into() });
        }
    }

    /// Whether it has shown itself to be a stream, and plays.
    pub fn is_proved(&self) -> bool {
        self.format.is_some()
    }

    /// Takes note that something has come over that connection. Over a new one the client has come back, or
    /// sends everything once more: its stream goes on as if nothing had been.
    pub fn handle_way(&mut self, now: Instant, peer: Peer, link: impl FnOnce() -> Option<SharedLink>) {
        if let Inbound::Rtp(receiver) = &mut self.inbound {
            receiver.set_way(peer.number());
        }
        if self.way.peer == peer {
            self.way.heard = now;
            return;
        }
        if let Some(known) = self.other_ways.iter_mut().find(|way| way.peer == peer) {
            known.heard = now;
            if now - self.way.heard > WAY_SILENT {
                std::mem::swap(&mut self.way, known);
            }
            return;
        }
        if peer.succeeds(&self.way.peer)
            && let back @ Some(_) = link()
        {
            tracing::debug!(before = ?self.way.peer, now = ?peer, "a stream comes another way");
            let before = std::mem::replace(&mut self.way, Way { peer, back, heard: now });
            self.other_ways.push(before);
            let surplus = self.other_ways.len().saturating_sub(OTHER_WAYS_MAX);
            self.other_ways.drain(..surplus);
        }
    }

    /// A connection has ended. Whether the stream goes on over another one.
    pub fn lose_way(&mut self, now: Instant, peer: &Peer) -> bool {
        self.other_ways.retain(|way| way.peer != *peer);
        if self.way.peer != *peer {
            return true;
        }
        let newest = self.other_ways.iter().enumerate().max_by_key(|(_, way)| way.heard);
        match newest.filter(|(_, way)| now - way.heard < WAY_FORGOTTEN).map(|(index, _)| index) {
            Some(index) => {
                self.way = self.other_ways.swap_remove(index);
                true
            }
            None => false,
        }
    }

    /// Who sends it, over the connection on which we answer.
    pub fn peer(&self) -> Peer {
        self.way.peer
    }

    /// Whether it comes over that connection.
    pub fn comes_over(&self, peer: &Peer) -> bool {
        self.way.peer == *peer || self.other_ways.iter().any(|way| way.peer == *peer)
    }

    /// The way to whoever sends it.
    pub fn back(&self) -> Option<&SharedLink> {
        self.way.back.as_ref()
    }

    /// From where it comes now: a QUIC connection may have moved since it was made.
    pub fn address(&self) -> SocketAddr {
        let link = self.way.back.as_ref().and_then(|link| link.lock().ok());
        let moved = link.and_then(|link| link.quic().map(quinn::Connection::remote_address));
        moved.map_or(self.way.peer.address(), canonical)
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
            transport: self.way.peer.transport(),
            encrypted: self.way.peer.is_encrypted(),
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

    fn trace(&self, at: Instant, record: Record) {
        self.watchers.tracer.iter().for_each(|tracer| tracer.trace(at, record));
    }

    fn poll_output(&mut self) -> Option<Received> {
        match &mut self.inbound {
            Inbound::Rtp(receiver) => receiver.poll_output(),
            Inbound::Raw(receiver) => receiver.poll_output(),
        }
    }

    fn send_to_voice(&mut self, unit: playout::Unit) {
        let &playout::Unit { time, frames, arrived, origin, .. } = &unit;
        let bytes = unit.payload.len() as u32;
        self.trace(arrived, Record::Unit { stream: self.id.0, time, frames, bytes, origin });
        if let Some(recorder) = &self.recorder
            && origin != Origin::Copy
        {
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

/// A voice of the mixer, that begins with that delay.
fn voice(format: Format, output: &Output, volume: Volume, delay: Duration) -> Result<(VoiceHandle, Box<Voice>), Error> {
    let config = playout::Config {
        latency: output.latency,
        profile: output.profile,
        rate: output.shape.rate,
        channels: output.shape.channels,
        frames_max: FRAMES_MAX,
    };
    let mut playout = Playout::new(format, config)?;
    playout.start_from(delay);
    Ok(Voice::new(playout, volume.factor()))
}

#[cfg(test)]
mod tests {
    use audiostreamer_core::rtcp::Outgoing;

    use super::*;

    const START: Instant = Instant::from_nanos(1_000_000_000);
    const SOURCE: u32 = 7;

    /// Leads nowhere.
    fn link() -> SharedLink {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _guard = runtime.enter();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = std::sync::Arc::new(crate::link::Datagrams::new(socket).unwrap());
        let peer = ([127, 0, 0, 1], 5004).into();
        crate::link::shared(crate::link::Link::Udp { socket, peer })
    }

    fn stream() -> Stream {
        let receiver = Receiver::new(START, 1, "server", SOURCE, PayloadTypes::default());
        let peer = Peer::Udp(([127, 0, 0, 1], 5004).into());
        Stream::new(START, peer, Some(SOURCE), Inbound::Rtp(Box::new(receiver)), None)
    }

    /// The packet with that number, of L16 in mono (RFC 3551); what the server hears of it.
    fn send(stream: &mut Stream, number: u16, room: bool) -> Vec<Event> {
        let timestamp = u32::from(number) * 441;
        let payload = [0; 882];
        stream.handle_rtp(
            START,
            &Rtp { ssrc: SOURCE, payload_type: 11, sequence: number, timestamp, marker: false, payload: &payload },
        );
        stream.play_outputs(None, room)
    }

    fn say_bye(stream: &mut Stream, room: bool) -> Vec<Event> {
        let mut bye = Vec::new();
        Outgoing { ssrc: SOURCE, cname: "client", bye: true, ..Outgoing::default() }.write(&mut bye);
        stream.handle_rtcp(START, &bye);
        stream.play_outputs(None, room)
    }

    /// A client's connection of that number.
    fn connection(id: u64) -> (Peer, Option<SharedLink>) {
        let address = ([127, 0, 0, 1], 5004).into();
        let key = Some(crate::trust::Fingerprint::of(b"key"));
        (Peer::Connection { id, address, transport: crate::link::Transport::Udp, key }, Some(link()))
    }

    #[test]
    fn a_stream_goes_on_while_one_of_its_ways_is_left() {
        let at = |millis| START + Duration::from_millis(millis);
        let mut stream = stream();
        let [(one, back), (two, _)] = [connection(1), connection(2)];
        stream.way = Way { peer: one, back, heard: at(0) };
        stream.handle_way(at(5), two, || connection(2).1);
        assert_eq!(stream.peer(), two, "who moves is answered where he is now");
        stream.handle_way(at(50), one, || unreachable!("it is known"));
        assert_eq!(stream.peer(), two);
        stream.handle_way(at(110), one, || unreachable!("it is known"));
        assert_eq!(stream.peer(), one, "nothing has come the other way for too long");
        assert!(stream.comes_over(&two));
        stream.handle_way(at(115), two, || unreachable!("it is known"));
        assert!(stream.lose_way(at(120), &one));
        assert_eq!(stream.peer(), two);
        assert!(!stream.lose_way(at(120), &two), "there is none left");
    }

    #[test]
    fn a_way_that_was_given_up_long_ago_does_not_keep_a_stream() {
        let mut stream = stream();
        let (one, back) = connection(1);
        stream.way = Way { peer: one, back, heard: START };
        let (two, _) = connection(2);
        stream.handle_way(START, two, || connection(2).1);
        stream.handle_way(START + Duration::from_secs(5), two, || unreachable!("it is known"));
        assert!(!stream.lose_way(START + Duration::from_secs(5), &two));
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
