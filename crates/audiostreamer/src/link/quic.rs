//! Datagrams in a QUIC connection (RFC 9000, RFC 9221): how it is set up on both sides, so that
//! nothing of QUIC holds back sound.

use std::any::Any;
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::congestion::{Controller, ControllerFactory};
use quinn::{Connection, Endpoint, EndpointConfig, SendDatagramError, TokioRuntime, TransportConfig, VarInt};
use tokio::time::{sleep, timeout};

use super::{Sent, for_quic};
use crate::trust::Identity;

/// What surely fits one datagram on any path that QUIC works on: its least packet of 1200 bytes
/// (RFC 9000 section 14.1) less a header with a connection ID of 8 bytes and a packet number of 4,
/// the frame's type and length (9 bytes as quinn counts), and the tag of 16.
pub const DATAGRAM_BYTES_MIN: usize = 1200 - (1 + 8 + 4) - 9 - 16;

/// Packets that wait for the socket: 85 ms of the largest stream (PCM at 1.5 Mb/s). When they are
/// more, the oldest are dropped.
const SEND_BYTES: usize = 16 * 1024;

/// Packets that wait to be read by us: 340 ms of the same. Those who have yet to be let in have as
/// much.
const RECEIVE_BYTES: usize = 64 * 1024;

/// The control stream holds a few hundred bytes; a peer can't make us keep more.
const STREAM_BYTES: u32 = 4 * 1024;

/// The peer is asked whether it is there when it has said nothing for so long.
const KEEP_ALIVE: Duration = Duration::from_millis(300);

/// A connection that nothing comes from for so long is over.
const IDLE: Duration = Duration::from_secs(10);

/// Before the first measurement. The first packets of a connection are repeated after three times
/// this: a client whose server is just starting must not wait a second.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Closed because there is no more to send.
pub const FINISHED: u32 = 0;
/// Closed by a server that does not let the client in (any longer).
pub const REFUSED: u32 = 1;
/// Closed because whoever runs the server wants this client to go.
pub const KICKED: u32 = 2;

/// Of a connection, the same on both sides. The path's MTU is QUIC's least at first, then what
/// quinn finds to get through, up to Ethernet's.
pub(crate) fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(1u8.into())
        .max_concurrent_uni_streams(0u8.into())
        .stream_receive_window(STREAM_BYTES.into())
        .receive_window((2 * STREAM_BYTES).into())
        .crypto_buffer_size(16 * 1024)
        .max_idle_timeout(Some(IDLE.try_into().expect("10 s fit")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(FIRST_ROUND_TRIP)
        .datagram_send_buffer_size(SEND_BYTES)
        .datagram_receive_buffer_size(Some(RECEIVE_BYTES))
        .congestion_controller_factory(Arc::new(Unthrottled));
    Arc::new(config)
}

/// Of both sides' sockets.
pub(crate) fn endpoint(identity: &Identity) -> EndpointConfig {
    // The same after a restart: clients of the server before are then told at once that it knows
    // them no more (stateless reset, RFC 9000 section 10.3), rather than wait for its answers.
    let reset = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &identity.secret("stateless reset"));
    let mut config = EndpointConfig::new(Arc::new(reset));
    // The first byte must tell QUIC from RTP on the same port (RFC 9443).
    config.grease_quic_bit(false);
    config
}

/// What a client connects from. Must be called within a runtime.
pub(super) fn client(identity: &Identity, socket: UdpSocket) -> io::Result<Endpoint> {
    Endpoint::new_with_abstract_socket(endpoint(identity), None, for_quic(socket)?, Arc::new(TokioRuntime))
}

/// Sends one packet, or drops it where it does not fit. Never waits: the runtime's thread does the
/// rest.
pub(super) fn send(connection: &Connection, packet: &[u8]) -> io::Result<Sent> {
    let had_room = connection.datagram_send_buffer_space() >= packet.len();
    match connection.send_datagram(Bytes::copy_from_slice(packet)) {
        Ok(()) if had_room => Ok(Sent::Sent),
        // The oldest one made room for it.
        Ok(()) | Err(SendDatagramError::TooLarge) => Ok(Sent::Dropped),
        Err(why) => Err(io::Error::new(io::ErrorKind::NotConnected, why)),
    }
}

/// Lets what was sent go out, then says that it is all.
pub(crate) async fn finish(connection: &Connection) {
    // An empty buffer still counts the bookkeeping of one packet.
    let is_empty = || connection.datagram_send_buffer_space() >= SEND_BYTES - 64;
    let gone = async {
        while !is_empty() && connection.close_reason().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = timeout(FLUSH, gone).await;
    connection.close(FINISHED.into(), b"");
    let said = async {
        while connection.stats().frame_tx.connection_close == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = timeout(FLUSH, said).await;
}

/// What is waited for at the end, at the most.
pub(super) const FLUSH: Duration = Duration::from_millis(100);

/// Whether a server has answered that it takes no more connections at the moment.
pub(crate) fn is_busy(error: &quinn::ConnectionError) -> bool {
    let quinn::ConnectionError::ConnectionClosed(close) = error else { return false };
    close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED
}

/// Why a connection is over, as the user reads it; the peer's code where it was closed by the peer.
pub(crate) fn ending(error: &quinn::ConnectionError) -> (String, Option<u32>) {
    use quinn::ConnectionError as Why;
    match error {
        Why::ApplicationClosed(close) => {
            let code = u32::try_from(VarInt::into_inner(close.error_code)).unwrap_or(u32::MAX);
            ("the connection was closed by the other side".into(), Some(code))
        }
        Why::Reset => ("the other side has been restarted".into(), None),
        Why::TimedOut => ("no answer".into(), None),
        Why::LocallyClosed => ("closed".into(), None),
        other => (other.to_string(), None),
    }
}

/// A congestion controller that never holds sound back. How much is sent is decided by who codes
/// it; a controller that reacts to loss would turn each lost packet into late ones.
#[derive(Clone, Debug)]
struct Unthrottled;

/// Above what quinn paces (2^32), far from what could overflow.
const WINDOW: u64 = 1 << 40;

impl ControllerFactory for Unthrottled {
    fn build(self: Arc<Self>, _now: std::time::Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Unthrottled)
    }
}

impl Controller for Unthrottled {
    fn on_congestion_event(
        &mut self,
        _now: std::time::Instant,
        _sent: std::time::Instant,
        _is_persistent_congestion: bool,
        _lost_bytes: u64,
    ) {
    }

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    fn window(&self) -> u64 {
        WINDOW
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        WINDOW
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
