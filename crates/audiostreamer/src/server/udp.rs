//! The server's UDP port.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::error::Error;
use crate::link::{Link, SharedLink, shared};

/// Room for packets that arrive while the runtime does something else: at 1.5 Mb/s of PCM 1.4 s.
pub(super) const RECEIVE_BYTES: usize = 1 << 18;

/// One socket and its buffer; or none, which never receives.
pub(super) struct UdpPort {
    socket: Option<Arc<UdpSocket>>,
    buffer: RefCell<Vec<u8>>,
}

impl UdpPort {
    pub fn bind(address: Option<SocketAddr>) -> Result<Self, Error> {
        let socket = address
            .map(|address| bind(address).map_err(|why| Error::Listen { address, transport: "udp", why }))
            .transpose()?;
        Ok(Self { socket: socket.map(Arc::new), buffer: RefCell::new(vec![0; 65_536]) })
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.as_ref()?.local_addr().ok()
    }

    /// Waits for a datagram; returns its length and sender. Its bytes are in
    /// [`datagram`](Self::datagram) until the next call.
    pub async fn receive(&self) -> (usize, SocketAddr) {
        let Some(socket) = &self.socket else { return std::future::pending().await };
        loop {
            if let Ok(received) = socket
                .ready(tokio::io::Interest::READABLE)
                .await
                .and_then(|_| socket.try_recv_from(&mut self.buffer.borrow_mut()))
            {
                return received;
            }
            // Not ready after all, or a client that has gone refused a report of ours.
        }
    }

    pub fn datagram(&self, length: usize) -> Vec<u8> {
        self.buffer.borrow()[..length].to_vec()
    }

    /// The way back to a sender.
    pub fn link(&self, peer: SocketAddr) -> Option<SharedLink> {
        Some(shared(Link::Udp { socket: self.socket.clone()?, peer }))
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES); // less will do
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
