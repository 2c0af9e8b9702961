//! The server's UDP port.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::Error;
use crate::link::{Datagrams, Link, SharedLink, shared};

/// Room for packets that arrive while the runtime does something else: at 1.5 Mb/s of PCM 1.4 s.
pub(super) const RECEIVE_BYTES: usize = 1 << 18;

/// One socket and its buffer; or none, which never receives.
pub(super) struct UdpPort {
    socket: Option<Arc<Datagrams>>,
    buffer: Vec<u8>,
}

impl UdpPort {
    pub fn bind(address: Option<SocketAddr>) -> Result<Self, Error> {
        let socket = address
            .map(|address| bind(address).map_err(|why| Error::Listen { address, transport: "udp", why }))
            .transpose()?;
        Ok(Self { socket: socket.map(Arc::new), buffer: vec![0; 65_536] })
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.as_ref()?.address().ok()
    }

    /// Waits for a datagram; returns it and its sender.
    pub async fn receive(&mut self) -> (Vec<u8>, SocketAddr) {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        loop {
            if let Ok((length, sender)) = socket.receive(&mut self.buffer).await {
                return (self.buffer[..length].to_vec(), sender);
            }
            // A client that has gone refused a report of ours.
        }
    }

    /// The way back to a sender.
    pub fn link(&self, peer: SocketAddr) -> Option<SharedLink> {
        Some(shared(Link::Udp { socket: self.socket.clone()?, peer }))
    }
}

fn bind(address: SocketAddr) -> io::Result<Datagrams> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES); // less will do
    socket.bind(&address.into())?;
    Datagrams::new(socket.into())
}
