//! Bytes to and from one peer: over UDP or TCP, encrypted (QUIC, TLS) or plain.

mod auto;
mod chooser;
mod connect;
pub mod control;
mod conversation;
mod credentials;
mod datagrams;
#[doc(hidden)] // for the fuzzer
pub mod mismatch;
pub(crate) mod probe;
pub mod quic;
#[cfg(test)]
mod scenarios;
mod secure;
mod standstill;
pub mod tcp;
pub mod tls;
mod via;
mod ways;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};

pub use auto::keep_connected_either_way;
pub use connect::{LinkEvent, Security, Target, keep_connected};
pub(crate) use conversation::Conversation;
pub use credentials::{Credentials, PairingCode, ServerKey};
pub use datagrams::Datagrams;
pub(crate) use datagrams::{bind, for_quic};
pub use tcp::TcpWriter;
pub(crate) use tls::RecordReader;
pub use tls::TlsWriter;
pub use via::Via;
pub use ways::{Ways, keep, keep_connected_every_way};

/// The port that everything listens on when none is given; RFC 3551 names it for RTP.
pub const DEFAULT_PORT: u16 = 5004;

/// The transport of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: nothing waits for a lost one.
    Udp,
    /// One connection: gets through more firewalls, and stalls when a packet is lost.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        })
    }
}

/// Which transports a client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// UDP, and TCP where that does not get through. Plain links can't tell: there it is UDP.
    Auto,
    /// Only this one.
    Only(Transport),
}

/// The sending half of a connection to one peer. Sending never waits.
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Link {
    /// One peer of a socket that others may share.
    Udp { socket: Arc<Datagrams>, peer: SocketAddr },
    /// A connection of its own.
    Tcp(TcpWriter),
    /// Encrypted datagrams.
    Quic(quinn::Connection),
    /// An encrypted connection.
    Tls(TlsWriter),
    /// Several links to the same peer: everything goes over each of them.
    Ways(Ways),
}

/// A link that several streams send over; never held for longer than one packet.
pub type SharedLink = Arc<Mutex<Link>>;

/// Makes a link one that can be shared.
pub fn shared(link: Link) -> SharedLink {
    Arc::new(Mutex::new(link))
}

/// Ends the connection as soon as what was sent has gone out. Only QUIC leaves sending to the runtime,
/// and so only there is anything to wait for.
pub async fn finish(link: SharedLink) {
    let queues = link.lock().ok().and_then(|link| match &*link {
        Link::Quic(connection) => Some(Link::Quic(connection.clone())),
        Link::Ways(ways) => Some(Link::Ways(ways.clone())),
        Link::Udp { .. } | Link::Tcp(_) | Link::Tls(_) => None,
    });
    if let Some(link) = queues {
        link.finish().await;
    }
}

/// Of an encrypted datagram, about, beyond its own bytes: IPv4, UDP and QUIC.
pub(crate) const OVERHEAD_BYTES: usize = 28 + 32;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The socket has taken it, or will as soon as it has room.
    Sent,
    /// There was no room: a packet was dropped, this one or one that has waited for too long.
    Dropped,
}

impl Link {
    /// Hands one packet to the socket. Where that would mean waiting, datagrams are dropped, and what is
    /// for a connection waits until the next call of this or of [`flush`](Self::flush).
    ///
    /// An error says that the connection is broken.
    pub fn send(&mut self, packet: &[u8]) -> io::Result<Sent> {
        match self {
            Link::Udp { socket, peer } => match socket.send_to(packet, *peer) {
                Ok(_) => Ok(Sent::Sent),
                // No room, or the answer to an earlier datagram: that nobody is there. Who reads
                // the socket is told so too, if not of this one then of the next.
                Err(_) => Ok(Sent::Dropped),
            },
            Link::Tcp(writer) => writer.send(packet),
            Link::Quic(connection) => quic::send(connection, packet),
            Link::Tls(writer) => writer.send(packet),
            Link::Ways(ways) => Ok(ways.send(packet)),
        }
    }

    /// Hands on what waits, as far as there is room now. An error says that the connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Link::Udp { .. } | Link::Quic(_) | Link::Ways(_) => Ok(()),
            Link::Tcp(writer) => writer.flush(),
            Link::Tls(writer) => writer.flush(),
        }
    }

    /// How long a packet may wait before it is dropped rather than sent, where packets wait.
    pub fn set_patience(&mut self, patience: Duration) {
        if let Some(outflow) = self.outflow() {
            outflow.set_patience(patience);
        }
    }

    /// What a packet takes on the wire beyond its own bytes, about: the headers of IPv4 and UDP or TCP
    /// (with a time stamp), a length, and what encryption adds.
    pub fn overhead_bytes(&self) -> usize {
        match self {
            Link::Udp { .. } => 28,
            Link::Quic(_) | Link::Ways(_) => OVERHEAD_BYTES, // each way for itself
            Link::Tcp(_) => 52 + 2,
            Link::Tls(_) => 52 + 2 + 22,
        }
    }

    /// What it goes over.
    pub fn transport(&self) -> Transport {
        match self {
            Link::Udp { .. } | Link::Quic(_) => Transport::Udp,
            Link::Tcp(_) | Link::Tls(_) => Transport::Tcp,
            Link::Ways(ways) => ways.transport(),
        }
    }

    /// Whether others on the way can listen.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Link::Quic(_) | Link::Tls(_) | Link::Ways(_)) // only such have several
    }

    /// Where it goes to; `None` where the connection has gone.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Link::Udp { peer, .. } => Some(*peer),
            Link::Tcp(writer) => writer.address(),
            Link::Quic(connection) => Some(connection.remote_address()),
            Link::Tls(writer) => writer.address(),
            Link::Ways(ways) => ways.address(),
        }
    }

    fn outflow(&mut self) -> Option<&mut tcp::Outflow> {
        match self {
            Link::Udp { .. } | Link::Quic(_) | Link::Ways(_) => None,
            Link::Tcp(writer) => Some(writer.outflow()),
            Link::Tls(writer) => Some(writer.outflow()),
        }
    }

    /// The QUIC connection that it is, if it is one.
    pub(crate) fn quic(&self) -> Option<&quinn::Connection> {
        match self {
            Link::Quic(connection) => Some(connection),
            _ => None,
        }
    }

    /// Ends the connection as soon as what was sent has gone out, or will not go.
    pub async fn finish(mut self) {
        match self {
            Link::Quic(connection) => return quic::finish(&connection).await,
            Link::Ways(ways) => return ways.finish().await,
            Link::Udp { .. } | Link::Tcp(_) | Link::Tls(_) => {}
        }
        let gone = async {
            while self.flush().is_ok() && self.outflow().is_some_and(|outflow| !outflow.is_empty()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = timeout(quic::FLUSH, gone).await;
    }

    /// Ends the connection at once, where there is one.
    pub fn close(&self, code: u32) {
        match self {
            Link::Quic(connection) => connection.close(code.into(), b""),
            Link::Tls(writer) => writer.close(),
            Link::Ways(ways) => ways.close(code),
            Link::Udp { .. } | Link::Tcp(_) => {}
        }
    }
}

/// An address as people write it: IPv4 seen through a dual-stack socket is IPv4.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
