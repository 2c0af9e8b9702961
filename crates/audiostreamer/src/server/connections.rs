//! The server's connections: encrypted ones over UDP and TCP, plain ones over TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audiostreamer_core::Instant;
use audiostreamer_core::framing::Deframer;
use quinn::Incoming;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::admission::{Admission, Limits, Refusals};
use super::greeting::{Greeter, Stranger};
use super::peer::Peer;
use super::quic::QuicPort;
use super::udp::UdpPort;
use super::{Config, WireFormat};
use crate::clock;
use crate::error::Error;
use crate::link::control::{Message, Refusal};
use crate::link::tcp::{self, Framing, tune};
use crate::link::{Link, SharedLink, TcpWriter, Transport, mismatch, quic, shared};
use crate::trust::{self, Version};

/// Reads on their way to the server's loop; a full channel is back-pressure on the sockets.
const READS_MAX: usize = 64;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// What happens on a connection.
pub(super) enum ConnectionEvent {
    /// An encrypted connection whose client may play.
    Opened {
        peer: Peer,
        link: SharedLink,
        admission: trust::Admission,
        /// Whether it would hear us, too.
        duplex: bool,
    },
    /// A whole packet, or where there is no framing whatever was read.
    Bytes {
        peer: Peer,
        bytes: Vec<u8>,
    },
    /// A stranger that is not let in, and why where that is worth a word.
    Rejected {
        address: SocketAddr,
        why: Option<String>,
    },
    Closed {
        peer: Peer,
    },
}

/// Listening sockets, or none, and what was accepted from them.
pub(super) struct Connections {
    listener: Option<TcpListener>,
    quic: Option<QuicPort>,
    open: Vec<Connection>,
    next_id: u64,
    kind: Kind,
    admission: Admission,
    reads: Sender<ConnectionEvent>,
    events: Receiver<ConnectionEvent>,
    /// When the list of who may play was last looked at.
    list_changed: Option<Version>,
}

enum Kind {
    Plain(Framing),
    Encrypted(Arc<Greeter>),
}

struct Connection {
    peer: Peer,
    since: Instant,
    link: SharedLink,
    /// Of a plain one; the others are read by who has greeted them, until they are closed.
    reading: Option<JoinHandle<()>>,
}

impl Connections {
    /// Plain ones. Must be called within a runtime.
    pub fn plain(address: Option<SocketAddr>, framing: Framing, limits: Limits) -> Result<Self, Error> {
        Ok(Self::new(bind(address)?, None, limits, |_| Kind::Plain(framing)))
    }

    /// Encrypted ones, on the same port of UDP and TCP. Must be called within a runtime.
    pub fn encrypted(
        (udp, tcp): (Option<SocketAddr>, Option<SocketAddr>),
        encryption: &super::Encryption,
        limits: Limits,
    ) -> Result<Self, Error> {
        let super::Encryption { identity, gate } = encryption;
        let unusable = |why: rustls::Error| Error::Trust(trust::Error::Key { why: why.to_string() });
        let tls = trust::tls::server(identity).map_err(unusable)?;
        let quic = udp.map(|address| QuicPort::bind(address, identity, tls.clone(), &limits)).transpose()?;
        // Port 0 asks for a free one: the same for both.
        let port = quic.as_ref().and_then(QuicPort::address).map(|address| address.port());
        let tcp = tcp.map(|address| SocketAddr::new(address.ip(), port.unwrap_or(address.port())));
        let gate = gate.clone();
        let mut connections = Self::new(bind(tcp)?, quic, limits, |events| {
            Kind::Encrypted(Arc::new(Greeter { gate, tls, limits, events }))
        });
        connections.list_changed = connections.list().and_then(trust::AccessList::version);
        Ok(connections)
    }

    fn new(
        listener: Option<TcpListener>,
        quic: Option<QuicPort>,
        limits: Limits,
        kind: impl FnOnce(Sender<ConnectionEvent>) -> Kind,
    ) -> Self {
        let (reads, events) = channel(READS_MAX);
        let (kind, admission) = (kind(reads.clone()), Admission::new(limits));
        Self { listener, quic, open: Vec::new(), next_id: 0, kind, admission, reads, events, list_changed: None }
    }

    pub fn address(&self) -> Option<SocketAddr> {
        let quic = self.quic.as_ref().and_then(QuicPort::address);
        quic.or_else(|| self.listener.as_ref()?.local_addr().ok())
    }

