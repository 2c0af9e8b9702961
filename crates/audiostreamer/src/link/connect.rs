//! Keeps a link to one peer: resolves, connects, reads, and begins again when it breaks.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use audiostreamer_core::framing::Deframer;
use socket2::SockRef;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{sleep, timeout};

use super::tcp::{self, Framing};
use super::{Credentials, Datagrams, Link, TcpWriter, Transport, Via, secure, standstill};
use crate::error::{Error, plain};
use crate::report::host_port;
use crate::trust::Fingerprint;

/// Who to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// A name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How packets travel ...
    pub transport: Transport,
    /// ... and which way.
    pub via: Via,
    /// In the clear or not.
    pub security: Security,
    /// Whether we would hear it, too. Only an encrypted link has a word for that.
    pub duplex: bool,
}

impl Target {
    /// Whether others on the way can't listen.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.security, Security::Encrypted(_))
    }
}

/// Whether others on the way can listen.
#[derive(Clone, Debug)]
pub enum Security {
    /// They can. The framing is for TCP.
    Plain(Framing),
    /// They can't: QUIC and TLS.
    Encrypted(Box<Credentials>),
}

/// What happens to the link.
pub enum LinkEvent {
    /// There is a link now; over plain UDP that only means that nothing has been refused yet.
    Up(Link),
    /// The connection stood still, and this one goes on in its place.
    Replaced(Link),
    /// There is none now, for this reason; another attempt follows.
    Down(String),
    /// There is none, and there will be none.
    Failed(Error),
    /// The peer sent a packet.
    Packet(Vec<u8>),
    /// An encrypted link hears nothing, although it should. It may come back.
    Silent,
    /// It has come back.
    Heard,
    /// A server's key was seen for the first time, and is kept.
    Met(Fingerprint),
    /// Of several ways one works now, or does not, for that reason, while another one does.
    #[expect(missing_docs, reason = "as above")]
    Way { via: Via, down: Option<String> },
}

/// Why an attempt, or the link that came of it, is over.
pub(super) enum Ended {
    /// The next attempt may do better.
    Broken(String),
    /// The server has no time for us: it must not be asked ten times a second.
    TurnedAway,
    /// It would not.
    Failed(Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::Broken(plain(&error))
    }
}

/// Tries again so often: soon enough that sound is back within a moment of the peer, rare enough
/// not to be a burden.
const RETRY: Duration = Duration::from_millis(100);
const RESOLVE_RETRY: Duration = Duration::from_secs(1);
const BUSY_RETRY: Duration = Duration::from_millis(900);

/// A name that takes longer to look up is worth a word.
const LOOKUP_USUAL: Duration = Duration::from_secs(1);

/// Runs until it is dropped, or until there is no point in going on. Of a name's addresses each
/// attempt takes the next.
pub async fn keep_connected(target: Target, handle: impl Fn(LinkEvent)) {
    for attempt in 0.. {
        let addresses = match resolve(&target, &handle).await {
            Ok(addresses) => addresses,
            Err(why) => {
                handle(LinkEvent::Down(why));
                sleep(RESOLVE_RETRY).await;
                continue;
            }
        };
        let address = addresses[attempt % addresses.len()];
        tracing::trace!(%address, attempt, transport = %target.transport, "connecting");
        match run(&target, address, &handle).await {
            Ended::Broken(why) => handle(LinkEvent::Down(why)),
            Ended::TurnedAway => {
                handle(LinkEvent::Down("the server takes no more connections at the moment".into()));
                sleep(BUSY_RETRY).await;
            }
            Ended::Failed(error) => {
                handle(LinkEvent::Failed(error));
                return std::future::pending().await;
            }
        }
        sleep(RETRY).await;
    }
}

