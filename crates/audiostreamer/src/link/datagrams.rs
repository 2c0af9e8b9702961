//! UDP sockets that wake the runtime when something has come, and only then.
//!
//! Tokio's own are also told whenever a datagram has left the machine and there is room for another one:
//! that is one wake-up more for each packet, for nothing. Here a datagram for which there is no room is
//! dropped, as on the rest of its way.

#![expect(unsafe_code, reason = "tokio asks for a promise that descriptors stay open")]

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room for what arrives while the runtime does something else, where the system allows so much: 20 ms of a flood
/// of 100,000 datagrams a second, among which are ours. A quarter of a megabyte was full after 2 ms.
const RECEIVE_BYTES: usize = 1 << 21;

/// A socket for either kind, of both IPv6 and IPv4 where the address is of the former.
pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES); // less will do
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// What has come may be the answer that nobody took what was sent.
const COMING: Interest = Interest::READABLE.add(Interest::ERROR);

/// A socket for plain datagrams.
pub struct Datagrams(AsyncFd<UdpSocket>);

impl Datagrams {
    /// Must be called within a runtime.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        // SAFETY: a `UdpSocket` keeps one descriptor open for as long as it lives, which is as long as this does.
        let registered = unsafe { AsyncFd::register_with_interest(socket, COMING) };
        Ok(Self(registered?))
    }

    /// Waits for a datagram; returns its length and sender. An error may be the answer to one that was sent.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            let mut ready = self.0.ready(COMING).await?;
            if let Ok(received) = ready.try_io(|socket| socket.get_ref().recv_from(buffer)) {
                return received;
            }
        }
    }

    /// Sends a datagram now, or says why not.
    pub(super) fn send_to(&self, datagram: &[u8], peer: SocketAddr) -> io::Result<usize> {
        self.0.get_ref().send_to(datagram, peer)
    }

    /// Its own address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().local_addr()
    }
}

/// A socket for QUIC.
pub(super) struct QuicDatagrams {
    datagrams: Datagrams,
    state: UdpSocketState,
}

/// The same, as quinn takes it. Must be called within a runtime.
pub(crate) fn for_quic(socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
    let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
    Ok(Arc::new(QuicDatagrams { datagrams: Datagrams::new(socket)?, state }))
}

impl AsyncUdpSocket for QuicDatagrams {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(NeverFull)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.state.send(UdpSockRef::from(self.datagrams.0.get_ref()), transmit) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()), // lost on its first step
            sent => sent,
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.datagrams.0.poll_read_ready(cx))?;
            let receive =
                |socket: &AsyncFd<UdpSocket>| self.state.recv(UdpSockRef::from(socket.get_ref()), buffers, meta);
            if let Ok(received) = ready.try_io(receive) {
                return Poll::Ready(received);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.datagrams.address()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

impl fmt::Debug for QuicDatagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QuicDatagrams").field(&self.datagrams.0).finish()
    }
}

/// There is always room, if only to drop it.
#[derive(Debug)]
struct NeverFull;

impl UdpPoller for NeverFull {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
