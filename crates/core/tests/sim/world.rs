//! Clients, links and a server in virtual time: nothing happens but by the clock of the world.

use std::time::Duration;

use audiostreamer_core::packet::Packet;
use audiostreamer_core::{Budget, Instant, framing, playout, receiver, sender};

use crate::also::{Also, Share};
use crate::arrivals::{Arrival, Arrivals};
use crate::card::{Block, Clock};
use crate::client::{self, Client};
use crate::netem::{self, Link, Netem, Service};
use crate::observe::{Heard, Track};
use crate::recording::{Alignment, Fit, Recording};
use crate::rng::Rng;
use crate::server::{self, Server};
use crate::signal::Signal;
use crate::trace::Trace;

/// Everything, and the moment that it has reached.
///
/// Moves from one deadline to the next: of capture cards, links, reports, the playback card. What
/// is due at the same moment happens in that order. Says its seed when a test fails; set
/// `SIMULATION_SEED` to run with another.
pub struct World {
    now: Instant,
    seed: u64,
    rng: Rng,
    nodes: Vec<Node>,
    server: server::Running,
    trace: Trace,
    packet: Vec<u8>,
    record: Vec<u8>,
}

/// A client of a [`World`].
pub type Id = usize;

/// A client, both directions of its path, and who listens to it.
struct Node {
    client: client::Running,
    service: Service,
    forward: Link,
    also: Option<Also>,
    back: Link,
    arrivals: Arrivals,
    ear: Ear,
    channel: usize,
}

/// How what came out is looked at.
enum Ear {
    Track(Box<Track>),
    Recording(Recording),
}

impl World {
    pub fn new(server: Server) -> Self {
        let seed = std::env::var("SIMULATION_SEED").ok();
        Self::with_seed(seed.map_or(1, |seed| seed.parse().expect("SIMULATION_SEED is a number")), server)
    }

    pub fn with_seed(seed: u64, server: Server) -> Self {
        let now = Instant::from_nanos(0);
        let mut rng = Rng::new(seed);
        let server = server::Running::new(server, now, rng.fork());
        Self { now, seed, rng, nodes: Vec::new(), server, trace: Trace::new(), packet: Vec::new(), record: Vec::new() }
    }

