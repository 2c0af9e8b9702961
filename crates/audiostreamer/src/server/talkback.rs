//! What the server's own source says goes back to clients that have asked for it, by a client of ours
//! whose links are those that they have made.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::Server;
use super::peer::Peer;
use crate::client::{self, SendEvent, Status, To};
use crate::link::{LinkEvent, SharedLink};
use crate::report::{Event, Report};

/// Who hears, and the way to the client that sends.
pub(super) struct Talkback {
    events: UnboundedSender<SendEvent>,
    status: watch::Receiver<Option<Box<Status>>>,
    listeners: Vec<Listener>,
    /// Connections whose client has asked to hear us.
    asked: Vec<Peer>,
    next_id: usize,
}

/// One program that hears us. Several may have one key.
struct Listener {
    id: usize,
    /// The connection in use.
    peer: Peer,
}

impl Talkback {
    /// And the future that sends, until `ended` completes, its source ends, or it can't go on.
    pub fn start(
        config: Option<Box<client::Config>>,
        report: impl Fn(Report) + Send + Clone + 'static,
        ended: impl Future<Output = ()>,
    ) -> (Self, impl Future<Output = ()>) {
        let (events, inbox) = unbounded_channel();
        let (said, status) = watch::channel(None);
        let sending = async move {
            match config {
                Some(config) => send(*config, inbox, said, report, ended).await,
                None => ended.await,
            }
        };
        (Self { events, status, listeners: Vec::new(), asked: Vec::new(), next_id: 0 }, sending)
    }

    /// That client has asked. A second connection is one in reserve, until sound comes over it.
    pub fn handle_asked(&mut self, peer: Peer, link: SharedLink) {
        self.asked.push(peer);
        if !self.listeners.iter().any(|known| known.peer.is_same_client(&peer)) {
            self.add(peer, link);
        }
    }

    /// Sound comes over that connection; `before` says of others whether this sound came over them, `silent`
    /// whether none does.
    fn follow(
        &mut self,
        peer: Peer,
        link: &SharedLink,
        before: impl Fn(&Peer) -> bool,
        silent: impl Fn(&Peer) -> bool,
    ) {
        if !self.asked.contains(&peer) || self.listeners.iter().any(|known| known.peer == peer) {
            return;
        }
        let is_it = |known: &Peer| before(known) || known.is_same_client(&peer) && silent(known);
        match self.listeners.iter().position(|known| is_it(&known.peer)) {
            Some(index) => self.send_over(index, peer, link.clone()),
            None => self.add(peer, link.clone()),
        }
    }

    fn add(&mut self, peer: Peer, link: SharedLink) {
        self.next_id += 1;
        self.listeners.push(Listener { id: self.next_id, peer });
        let to = To { peer: peer.address().to_string(), encrypted: peer.is_encrypted(), no_wait: false };
        self.say(SendEvent::Add(self.next_id, to));
        self.say(SendEvent::Up(self.next_id, link));
    }

    /// That listener goes on over another connection.
    fn send_over(&mut self, index: usize, peer: Peer, link: SharedLink) {
        let listener = &mut self.listeners[index];
        listener.peer = peer;
        let id = listener.id;
        self.say(SendEvent::Up(id, link));
    }

    /// Takes what a listener reports: of several with one key the one that it is about knows that by itself.
    pub fn handle_rtcp(&self, peer: &Peer, bytes: &[u8]) {
        for known in self.listeners.iter().filter(|known| known.peer.is_same_client(peer)) {
            self.say(SendEvent::Link(known.id, LinkEvent::Packet(bytes.to_vec())));
        }
    }

    /// A connection is closed; where it was the one in use, the client hears over another that `link` knows, or
    /// no more.
    pub fn close(&mut self, peer: &Peer, link: impl Fn(&Peer) -> Option<SharedLink>) {
        self.asked.retain(|asked| asked != peer);
        let Some(index) = self.listeners.iter().position(|known| known.peer == *peer) else { return };
        let is_free = |asked: &Peer| !self.listeners.iter().any(|known| known.peer == *asked);
        let mut others = self.asked.iter().rev().filter(|asked| asked.is_same_client(peer) && is_free(asked));
        match others.find_map(|asked| Some((*asked, link(asked)?))) {
            Some((other, link)) => self.send_over(index, other, link),
            None => {
                let gone = self.listeners.remove(index);
                self.say(SendEvent::Remove(gone.id));
            }
        }
    }

    /// How it stands, where it sends.
    pub fn status(&self) -> Option<Box<Status>> {
        self.status.borrow().clone()
    }

    fn say(&self, event: SendEvent) {
        let _ = self.events.send(event); // where nothing is sent any more, nobody need know
    }
}

async fn send(
    config: client::Config,
    inbox: UnboundedReceiver<SendEvent>,
    said: watch::Sender<Option<Box<Status>>>,
    report: impl Fn(Report) + Send + Clone + 'static,
    ended: impl Future<Output = ()>,
) {
    let tell = {
        let report = report.clone();
        move |told| match told {
            Report::Client(status) => drop(said.send_replace(Some(Box::new(status)))),
            // Whether a client is there its own stream says.
            Report::Event(Event::ServerEnded { .. } | Event::ServerSilent { .. } | Event::NoRealTime) => {}
            told => report(told),
        }
    };
    tokio::pin!(ended);
    if let Err(error) = client::run_over_links(config, inbox, tell, &mut ended).await {
        report(Report::Event(Event::HalfEnded { half: "nothing is sent back", why: error.to_string() }));
        ended.await; // the other half goes on
    }
}

impl<R: Fn(Report)> Server<R> {
    /// What goes back to a client takes the way on which its own sound comes.
    pub(super) fn talk_over_the_way_of(&mut self, index: usize) {
        let stream = &self.streams[index];
        if let Some(link) = stream.back() {
            let silent = |peer: &Peer| !self.streams.iter().any(|stream| stream.comes_over(peer));
            self.talkback.follow(stream.peer(), link, |peer| stream.comes_over(peer), silent);
        }
    }

    /// Over a plain link nobody says hello. Whoever plays and has answered our clock is there, and not
    /// somebody whose address was forged; he hears for as long as he plays.
    pub(super) fn talk_to_those_who_answer(&mut self) {
        for stream in self.streams.iter().filter(|stream| stream.is_proved()) {
            if let (Some(link), Some(_)) = (stream.back(), stream.received().round_trip_time)
                && !self.talkback.asked.contains(&stream.peer())
            {
                self.talkback.handle_asked(stream.peer(), link.clone());
            }
        }
    }
}