async fn run(target: &Target, address: SocketAddr, handle: &impl Fn(LinkEvent)) -> Ended {
    let result = match (&target.security, target.transport) {
        (Security::Plain(_), Transport::Udp) => run_udp(address, &target.via, handle).await,
        (Security::Plain(framing), Transport::Tcp) => run_tcp(address, &target.via, *framing, handle).await,
        (Security::Encrypted(credentials), transport) => {
            let (name, duplex) = (host_port(&target.host, target.port), target.duplex);
            let peer = secure::Peer { name, address, via: &target.via, credentials, duplex };
            match transport {
                Transport::Udp => peer.run_quic(handle).await,
                Transport::Tcp => peer.run_tls(handle).await,
            }
        }
    };
    match result {
        Err(ended) => ended,
        Ok(never) => match never {},
    }
}

/// What never comes: a link runs until it fails.
pub(super) enum Never {}

async fn resolve(target: &Target, handle: &impl Fn(LinkEvent)) -> Result<Vec<SocketAddr>, String> {
    let (name, port) = match &target.via {
        Via::Host(host, port) => (host, *port),
        _ => (&target.host, target.port),
    };
    let mut looking = pin!(lookup_host((name.as_str(), port)));
    let looked_up = match timeout(LOOKUP_USUAL, &mut looking).await {
        Ok(looked_up) => looked_up,
        Err(_) => {
            handle(LinkEvent::Down(format!("nothing has answered yet what the address of {name} is")));
            looking.await
        }
    };
    let addresses: Vec<_> = looked_up.map_err(|error| format!("{name} does not resolve: {}", plain(&error)))?.collect();
    if addresses.is_empty() {
        return Err(format!("{name} has no address"));
    }
    Ok(addresses)
}

/// Sends and receives datagrams until the peer refuses them.
async fn run_udp(peer: SocketAddr, via: &Via, handle: &impl Fn(LinkEvent)) -> Result<Never, Ended> {
    let socket = Arc::new(connect_udp(peer, via)?);
    handle(LinkEvent::Up(Link::Udp { socket: socket.clone(), peer }));
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, _) = socket.receive(&mut buffer).await?;
        handle(LinkEvent::Packet(buffer[..length].to_vec()));
    }
}

fn connect_udp(peer: SocketAddr, via: &Via) -> io::Result<Datagrams> {
    let socket = UdpSocket::bind(any_address(peer))?;
    via.bind(SockRef::from(&socket))?;
    // Connected, so that the kernel tells us of refusals and drops what others send.
    socket.connect(peer)?;
    Datagrams::new(socket)
}

/// Any port of any address of the peer's family.
pub(super) fn any_address(peer: SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Reads packets until the connection ends. One that stands still is replaced.
async fn run_tcp(peer: SocketAddr, via: &Via, framing: Framing, handle: &impl Fn(LinkEvent)) -> Result<Never, Ended> {
    let mut stream = Arc::new(standstill::connect(peer, via).await?);
    handle(LinkEvent::Up(Link::Tcp(TcpWriter::new(stream.clone(), framing))));
    loop {
        let fresh = tokio::select! {
            ended = read_tcp(&stream, framing, handle) => return ended,
            fresh = standstill::replace(&stream, || standstill::connect(peer, via)) => Arc::new(fresh),
        };
        handle(LinkEvent::Replaced(Link::Tcp(TcpWriter::new(fresh.clone(), framing))));
        let old = std::mem::replace(&mut stream, fresh);
        tokio::spawn(async move { standstill::retire(&old).await });
    }
}

async fn read_tcp(stream: &TcpStream, framing: Framing, handle: &impl Fn(LinkEvent)) -> Result<Never, Ended> {
    let mut deframer = Deframer::default();
    let mut buffer = vec![0; 16_384];
    loop {
        match tcp::read(stream, &mut buffer).await? {
            0 => return Err(Ended::Broken("closed by the other side".into())),
            length if framing == Framing::Rfc4571 => {
                deframer.handle_bytes(&buffer[..length]);
                while let Some(packet) = deframer.poll_packet() {
                    handle(LinkEvent::Packet(packet.to_vec()));
                }
            }
            _ => {} // whoever plays raw PCM has nothing to tell us
        }
    }
}
