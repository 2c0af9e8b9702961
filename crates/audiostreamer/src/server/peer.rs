//! Where packets come from.

use std::net::SocketAddr;

use crate::link::{Transport, canonical};
use crate::trust::Fingerprint;

/// One end that sends to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Plain datagrams of one address.
    Udp(SocketAddr),
    /// A connection: TCP, TLS or QUIC.
    Connection {
        /// Later ones have greater numbers.
        id: u64,
        /// From where it was made.
        address: SocketAddr,
        transport: Transport,
        /// Proved in the handshake, where it is encrypted.
        key: Option<Fingerprint>,
    },
}

impl Peer {
    pub fn address(&self) -> SocketAddr {
        match *self {
            Peer::Udp(address) | Peer::Connection { address, .. } => canonical(address),
        }
    }

    pub fn transport(&self) -> Transport {
        match self {
            Peer::Udp(_) => Transport::Udp,
            Peer::Connection { transport, .. } => *transport,
        }
    }

    /// Tells it from the client's other connections.
    pub fn number(&self) -> u8 {
        match self {
            Peer::Udp(_) => 0,
            Peer::Connection { id, .. } => *id as u8,
        }
    }

    pub fn is_encrypted(&self) -> bool {
        self.key().is_some()
    }

    pub fn key(&self) -> Option<Fingerprint> {
        match self {
            Peer::Udp(_) => None,
            Peer::Connection { key, .. } => *key,
        }
    }

    /// Whether both are the same client. A key is the same client over every connection: so its
    /// streams go on when it comes back from another address or over another transport.
    pub fn is_same_client(&self, other: &Peer) -> bool {
        match (self.key(), other.key()) {
            (Some(key), Some(other)) => key == other,
            _ => self == other,
        }
    }

    /// Whether this is the same client on a connection that it has made later.
    pub fn succeeds(&self, other: &Peer) -> bool {
        match (self, other) {
            (Peer::Connection { id, .. }, Peer::Connection { id: before, .. }) => id > before,
            _ => false,
        }
    }
}
