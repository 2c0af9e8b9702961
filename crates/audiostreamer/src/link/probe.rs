//! Who answers at an address: a handshake that does not ask to be let in, as somebody whom nobody knows.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use audiostreamer_core::Instant;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::connect::any_address;
use super::{Via, bind, quic, standstill};
use crate::clock;
use crate::error::plain;
use crate::trust::{Identity, tls};

/// What has come back from a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Somebody is there.
    Open(Path),
    /// One of ours, started with --plain or --raw.
    Plain,
    /// One of ours, with no time for us.
    Busy,
    /// The machine is there, and says that nobody listens; or something on the way says so.
    Refused,
    /// Nothing.
    Silent,
    /// This machine can't even send.
    Unsent(String),
}

/// What a connection tells of its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// There and back.
    pub round_trip: Duration,
    /// The largest datagram that gets through, of those that were tried; UDP only.
    pub datagram_bytes: Option<u16>,
}

/// As long as it takes a client, twice.
const HANDSHAKE: Duration = Duration::from_secs(3);

/// A server waits for a word from us for longer than this; the path's MTU is found meanwhile.
const LISTEN: Duration = Duration::from_millis(2500);

/// An answer that nobody listens comes at once.
const REFUSAL: Duration = Duration::from_secs(1);

/// Over UDP: QUIC.
pub(crate) async fn udp(address: SocketAddr) -> Answer {
    match shake_hands(address).await {
        Ok(Answer::Silent) if is_refused(address).await => Answer::Refused,
        Ok(answer) => answer,
        Err(why) => Answer::Unsent(plain(&why)),
    }
}

async fn shake_hands(address: SocketAddr) -> io::Result<Answer> {
    let identity = Identity::ephemeral().map_err(io::Error::other)?;
    let (config, _) = tls::client(&identity, None).map_err(io::Error::other)?;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).map_err(io::Error::other)?));
    config.transport_config(quic::transport());
    let endpoint = quic::client(&identity, bind(any_address(address))?)?;
    let connecting = endpoint.connect_with(config, address, tls::SERVER_NAME).map_err(io::Error::other)?;
    let connection = match timeout(HANDSHAKE, connecting).await {
        Err(_) => return Ok(Answer::Silent),
        Ok(Err(ConnectionError::VersionMismatch)) => return Ok(Answer::Plain),
        Ok(Err(error)) if quic::is_busy(&error) => return Ok(Answer::Busy),
        Ok(Err(ConnectionError::TimedOut)) => return Ok(Answer::Silent),
        Ok(Err(error)) => return Err(io::Error::other(error)),
        Ok(Ok(connection)) => connection,
    };
    let _ = timeout(LISTEN, connection.closed()).await;
    let path = connection.stats().path;
    connection.close(quic::FINISHED.into(), b"");
    let _ = timeout(Duration::from_millis(100), endpoint.wait_idle()).await;
    Ok(Answer::Open(Path { round_trip: path.rtt, datagram_bytes: Some(path.current_mtu) }))
}

/// Whether a datagram comes back as undeliverable (ICMP), which only a connected socket is told.
async fn is_refused(address: SocketAddr) -> bool {
    let ask = async {
        let socket = UdpSocket::bind(any_address(address)).await?;
        socket.connect(address).await?;
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 1]).await
    };
    matches!(timeout(REFUSAL, ask).await, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Over TCP: a connection, and nothing in it.
pub(crate) async fn tcp(address: SocketAddr) -> Answer {
    let begin: Instant = clock::now();
    match standstill::connect(address, &Via::Usual).await {
        Ok(_) => Answer::Open(Path { round_trip: clock::now() - begin, datagram_bytes: None }),
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Answer::Refused,
            io::ErrorKind::TimedOut => Answer::Silent,
            _ => Answer::Unsent(plain(&error)),
        },
    }
}
