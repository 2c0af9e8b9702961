//! The server: whatever arrives on one port, mixed into one sink.
//!
//! Two threads beside the runtime's: the sink's own, whose callback is the mixer, and nothing
//! else. The runtime reads the sockets, turns packets into units and sends them to the callback;
//! one loop owns all state.

mod admission;
mod config;
mod connections;
mod control;
mod greeting;
mod output;
mod peer;
mod quic;
mod stats;
mod stream;
mod talkback;
mod trace;
mod udp;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use audiostreamer_core::packet::Packet;
use audiostreamer_core::rtcp::Outgoing;
use audiostreamer_core::{Format, Instant};
use tokio::sync::mpsc::{Receiver, channel, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::clock;
use crate::device::Xruns;
use crate::discovery::Announcement;
use crate::error::Error;
use crate::link::{SharedLink, Transport, canonical, mismatch};
use crate::recording::{Recorders, Recording};
use crate::report::{Event, Report};
use crate::trust::Admission;
use crate::volume::Volume;
use connections::{ConnectionEvent, Connections, open_ports};
use output::{FRAMES_MAX, Output, Playing, start_sink};
pub(crate) use peer::Peer;
use stream::Stream;
use talkback::Talkback;
use trace::{Trace, Tracer};
use udp::UdpPort;

pub use admission::{Limits, Refusals};
pub use config::{Config, Encryption, WireFormat};
pub use control::{Command, Commands, Remote, StreamId};
pub use stats::{Counted, Status, StreamStatus};

/// A source that is not heard for so long has ended without saying so.
const SILENT_MAX: Duration = Duration::from_secs(10);
/// Bare PCM says nothing at its end, so that its end is silence.
const SILENT_MAX_RAW: Duration = Duration::from_secs(2);

/// Streams that were sent away, and clients that were made louder or quieter, are remembered: the last
/// so many.
const REMEMBERED_MAX: usize = 64;

/// Reports, statistics and timeouts are looked after so often.
const TICK: Duration = Duration::from_millis(100);

/// What is due sooner than this is due with the next packet.
const DUE_MIN: Duration = Duration::from_millis(1);

/// The list of who may play is looked at so often: whoever is revoked is shut out as soon.
const LOOK: Duration = Duration::from_secs(1);

/// Why a client that encrypts can't be played by a server that takes bare samples.
const RAW_ONLY: &str = "it encrypts, and --raw plays bare samples: start it with --raw, too, or this server without";

/// Listens and plays until `shutdown` completes, telling `report` what happens.
pub async fn run(
    config: Config,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<Counted, Error> {
    run_with(config, Commands::none(), report, shutdown).await
}

/// The same, and does what it is told meanwhile.
pub async fn run_with(
    config: Config,
    commands: Commands,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<Counted, Error> {
    let ports = open_ports(&config)?;
    let (_nobody, arrivals) = channel(1);
    play(config, ports, arrivals, commands, report, shutdown).await
}

/// A packet that has come over somebody else's link.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub peer: Peer,
    pub bytes: Vec<u8>,
    /// The way back.
    pub link: SharedLink,
}

/// Plays what comes over links that somebody else keeps, and listens nowhere.
pub(crate) async fn run_over_links(
    config: Config,
    arrivals: Receiver<Arrival>,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<Counted, Error> {
    let config = Config { udp: false, tcp: false, encryption: None, announce: false, ..config };
    let ports = open_ports(&config)?;
    play(config, ports, arrivals, Commands::none(), report, shutdown).await
}

async fn play(
    config: Config,
    (mut udp, mut connections, address): (UdpPort, Connections, SocketAddr),
    mut arrivals: Receiver<Arrival>,
    mut commands: Commands,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<Counted, Error> {
    let (sink_events, mut from_sink) = unbounded_channel();
    let xruns = Xruns::default();
    // Dropped after the sink, and so with all that was played.
    let recording = Recording::of(config.record.as_ref(), &report)?;
    let recorders = recording.as_ref().map(Recording::recorders);
    let trace = Trace::of(config.trace.as_deref(), &report)?;
    let watchers = Watchers { recorders, tracer: trace.as_ref().map(Trace::tracer) };
    let start_sink =
        |config: &Config| start_sink(config, (recording.as_ref(), trace.as_ref()), xruns.clone(), sink_events.clone());
    let mut sink = Some(start_sink(&config)?);
    let (stop_talking, stopped) = oneshot::channel::<()>();
    let (talkback, talking) = Talkback::start(config.duplex.clone(), report.clone(), async { drop(stopped.await) });
    let mut talking = Box::pin(talking);
    let mut server = Server::new(config, talkback, report, watchers, xruns.clone());
    server.say(Event::Listening { address, transports: server.transports() });
    let announcement = server.announce(address);

    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    let mut talks = true;
    let result = loop {
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            datagram = udp.receive() => server.handle_datagram(&udp, datagram),
            event = connections.next() => server.handle_connection(&mut connections, event),
            Some(Arrival { peer, bytes, link }) = arrivals.recv() => server.handle_packet(peer, &bytes, || Some(link)),
            command = commands.next() => server.handle_command(&mut connections, command),
            () = &mut talking, if talks => talks = false,
            event = from_sink.recv() => match server.handle_sink(event) {
                Ok(Playing::Goes) => {}
                Ok(Playing::Ended) => break Ok(()),
                Err(error) => break Err(error),
            },
            _ = tick.tick() => server.handle_tick(&mut connections),
            () = sleep(server.until_due()) => server.transmit_due(),
        }
        if sink.is_some() && server.releases_sink() {
            sink = None;
            server.handle_released();
        } else if sink.is_none() && server.wants_sink() {
            sink = server.opened(start_sink(&server.config));
        }
    };
    let _ = stop_talking.send(());
    if talks {
        talking.await; // says good-bye, and waits for nothing
    }
    server.say_goodbye();
    drop(announcement);
    server.refused_at_the_door = connections.refusals();
    connections.finish().await;
    drop(sink); // finishes a file
    let counted = server.counted();
    server.say(Event::Played(counted));
    result.map(|()| counted)
}

/// Who is told what comes, beside those who play it.
#[derive(Clone, Debug, Default)]
struct Watchers {
    pub recorders: Option<Recorders>,
    pub tracer: Option<Tracer>,
}

struct Server<R> {
    config: Config,
    talkback: Talkback,
    report: R,
    /// Our own name in reports.
    ssrc: u32,
    cname: String,
    output: Option<Output>,
    watchers: Watchers,
    xruns: Xruns,
    /// When a client last was here, or came.
    last_client: Instant,
    /// When it is tried again to open a card that was released and can't be opened.
    next_opening: Instant,
    streams: Vec<Stream>,
    next_stream: StreamId,
    /// How loud clients were made, the last so many: who comes back is as loud as he was.
    volumes: VecDeque<(Peer, Volume)>,
    /// Who was sent away and may go on sending, in the order in which that happened.
    kicked: VecDeque<(Peer, Option<u32>)>,
    /// What was turned away here, and at the door as last counted.
    refused: Refusals,
    refused_at_the_door: Refusals,
    ended: Counted,
    last_refused: Option<Peer>,
    /// When a rejection was last worth a line: strangers must not fill the log.
    last_rejected: Option<Instant>,
    /// When the list of who may play is looked at next.
    next_look: Instant,
    started: Instant,
    packet: Vec<u8>,
}

impl<R: Fn(Report)> Server<R> {
    fn new(config: Config, talkback: Talkback, report: R, watchers: Watchers, xruns: Xruns) -> Self {
        Self {
            config,
            talkback,
            report,
            ssrc: crate::random::u64() as u32,
            cname: crate::random::cname(),
            output: None,
            watchers,
            xruns,
            last_client: clock::now(),
            next_opening: clock::now(),
            streams: Vec::new(),
            next_stream: StreamId::default(),
            volumes: VecDeque::new(),
            kicked: VecDeque::new(),
            refused: Refusals::default(),
            refused_at_the_door: Refusals::default(),
            ended: Counted::default(),
            last_refused: None,
            last_rejected: None,
            next_look: clock::now(),
            started: clock::now(),
            packet: Vec::new(),
        }
    }

    /// Says on the local network that this server is there, where that is wanted and possible.
    fn announce(&self, address: SocketAddr) -> Option<Announcement> {
        let key = self.config.encryption.as_ref().filter(|_| self.config.announce)?.gate.own;
        let listens = |transport| match transport {
            Transport::Udp => self.config.udp,
            Transport::Tcp => self.config.tcp,
        };
        match Announcement::start(address, listens, key) {
            Ok(announcement) => {
                let name = announcement.as_ref()?.name().to_owned();
                self.say(Event::Announced { name });
                announcement
            }
            Err(error) => {
                tracing::debug!("this server is not announced: {error}");
                None
            }
        }
    }

    fn handle_datagram(&mut self, udp: &UdpPort, (bytes, address): (Vec<u8>, SocketAddr)) {
        let peer = Peer::Udp(address);
        let link = || udp.link(address);
        match self.config.wire {
            WireFormat::Raw(format) => {
                if let Some(answer) = mismatch::no_quic(&bytes).filter(|_| mismatch::is_quic_1(&bytes)) {
                    send(link(), &answer);
                    return self.say_rejected(peer.address(), Some(RAW_ONLY.into()));
                }
                if let Some(index) = self.raw_stream(peer, format) {
                    self.streams[index].handle_raw_datagram(clock::now(), &bytes);
                    self.play_outputs(index);
                }
            }
            WireFormat::Rtp(_) => self.handle_packet(peer, &bytes, link),
        }
    }

    fn handle_connection(&mut self, connections: &mut Connections, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Opened { peer, link, admission, duplex } => {
                self.last_client = clock::now(); // its sound will follow
                if let (Admission::Invited(name), Some(key)) = (admission, peer.key()) {
                    self.say(Event::ClientInvited { peer: peer.address(), name, key });
                }
                if duplex && self.config.duplex.is_some() {
                    self.talkback.handle_asked(peer, link);
                }
            }
            ConnectionEvent::Rejected { address, why } => self.say_rejected(canonical(address), why),
            ConnectionEvent::Bytes { peer, bytes } => match self.config.wire {
                WireFormat::Raw(format) => {
                    if let Some(index) = self.raw_stream(peer, format) {
                        self.streams[index].handle_raw_stream(clock::now(), &bytes);
                        self.play_outputs(index);
                    }
                }
                WireFormat::Rtp(_) => self.handle_packet(peer, &bytes, || connections.link(&peer)),
            },
            ConnectionEvent::Closed { peer } => {
                connections.close(&peer);
                self.talkback.close(&peer, |other| connections.link(other));
                self.finish_streams(&peer, "has closed the connection");
            }
        }
    }

    /// Tells our user that somebody knocked in vain, at most once a second.
    fn say_rejected(&mut self, peer: SocketAddr, why: Option<String>) {
        let now = clock::now();
        if let Some(why) = why
            && self.last_rejected.is_none_or(|last| now - last > Duration::from_secs(1))
        {
            self.last_rejected = Some(now);
            self.say(Event::ClientRejected { peer, why });
        }
    }

    /// No more will come from that connection.
    fn finish_streams(&mut self, peer: &Peer, why: &'static str) {
        let now = clock::now();
        let over_it = self.streams.iter_mut().filter(|stream| stream.comes_over(peer));
        over_it
            .filter_map(|stream| (!stream.lose_way(now, peer)).then_some(stream))
            .for_each(|stream| stream.finish(why));
    }

    /// Takes one packet: any bytes.
    fn handle_packet(&mut self, peer: Peer, bytes: &[u8], link: impl FnOnce() -> Option<SharedLink>) {
        let now = clock::now();
        match Packet::parse(bytes) {
            Some(Packet::Rtp(rtp)) => {
                if let Some(index) = self.rtp_stream(peer, rtp.ssrc, link) {
                    self.streams[index].handle_rtp(now, &rtp);
                    self.play_outputs(index);
                }
            }
            Some(Packet::Rtcp(rtcp)) => {
                self.talkback.handle_rtcp(&peer, rtcp);
                for index in (0..self.streams.len()).rev() {
                    if self.streams[index].peer().is_same_client(&peer) {
                        self.streams[index].handle_rtcp(now, rtcp);
                        self.play_outputs(index);
                    }
                }
                let listens = self.config.udp || self.config.tcp; // or it is no question to us
                if listens && !self.streams.iter().any(|stream| stream.peer().is_same_client(&peer)) {
                    self.answer_hello(rtcp, link);
                }
            }
            None => {
                self.refused.garbage += 1;
                if let Peer::Udp(_) = peer
                    && let Some(answer) = mismatch::no_quic(bytes)
                {
                    send(link(), &answer);
                }
            }
        }
    }

    /// A client asks whether anybody is there: an empty report says yes, in no more bytes than it
    /// took to ask.
    fn answer_hello(&mut self, hello: &[u8], link: impl FnOnce() -> Option<SharedLink>) {
        Outgoing { ssrc: self.ssrc, cname: &self.cname, ..Outgoing::default() }.write(&mut self.packet);
        if self.packet.len() <= hello.len() {
            send(link(), &self.packet);
        }
    }

    fn rtp_stream(&mut self, peer: Peer, ssrc: u32, link: impl FnOnce() -> Option<SharedLink>) -> Option<usize> {
        let is_it = |stream: &Stream| stream.peer().is_same_client(&peer) && stream.source == Some(ssrc);
        if let Some(known) = self.streams.iter().position(is_it) {
            self.streams[known].handle_way(clock::now(), peer, link);
            self.talk_over_the_way_of(known);
            return Some(known);
        }
        if self.is_kicked(&peer, Some(ssrc)) {
            self.refused.kicked += 1;
            return None;
        }
        let of_client = self.streams.iter().filter(|stream| stream.peer().is_same_client(&peer));
        if of_client.count() >= self.config.limits.streams_per_client {
            self.refused.streams += 1;
            return None;
        }
        let WireFormat::Rtp(types) = &self.config.wire else { return None };
        let types = (**types).clone();
        let stream = Stream::rtp(clock::now(), peer, ssrc, link()?, (self.ssrc, &self.cname), types);
        Some(self.add_stream(stream))
    }

    fn raw_stream(&mut self, peer: Peer, format: Format) -> Option<usize> {
        if self.is_kicked(&peer, None) {
            self.refused.kicked += 1;
            return None;
        }
        let known = self.streams.iter().position(|stream| stream.peer() == peer);
        known.or_else(|| Stream::raw(clock::now(), peer, format).map(|stream| self.add_stream(stream)))
    }

    /// Adds a stream that has yet to prove itself; the oldest such one makes room.
    fn add_stream(&mut self, mut stream: Stream) -> usize {
        self.next_stream.0 += 1;
        let known = self.volumes.iter().find(|(peer, _)| peer.is_same_client(&stream.peer()));
        let volume = known.map_or(Volume { gain: self.config.gain, muted: false }, |(_, volume)| *volume);
        (stream.id, stream.volume, stream.watchers) = (self.next_stream, volume, self.watchers.clone());
        let unproved = self.streams.iter().filter(|stream| !stream.is_proved());
        if unproved.count() >= self.config.limits.unproved_streams
            && let Some(oldest) = self.streams.iter().position(|stream| !stream.is_proved())
        {
            let stream = self.streams.remove(oldest);
            self.refused.unproved_streams += 1;
            self.refused.garbage += stream.packets_refused();
        }
        self.streams.push(stream);
        self.streams.len() - 1
    }

    fn play_outputs(&mut self, index: usize) {
        let playing = self.streams.iter().filter(|stream| stream.is_proved()).count();
        let room = playing < self.config.clients_max;
        let stream = &mut self.streams[index];
        let peer = stream.peer();
        for event in stream.play_outputs(self.output.as_mut(), room) {
            match event {
                stream::Event::Started(format) => {
                    self.last_client = clock::now();
                    let (peer, transport, encrypted) = (peer.address(), peer.transport(), peer.is_encrypted());
                    self.say(Event::ClientStarted { peer, transport, encrypted, format });
                }
                stream::Event::Refused if self.last_refused != Some(peer) => {
                    self.last_refused = Some(peer);
                    self.say(Event::ClientRefused { peer: peer.address(), limit: self.config.clients_max });
                }
                stream::Event::Refused => {}
                stream::Event::Ended => self.streams[index].finish("has ended"),
            }
        }
        self.transmit(index);
    }

    /// Sends what the stream's receiver has to say.
    fn transmit(&mut self, index: usize) {
        if let Some(stream) = self.streams.get_mut(index) {
            stream.transmit(clock::now(), &mut self.packet);
        }
    }

    /// How long until one of the receivers has something to say, if nothing comes; what is merely
    /// regular waits for the tick.
    fn until_due(&self) -> Duration {
        let now = clock::now();
        let due = self.streams.iter().filter_map(|stream| stream.poll_timeout()).min();
        due.map_or(TICK, |due| due - now).clamp(DUE_MIN, TICK)
    }

    fn transmit_due(&mut self) {
        (0..self.streams.len()).for_each(|index| self.transmit(index));
    }

    fn handle_tick(&mut self, connections: &mut Connections) {
        let now = clock::now();
        if let Some(output) = &mut self.output {
            output.mixer.free_retired();
        }
        for index in (0..self.streams.len()).rev() {
            self.transmit(index);
            let stream = &mut self.streams[index];
            stream.collect();
            let silent_max = match self.config.wire {
                WireFormat::Rtp(_) => SILENT_MAX,
                WireFormat::Raw(_) => SILENT_MAX_RAW,
            };
            if now - stream.last_heard() > silent_max {
                stream.finish("has fallen silent");
            }
            if let Some(why) = stream.has_ended() {
                self.end_stream(index, why);
            }
        }
        if self.config.duplex.is_some() && self.config.encryption.is_none() {
            self.talk_to_those_who_answer();
        }
        let plays = |peer: &Peer| self.streams.iter().any(|stream| stream.is_proved() && stream.comes_over(peer));
        for peer in connections.idle(now, SILENT_MAX, plays) {
            connections.close(&peer);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK;
            for peer in connections.close_revoked() {
                self.finish_streams(&peer, "has been shut out");
                self.say(Event::ClientRejected { peer: peer.address(), why: "its key has been revoked".into() });
            }
        }
        self.refused_at_the_door = connections.refusals();
        if self.streams.iter().any(Stream::is_proved) {
            self.last_client = now;
        }
        let status = self.status();
        (self.report)(Report::Server(status));
    }

    fn end_stream(&mut self, index: usize, why: &'static str) {
        let mut stream = self.streams.remove(index);
        if !stream.peer().is_encrypted() {
            self.talkback.close(&stream.peer(), |_| None);
        }
        stream.collect();
        self.ended.add(&stream);
        self.refused.garbage += stream.packets_refused();
        if stream.is_proved() {
            self.last_refused = None;
            self.say(Event::ClientEnded { peer: stream.address(), why });
        }
    }

    fn refusals(&self) -> Refusals {
        let Refusals { streams, unproved_streams, kicked, garbage, .. } = self.refused;
        let of_streams: u64 = self.streams.iter().map(Stream::packets_refused).sum();
        let garbage = garbage + of_streams + self.refused_at_the_door.garbage;
        Refusals { streams, unproved_streams, kicked, garbage, ..self.refused_at_the_door }
    }

    /// Tells every client that we end.
    fn say_goodbye(&mut self) {
        for stream in &mut self.streams {
            stream.say_goodbye(clock::now(), &mut self.packet);
        }
    }

    fn status(&mut self) -> Status {
        let levels = self.output.as_mut().map(|output| output.mixer.levels());
        let shape = self.output.as_ref().map(|output| output.shape);
        let streams = self.streams.iter_mut().filter_map(Stream::status).collect();
        let (xruns, refusals) = (self.xruns.count(), self.refusals());
        let &Config { latency, profile, .. } = &self.config;
        let talkback = self.talkback.status();
        Status { levels, shape, latency, profile, xruns, streams, refusals, talkback }
    }

    fn counted(&mut self) -> Counted {
        let mut counted = self.ended;
        for stream in &mut self.streams {
            stream.collect();
            counted.add(stream);
        }
        counted.refusals = self.refusals();
        counted.xruns = self.xruns.count();
        counted.duration = clock::now() - self.started;
        counted
    }

    fn transports(&self) -> &'static str {
        match (self.config.udp, self.config.tcp) {
            (true, true) => "udp, tcp",
            (true, false) => "udp",
            _ => "tcp",
        }
    }

    fn say(&self, event: Event) {
        (self.report)(Report::Event(event));
    }
}

/// Adds what is kept, and forgets the oldest where there is too much.
fn remember<T>(kept: &mut VecDeque<T>, new: T) {
    if kept.len() == REMEMBERED_MAX {
        kept.pop_front();
    }
    kept.push_back(new);
}

fn send(link: Option<SharedLink>, packet: &[u8]) {
    if let Some(link) = link
        && let Ok(mut link) = link.lock()
    {
        let _ = link.send(packet); // who asked has gone: so be it
    }
}
