//! The server's UDP port.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::error::Error;
use crate::link::{Datagrams, Link, SharedLink, bind, shared};

/// One socket and its buffer; or none, which never receives.
pub(super) struct UdpPort {
    socket: Option<Arc<Datagrams>>,
    buffer: Vec<u8>,
}

impl UdpPort {
    pub fn bind(address: Option<SocketAddr>) -> Result<Self, Error> {
        let open = |address| bind(address).and_then(Datagrams::new);
        let socket = address
            .map(|address| open(address).map_err(|why| Error::Listen { address, transport: "udp", why }))
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