    /// Adds a client whose path to the server is like that, and back without loss or jitter.
    pub fn add(&mut self, client: Client, netem: Netem) -> Id {
        let Client { service, channel, live, .. } = client;
        let mut node = Node {
            ear: match client.signal {
                Signal::Code(code) => {
                    let speaker = self.server.rate();
                    Ear::Track(Box::new(Track::new(code, f64::from(client.card.rate) / f64::from(speaker))))
                }
                signal => Ear::Recording(Recording::new(signal, client.card.rate, channel)),
            },
            arrivals: Arrivals::new(client.format.rate),
            client: client::Running::new(client, self.now, self.rng.fork()),
            service,
            also: None,
            back: Link::new(netem.way_back(), service, self.rng.fork()),
            forward: Link::new(netem, service, self.rng.fork()),
            channel,
        };
        if live {
            node.forward.go_live(self.now);
        }
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// Has a client send everything once more, over a path like that.
    pub fn send_also(&mut self, id: Id, netem: Netem) {
        let node = &mut self.nodes[id];
        let link = Link::new(netem, node.service, self.rng.fork());
        node.also = Some(Also::new(link, Share::Ways));
    }

    /// Has a client send over a second live connection, too, over a path of its own or its own path.
    pub fn stripe(&mut self, id: Id, share: Share, netem: Option<Netem>) {
        let (now, node, rng) = (self.now, &mut self.nodes[id], self.rng.fork());
        let mut link = match netem {
            Some(netem) => Link::new(netem, node.service, rng),
            None => node.forward.beside(rng),
        };
        link.go_live(now);
        node.also = Some(Also::new(link, share));
    }

    /// Changes that path under way.
    pub fn reroute_also(&mut self, id: Id, netem: Netem) {
        self.nodes[id].also.as_mut().expect("there is one").link.set(netem);
    }

    /// Lets so much time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let next = self.poll_timeout();
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            self.step();
        }
    }

    pub fn now(&self) -> Instant {
        self.now
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.now.as_nanos() as f64 * 1e-9
    }

    /// What was heard of a client that sends the time code.
    pub fn heard(&self, id: Id) -> &Heard {
        match &self.nodes[id].ear {
            Ear::Track(track) => track.heard(),
            Ear::Recording(_) => panic!("client {id} is recorded"),
        }
    }

    /// What was recorded of a client that sends the chirp.
    pub fn recording(&self, id: Id) -> &Recording {
        match &self.nodes[id].ear {
            Ear::Recording(recording) => recording,
            Ear::Track(_) => panic!("client {id} is not recorded"),
        }
    }

    /// Finds what was recorded of a client at a second in what it said.
    pub fn align(&self, id: Id, second: f64) -> Alignment {
        self.recording(id).align(second, self.server.speaker(), self.nodes[id].client.microphone())
    }

    /// As [`align`](Self::align), to a fraction of a frame, with what is left.
    pub fn fit(&self, id: Id, second: f64) -> Fit {
        self.recording(id).fit(second, self.server.speaker(), self.nodes[id].client.microphone())
    }

    /// A fingerprint of everything up to here.
    pub fn trace(&self) -> Trace {
        self.trace
    }

    pub fn counts(&self) -> server::Counts {
        self.server.counts()
    }

    pub fn server(&mut self) -> &mut server::Running {
        &mut self.server
    }

    /// What became of a client's packets on their way.
    pub fn carried(&self, id: Id) -> netem::Counts {
        self.nodes[id].forward.counts()
    }

    /// What a client's packets waited before a bottleneck; see [`Link::waited`].
    pub fn waited(&self, id: Id, second: f64, share: f64) -> f64 {
        self.nodes[id].forward.waited(second, share)
    }

    /// The same of those over its second link.
    pub fn carried_also(&self, id: Id) -> netem::Counts {
        self.nodes[id].also.as_ref().map(|also| also.link.counts()).unwrap_or_default()
    }

    /// What became of what the server sent to a client.
    pub fn carried_back(&self, id: Id) -> netem::Counts {
        self.nodes[id].back.counts()
    }

    /// Which of a client's packets came when, over datagrams.
    pub fn arrivals(&self, id: Id) -> &[Arrival] {
        self.nodes[id].arrivals.all()
    }

    pub fn received(&self, id: Id) -> receiver::Stats {
        self.server.received(id)
    }

    pub fn played(&self, id: Id) -> playout::Stats {
        self.server.played(id)
    }

    /// What is shown as the latency of a client, by stage.
    pub fn budget(&mut self, id: Id) -> Budget {
        self.server.budget(id)
    }

    /// What a client that runs knows of its stream.
    pub fn sent(&self, id: Id) -> sender::Stats {
        self.nodes[id].client.stats().expect("a client that runs")
    }

    pub fn client(&mut self, id: Id) -> &mut client::Running {
        &mut self.nodes[id].client
    }

    /// Changes a client's path under way.
    pub fn reroute(&mut self, id: Id, netem: Netem) {
        self.nodes[id].back.set(netem.way_back());
        self.nodes[id].forward.set(netem);
    }

    /// Holds up what a client sends from now on for so long.
    pub fn stall(&mut self, id: Id, length: Duration) {
        self.nodes[id].forward.stall(self.now, length);
    }

    /// Ends a client as Ctrl-C does.
    pub fn finish(&mut self, id: Id) {
        let Self { now, nodes, trace, .. } = self;
        let Node { client, forward, .. } = &mut nodes[id];
        client.finish(*now, |bytes| {
            trace.packet(*now, bytes);
            forward.handle_input(*now, bytes);
        });
    }

    /// Ends a client without a word; its connection, if it has one, closes.
    pub fn kill(&mut self, id: Id) {
        let node = &mut self.nodes[id];
        node.client.kill();
        if node.service == Service::Stream {
            node.forward.clear();
            node.back.clear();
            self.server.handle_close(id);
        }
    }

    /// Gives the server bytes as if they came from where a client is.
    pub fn inject(&mut self, id: Id, bytes: &[u8]) {
        match self.nodes[id].service {
            Service::Datagrams => self.server.handle_datagram(self.now, id, bytes),
            Service::Stream => self.server.handle_stream(self.now, id, bytes),
        }
    }

    fn poll_timeout(&self) -> Instant {
        let nodes = self.nodes.iter().flat_map(|node| {
            let links = [Some(&node.forward), Some(&node.back), node.also.as_ref().map(|also| &also.link)]
                .map(|link| link?.poll_timeout());
            links.into_iter().chain([Some(node.client.poll_timeout())])
        });
        nodes.flatten().fold(self.server.poll_timeout(), Instant::min)
    }

    fn step(&mut self) {
        let Self { now, nodes, server, trace, packet, record, .. } = self;
        let now = *now;
        for (id, Node { client, service, forward, also, back, arrivals, .. }) in nodes.iter_mut().enumerate() {
            client.handle_timeout(now, |bytes| {
                trace.packet(now, bytes);
                send(now, forward, also, bytes);
            });
            forward.handle_timeout(now);
            also.iter_mut().for_each(|also| also.link.handle_timeout(now));
            while let Some(bytes) = forward.poll_output(now) {
                trace.packet(now, &bytes);
                match service {
                    Service::Datagrams => {
                        arrivals.handle(now, &bytes);
                        server.handle_datagram(now, id, &bytes);
                    }
                    Service::Stream => server.handle_stream(now, id, &bytes),
                }
            }
            while let Some((share, bytes)) =
                also.as_mut().and_then(|also| Some((also.share, also.link.poll_output(now)?)))
            {
                trace.packet(now, &bytes);
                match share {
                    Share::Ways => server.handle_datagram_over(now, 1, id, &bytes),
                    _ => server.handle_stream_beside(now, id, &bytes),
                }
            }
            while let Some(bytes) = back.poll_output(now) {
                client.handle_bytes(now, &bytes, |bytes| {
                    trace.packet(now, bytes);
                    send(now, forward, also, bytes);
                });
                forward.set_patience(client.room());
                also.iter_mut().for_each(|also| also.link.set_patience(client.room()));
            }
        }
        while let Some(id) = server.poll_transmit(now, packet) {
            assert!(matches!(Packet::parse(packet), Some(Packet::Rtcp(_))), "a server sends reports only");
            trace.packet(now, packet);
            let Node { service, back, .. } = &mut nodes[id];
            match service {
                Service::Datagrams => back.handle_input(now, packet),
                Service::Stream => {
                    record.clear();
                    framing::frame(packet, record);
                    back.handle_input(now, record);
                }
            }
        }
        let (speaker, channels) = (*server.speaker(), server.channels());
        while let Some((block, samples)) = server.poll_block(now) {
            trace.samples(now, samples);
            nodes.iter_mut().for_each(|node| node.listen(block, samples, channels, &speaker));
        }
    }
}

fn send(now: Instant, forward: &mut Link, also: &mut Option<Also>, bytes: &[u8]) {
    match also {
        Some(also) => also.handle_input(now, forward, bytes),
        None => forward.handle_input(now, bytes),
    }
}

impl Node {
    fn listen(&mut self, block: Block, samples: &[f32], channels: usize, speaker: &Clock) {
        let channel = samples.iter().skip(self.channel).step_by(channels).copied();
        match &mut self.ear {
            Ear::Track(track) => track.handle(block, channel, speaker, self.client.microphone()),
            Ear::Recording(recording) => recording.handle(block, channel),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, seconds) = (self.seed, self.seconds());
            eprintln!("after {seconds:.6} s in the world of SIMULATION_SEED={seed}");
        }
    }
}