    /// Waits for something to happen, accepting connections meanwhile.
    pub async fn next(&mut self) -> ConnectionEvent {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => {
                        self.keep(&event);
                        return event;
                    }
                    None => std::future::pending().await,
                },
                (stream, address) = accept(self.listener.as_ref()) => self.add_tcp(stream, address),
                incoming = accept_quic(self.quic.as_ref()) => self.add_quic(incoming),
            }
        }
    }

    /// Ends a connection, and lets go of it.
    pub fn close(&mut self, peer: &Peer) {
        for connection in self.open.extract_if(.., |open| open.peer == *peer) {
            connection.close();
        }
    }

    /// Plain connections older than `age` for which `lives` is false. Whoever has a key may wait.
    pub fn idle(&self, now: Instant, age: Duration, lives: impl Fn(&Peer) -> bool) -> Vec<Peer> {
        let plain = self.open.iter().filter(|open| !open.peer.is_encrypted());
        plain.filter(|open| now - open.since > age && !lives(&open.peer)).map(|open| open.peer).collect()
    }

    /// The way back.
    pub fn link(&self, peer: &Peer) -> Option<SharedLink> {
        self.open.iter().find(|open| open.peer == *peer).map(|open| open.link.clone())
    }

    /// What was turned away here.
    pub fn refusals(&mut self) -> Refusals {
        let (garbage, answers) = self.quic.as_ref().map_or((0, 0), QuicPort::refused);
        Refusals { garbage, answers, ..*self.admission.refusals() }
    }

    /// Closes the connections of those who have been taken off the list; who they are.
    pub fn close_revoked(&mut self) -> Vec<Peer> {
        let (Kind::Encrypted(greeter), Some(list)) = (&self.kind, self.list()) else { return Vec::new() };
        let changed = list.version();
        if changed == self.list_changed {
            return Vec::new();
        }
        let Ok(entries) = list.entries() else { return Vec::new() }; // half written by hand: looked at again
        let gate = greeter.gate.clone();
        self.list_changed = changed;
        let may_stay = |peer: &Peer| peer.key().is_none_or(|key| gate.keeps(key, &entries));
        let shut_out: Vec<_> = self.open.extract_if(.., |open| !may_stay(&open.peer)).collect();
        shut_out.iter().for_each(|connection| connection.refuse(Refusal::RevokedKey));
        shut_out.iter().map(|connection| connection.peer).collect()
    }

    /// Ends all connections of a client, and says so.
    pub fn kick(&mut self, peer: &Peer) {
        for connection in self.open.extract_if(.., |open| open.peer.is_same_client(peer)) {
            connection.refuse(Refusal::Kicked);
        }
    }

    /// Lets what was sent go out, and ends all connections.
    pub async fn finish(self) {
        for connection in &self.open {
            let quic = connection.link.lock().ok().and_then(|link| link.quic().cloned());
            if let Some(connection) = quic {
                quic::finish(&connection).await;
            }
        }
        self.open.iter().for_each(Connection::close);
        if let Some(quic) = &self.quic {
            quic.finish().await;
        }
    }

    fn list(&self) -> Option<&trust::AccessList> {
        match &self.kind {
            Kind::Plain(_) => None,
            Kind::Encrypted(greeter) => greeter.gate.list.as_ref(),
        }
    }

    fn keep(&mut self, event: &ConnectionEvent) {
        match event {
            ConnectionEvent::Opened { peer, link, .. } => {
                let connection = Connection { peer: *peer, since: clock::now(), link: link.clone(), reading: None };
                let limits = self.admission.limits();
                let of_client = self.open.iter().filter(|open| open.peer.is_same_client(peer)).count();
                match self.open.len() < limits.connections && of_client < limits.connections_per_client {
                    true => self.open.push(connection),
                    false => {
                        self.admission.refusals().connections += 1;
                        connection.close();
                    }
                }
            }
            ConnectionEvent::Rejected { .. } => self.admission.refusals().strangers += 1,
            ConnectionEvent::Bytes { .. } | ConnectionEvent::Closed { .. } => {}
        }
    }

    fn add_tcp(&mut self, stream: TcpStream, address: SocketAddr) {
        // What is turned away is closed by being dropped.
        let Some(permit) = self.admission.admit(clock::now(), address) else { return };
        if self.open.len() >= self.admission.limits().connections || tune(&stream).is_err() {
            self.admission.refusals().connections += 1;
            return;
        }
        let id = self.next_id();
        match &self.kind {
            Kind::Encrypted(greeter) => {
                drop(tokio::spawn(greeter.clone().greet_tcp(stream, Stranger { id, address, _permit: permit })));
            }
            Kind::Plain(framing) => {
                let peer = Peer::Connection { id, address, transport: Transport::Tcp, key: None };
                let stream = Arc::new(stream);
                let link = shared(Link::Tcp(TcpWriter::new(stream.clone(), *framing)));
                let reading = tokio::spawn(read(stream, *framing, peer, self.reads.clone()));
                self.open.push(Connection { peer, since: clock::now(), link, reading: Some(reading) });
            }
        }
    }

    fn add_quic(&mut self, incoming: Incoming) {
        let Kind::Encrypted(greeter) = &self.kind else { return };
        let greeter = greeter.clone();
        if self.admission.is_full() {
            self.admission.refusals().handshakes += 1;
            return incoming.ignore();
        }
        if !incoming.remote_address_validated() {
            // Costs us nothing to remember: the client has to come again with what it is told here
            // (RFC 9000 section 8.1.2), and a wrong address can't.
            let _ = incoming.retry();
            return;
        }
        let address = incoming.remote_address();
        match self.admission.admit(clock::now(), address) {
            None => incoming.refuse(),
            Some(permit) => {
                let id = self.next_id();
                drop(tokio::spawn(greeter.greet_quic(incoming, Stranger { id, address, _permit: permit })));
            }
        }
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Connection {
    fn close(&self) {
        if let Ok(link) = self.link.lock() {
            link.close(quic::FINISHED);
        }
    }

    /// Tells the client that it may play no longer.
    fn refuse(&self, reason: Refusal) {
        let Ok(mut link) = self.link.lock() else { return };
        if let Link::Tls(writer) = &mut *link {
            let _ = writer.send(&Message::Refused { reason }.json());
        }
        link.close(if reason == Refusal::Kicked { quic::KICKED } else { quic::REFUSED });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(reading) = &self.reading {
            reading.abort();
        }
    }
}

/// Everything that a server listens on, and where that is.
pub(super) fn open_ports(config: &Config) -> Result<(UdpPort, Connections, SocketAddr), Error> {
    let (udp, tcp) = (config.udp.then_some(config.listen), config.tcp.then_some(config.listen));
    if let (Some(encryption), WireFormat::Rtp(_)) = (&config.encryption, &config.wire) {
        let connections = Connections::encrypted((udp, tcp), encryption, config.limits)?;
        let address = connections.address().unwrap_or(config.listen);
        return Ok((UdpPort::bind(None)?, connections, address));
    }
    let udp = UdpPort::bind(udp)?;
    // Port 0 asks for a free one: the same for both.
    let port = udp.address().map_or(config.listen.port(), |address| address.port());
    let tcp = tcp.map(|address| SocketAddr::new(address.ip(), port));
    let framing = match config.wire {
        WireFormat::Rtp(_) => Framing::Rfc4571,
        WireFormat::Raw(_) => Framing::None,
    };
    let connections = Connections::plain(tcp, framing, config.limits)?;
    let address = udp.address().or(connections.address()).unwrap_or(config.listen);
    Ok((udp, connections, address))
}

/// Reads a plain connection to its end.
async fn read(stream: Arc<TcpStream>, framing: Framing, peer: Peer, events: Sender<ConnectionEvent>) {
    let mut buffer = vec![0; 16_384];
    let mut deframer = Deframer::default();
    let mut is_first = true;
    // A send fails when the server has gone: then there is nobody to read for.
    let tell = async |bytes: &[u8]| events.send(ConnectionEvent::Bytes { peer, bytes: bytes.to_vec() }).await.is_ok();
    while let Ok(length @ 1..) = tcp::read(&stream, &mut buffer).await {
        let bytes = &buffer[..length];
        let begins_tls = match framing {
            Framing::Rfc4571 => mismatch::is_tls(bytes),
            Framing::None => mismatch::is_client_hello(bytes),
        };
        if std::mem::take(&mut is_first) && begins_tls {
            let _ = stream.try_write(&mismatch::NO_TLS);
            break;
        }
        match framing {
            Framing::None if !tell(bytes).await => return,
            Framing::None => {}
            Framing::Rfc4571 => {
                deframer.handle_bytes(bytes);
                while let Some(packet) = deframer.poll_packet() {
                    if !tell(packet).await {
                        return;
                    }
                }
            }
        }
    }
    let _ = events.send(ConnectionEvent::Closed { peer }).await;
}

async fn accept(listener: Option<&TcpListener>) -> (TcpStream, SocketAddr) {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // Out of file descriptors, or the peer has gone again: the next attempt may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn accept_quic(port: Option<&QuicPort>) -> Incoming {
    match port {
        Some(port) => port.accept().await,
        None => std::future::pending().await,
    }
}

fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Error> {
    let bind = |address| listen(address).map_err(|why| Error::Listen { address, transport: "tcp", why });
    address.map(bind).transpose()
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?; // a restarted server need not wait for old connections
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
