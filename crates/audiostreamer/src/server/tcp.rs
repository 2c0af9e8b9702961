//! The server's TCP port and its connections.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use audiostreamer_core::Instant;
use audiostreamer_core::framing::Deframer;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use crate::clock;
use crate::error::Error;
use crate::link::tcp::{Framing, tune};
use crate::link::{Link, SharedLink, TcpWriter, shared};

/// Open connections, playing or not; more are closed as they come.
const CONNECTIONS_MAX: usize = 64;

/// Reads on their way to the server's loop; a full channel is back-pressure on the sockets.
const READS_MAX: usize = 64;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// What happens on a connection.
pub(super) enum ConnectionEvent {
    /// A whole packet, or where there is no framing whatever was read.
    Bytes {
        connection: u64,
        address: SocketAddr,
        bytes: Vec<u8>,
    },
    Closed {
        connection: u64,
    },
}

/// A listening socket, or none, and what was accepted from it.
pub(super) struct Connections {
    listener: Option<TcpListener>,
    open: Vec<Connection>,
    next_id: u64,
    framing: Framing,
    reads: Sender<ConnectionEvent>,
    events: Receiver<ConnectionEvent>,
}

struct Connection {
    id: u64,
    since: Instant,
    link: SharedLink,
    reading: JoinHandle<()>,
}

impl Connections {
    /// Must be called within a runtime.
    pub fn bind(address: Option<SocketAddr>, framing: Framing) -> Result<Self, Error> {
        let listener = address
            .map(|address| listen(address).map_err(|why| Error::Listen { address, transport: "tcp", why }))
            .transpose()?;
        let (reads, events) = channel(READS_MAX);
        Ok(Self { listener, open: Vec::new(), next_id: 0, framing, reads, events })
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref()?.local_addr().ok()
    }

    /// Waits for something to happen, accepting connections meanwhile.
    pub async fn next(&mut self) -> ConnectionEvent {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => return event,
                    None => std::future::pending().await,
                },
                (stream, address) = accept(self.listener.as_ref()) => self.add(stream, address),
            }
        }
    }

    pub fn close(&mut self, connection: u64) {
        self.open.retain(|open| open.id != connection);
    }

    /// Connections older than `age` for which `lives` is false.
    pub fn idle(&self, now: Instant, age: Duration, lives: impl Fn(u64) -> bool) -> Vec<u64> {
        self.open.iter().filter(|open| now - open.since > age && !lives(open.id)).map(|open| open.id).collect()
    }

    /// The way back.
    pub fn link(&self, connection: u64) -> Option<SharedLink> {
        self.open.iter().find(|open| open.id == connection).map(|open| open.link.clone())
    }

    fn add(&mut self, stream: TcpStream, address: SocketAddr) {
        if self.open.len() >= CONNECTIONS_MAX || tune(&stream).is_err() {
            return; // closed by being dropped
        }
        let id = self.next_id;
        self.next_id += 1;
        let (reader, writer) = stream.into_split();
        let reading = tokio::spawn(read(reader, self.framing, id, address, self.reads.clone()));
        let link = shared(Link::Tcp(TcpWriter::new(writer, self.framing)));
        self.open.push(Connection { id, since: clock::now(), link, reading });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read(
    mut reader: OwnedReadHalf,
    framing: Framing,
    connection: u64,
    address: SocketAddr,
    events: Sender<ConnectionEvent>,
) {
    let mut buffer = vec![0; 16_384];
    let mut deframer = Deframer::default();
    // A send fails when the server has gone: then there is nobody to read for.
    let tell = async |bytes: &[u8]| {
        events.send(ConnectionEvent::Bytes { connection, address, bytes: bytes.to_vec() }).await.is_ok()
    };
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        let bytes = &buffer[..length];
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
    let _ = events.send(ConnectionEvent::Closed { connection }).await;
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
