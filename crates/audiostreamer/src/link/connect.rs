//! Keeps a link to one peer: resolves, connects, reads, and begins again when it breaks.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use audiostreamer_core::framing::Deframer;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpStream, UdpSocket, lookup_host};
use tokio::time::{sleep, timeout};

use super::tcp::{self, Framing};
use super::{Link, TcpWriter, Transport};
use crate::error::plain;

/// Who to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How packets travel.
    pub transport: Transport,
    /// For TCP only.
    pub framing: Framing,
}

/// What happens to the link.
pub enum LinkEvent {
    /// There is a link now; over UDP that only means that nothing has been refused yet.
    Up(Link),
    /// There is none now, for this reason; another attempt follows.
    Down(String),
    /// The peer sent a packet.
    Packet(Vec<u8>),
}

/// Tries again so often: soon enough that sound is back within a moment of the peer, rare enough
/// not to be a burden.
const RETRY: Duration = Duration::from_millis(100);
const RESOLVE_RETRY: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs until it is dropped. Of a name's addresses each attempt takes the next.
pub async fn keep_connected(target: Target, handle: impl Fn(LinkEvent)) {
    for attempt in 0.. {
        let addresses = match resolve(&target).await {
            Ok(addresses) => addresses,
            Err(why) => {
                handle(LinkEvent::Down(why));
                sleep(RESOLVE_RETRY).await;
                continue;
            }
        };
        let address = addresses[attempt % addresses.len()];
        tracing::trace!(%address, attempt, "connecting");
        let error = match target.transport {
            Transport::Udp => run_udp(address, &handle).await,
            Transport::Tcp => run_tcp(address, target.framing, &handle).await,
        };
        handle(LinkEvent::Down(plain(&error)));
        sleep(RETRY).await;
    }
}

async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, String> {
    let name = &target.host;
    let looked_up = lookup_host((name.as_str(), target.port)).await;
    let addresses: Vec<_> = looked_up.map_err(|error| format!("{name} does not resolve: {}", plain(&error)))?.collect();
    if addresses.is_empty() {
        return Err(format!("{name} has no address"));
    }
    Ok(addresses)
}

/// Sends and receives datagrams until the peer refuses them.
async fn run_udp(peer: SocketAddr, handle: &impl Fn(LinkEvent)) -> io::Error {
    let socket = match connect_udp(peer).await {
        Ok(socket) => Arc::new(socket),
        Err(error) => return error,
    };
    handle(LinkEvent::Up(Link::Udp { socket: socket.clone(), peer }));
    let mut buffer = vec![0; 65_536];
    loop {
        match socket.recv(&mut buffer).await {
            Ok(length) => handle(LinkEvent::Packet(buffer[..length].to_vec())),
            Err(error) => return error,
        }
    }
}

async fn connect_udp(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected, so that the kernel tells us of refusals and drops what others send.
    socket.connect(peer).await?;
    // The runtime has yet to learn that it can send: until then it would drop what is sent.
    socket.writable().await?;
    Ok(socket)
}

/// Reads packets until the connection ends.
async fn run_tcp(peer: SocketAddr, framing: Framing, handle: &impl Fn(LinkEvent)) -> io::Error {
    let stream = match connect_tcp(peer).await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    let (mut reader, writer) = stream.into_split();
    handle(LinkEvent::Up(Link::Tcp(TcpWriter::new(writer, framing))));
    let mut deframer = Deframer::default();
    let mut buffer = vec![0; 16_384];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => return io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the other side"),
            Ok(length) if framing == Framing::Rfc4571 => {
                deframer.handle_bytes(&buffer[..length]);
                while let Some(packet) = deframer.poll_packet() {
                    handle(LinkEvent::Packet(packet.to_vec()));
                }
            }
            Ok(_) => {} // whoever plays raw PCM has nothing to tell us
            Err(error) => return error,
        }
    }
}

async fn connect_tcp(peer: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(peer))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))??;
    tcp::tune(&stream)?;
    Ok(stream)
}
