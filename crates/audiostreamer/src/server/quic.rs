//! The server's UDP port where sound is encrypted: QUIC, and whatever else arrives.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use audiostreamer_core::Instant;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, Endpoint, Incoming, ServerConfig, TokioRuntime, UdpPoller};
use tokio::time::timeout;

use super::admission::Limits;
use crate::clock;
use crate::error::Error;
use crate::link::{bind, for_quic, mismatch, quic};
use crate::trust::Identity;

/// What is waited for at the end, so that clients hear of it.
const FAREWELL: Duration = Duration::from_millis(200);

/// One endpoint and its socket.
pub(super) struct QuicPort {
    endpoint: Endpoint,
    refused: Arc<Refused>,
}

/// Datagrams that were no QUIC, and answers to them that were not given.
#[derive(Default)]
struct Refused {
    datagrams: AtomicU64,
    answers: AtomicU64,
}

impl QuicPort {
    /// Must be called within a runtime.
    pub fn bind(
        address: SocketAddr,
        identity: &Identity,
        tls: Arc<rustls::ServerConfig>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let failed = |why| Error::Listen { address, transport: "udp", why };
        let socket = bind(address).map_err(failed)?;
        let refused = Arc::new(Refused::default());
        let inner = for_quic(socket).map_err(failed)?;
        let answers =
            Mutex::new(Answers { per_second: limits.answers_per_second, second: Instant::default(), sent: 0 });
        let socket = Arc::new(Demultiplexer { inner, refused: refused.clone(), answers });
        let config = server_config(tls, limits).map_err(|why| failed(io::Error::other(why)))?;
        let endpoint_config = quic::endpoint(identity);
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new_with_abstract_socket(endpoint_config, Some(config), socket, runtime);
        Ok(Self { endpoint: endpoint.map_err(failed)?, refused })
    }

    pub fn address(&self) -> Option<SocketAddr> {
        self.endpoint.local_addr().ok()
    }

    /// Waits for the first packet of a connection.
    pub async fn accept(&self) -> Incoming {
        match self.endpoint.accept().await {
            Some(incoming) => incoming,
            None => std::future::pending().await,
        }
    }

    /// Datagrams that were no QUIC, and answers to them that were not given.
    pub fn refused(&self) -> (u64, u64) {
        (self.refused.datagrams.load(Ordering::Relaxed), self.refused.answers.load(Ordering::Relaxed))
    }

    /// Ends all connections that are left.
    pub async fn finish(&self) {
        self.endpoint.close(quic::FINISHED.into(), b"");
        let _ = timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

fn server_config(
    tls: Arc<rustls::ServerConfig>,
    limits: &Limits,
) -> Result<ServerConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(quic::transport());
    // First packets of connections that nobody has looked at yet, and what each of them may bring.
    let bytes = limits.handshake_bytes as u64;
    config.max_incoming(limits.handshakes).incoming_buffer_size(bytes);
    config.incoming_buffer_size_total(bytes.saturating_mul(limits.handshakes as u64));
    Ok(config)
}

/// Keeps from QUIC what is none, told by its first byte (RFC 9443), and tells whoever speaks plain
/// RTP that it will not be played.
struct Demultiplexer {
    inner: Arc<dyn AsyncUdpSocket>,
    refused: Arc<Refused>,
    answers: Mutex<Answers>,
}

/// Answers to plain RTP in the present second: the addresses are not proved, and a wrong one must
/// not be flooded through us.
struct Answers {
    per_second: u32,
    second: Instant,
    sent: u32,
}

impl Answers {
    fn take(&mut self, now: Instant) -> bool {
        if now - self.second > Duration::from_secs(1) {
            (self.second, self.sent) = (now, 0);
        }
        let takes = self.sent < self.per_second;
        self.sent += u32::from(takes);
        takes
    }
}

impl Demultiplexer {
    fn refuse(&self, datagram: &[u8], from: SocketAddr, to: Option<IpAddr>) {
        self.refused.datagrams.fetch_add(1, Ordering::Relaxed);
        let Some(answer) = mismatch::no_rtp(datagram) else { return };
        if !self.answers.lock().is_ok_and(|mut answers| answers.take(clock::now())) {
            self.refused.answers.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let transmit = Transmit { destination: from, ecn: None, contents: &answer, segment_size: None, src_ip: to };
        let _ = self.inner.try_send(&transmit); // it will ask again
    }
}

impl AsyncUdpSocket for Demultiplexer {
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.inner.poll_recv(cx, bufs, meta))?;
        for (buf, meta) in bufs.iter_mut().zip(meta.iter_mut()).take(count) {
            let (from, to) = (meta.addr, meta.dst_ip);
            meta.len = match meta.len {
                0 => {
                    self.refuse(&[], from, to);
                    0
                }
                length => {
                    mismatch::keep_quic(&mut buf[..length], meta.stride, |datagram| self.refuse(datagram, from, to))
                }
            };
        }
        Poll::Ready(Ok(count))
    }

    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.inner.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.inner.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl fmt::Debug for Demultiplexer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
