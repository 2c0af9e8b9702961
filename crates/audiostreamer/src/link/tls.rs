//! TLS 1.3 (RFC 8446) over TCP that stays live, as plain TCP does (`tcp`): what can't be written now
//! waits, and what has waited for too long is dropped. That has to be decided before a packet is
//! encrypted, as a record that has got its number must be sent.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use audiostreamer_core::framing::{self, Deframer};
use rustls::Connection;
use tokio::net::TcpStream;

use super::Sent;
use super::tcp::{self, Outflow};
use crate::trust::{EXPORTER_LABEL, Exporter, Fingerprint, tls};

/// A connection whose handshake is done. Read by one task, written by one [`TlsWriter`].
pub struct TlsStream {
    socket: TcpStream,
    session: Mutex<Connection>,
}

/// Why there is no handshake.
#[derive(Debug)]
pub enum HandshakeError {
    /// The connection broke, or said nothing that makes sense.
    Io(io::Error),
    /// TLS did not come about; the other side may have been told why.
    Tls(rustls::Error),
}

impl TlsStream {
    /// Shakes hands on a fresh connection, and gives up when the peer has sent more than
    /// `bytes_max`. Takes as long as the peer likes: put a limit on it.
    pub async fn handshake(
        socket: TcpStream,
        mut session: Connection,
        bytes_max: usize,
    ) -> Result<Self, HandshakeError> {
        let mut received = 0;
        while session.is_handshaking() || session.wants_write() {
            if session.wants_write() {
                flush(&socket, &mut session).await.map_err(HandshakeError::Io)?;
                continue;
            }
            let mut bytes = [0; 4096];
            let length = tcp::read(&socket, &mut bytes).await.map_err(HandshakeError::Io)?;
            received += length;
            if length == 0 || received > bytes_max {
                return Err(HandshakeError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            if let Err(error) = take(&mut session, &bytes[..length]) {
                let _ = flush(&socket, &mut session).await; // the alert that says why
                return Err(error);
            }
        }
        match session.alpn_protocol() {
            Some(protocol) if protocol == tls::PROTOCOL => Ok(Self { socket, session: Mutex::new(session) }),
            _ => Err(HandshakeError::Tls(rustls::Error::NoApplicationProtocol)),
        }
    }

    /// The key that the peer has proved to have.
    pub fn peer_key(&self) -> Result<Fingerprint, rustls::Error> {
        tls::key_of(self.lock().peer_certificates().unwrap_or_default())
    }

    /// Waits for bytes and adds what was in them to `plain`; how many came over the wire, or `None`
    /// when the other side has closed.
    pub async fn read(&self, plain: &mut Vec<u8>) -> io::Result<Option<usize>> {
        // What came with the last bytes of the handshake is here already.
        if drain(&mut self.lock(), plain)? {
            return Ok(Some(0));
        }
        let mut bytes = [0; 16_384];
        let length = tcp::read(&self.socket, &mut bytes).await?;
        if length == 0 {
            return Ok(None);
        }
        let mut session = self.lock();
        let mut rest = &bytes[..length];
        while !rest.is_empty() {
            session.read_tls(&mut rest)?;
            session.process_new_packets().map_err(invalid)?;
            drain(&mut session, plain)?;
        }
        Ok(Some(length))
    }

    /// Ends the connection in both directions; whoever reads it is told.
    pub fn close(&self) {
        tcp::close(&self.socket);
    }

    /// The connection under it.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Encrypts a packet as a record of RFC 4571, for which `record` is memory.
    fn encrypt(&self, packet: &[u8], record: &mut Vec<u8>, out: &mut Vec<u8>) -> io::Result<()> {
        record.clear();
        framing::frame(packet, record);
        let mut session = self.lock();
        session.writer().write_all(record)?;
        while session.wants_write() {
            session.write_tls(out)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.session.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Writes packets without ever waiting; see [`TcpWriter`](super::TcpWriter), which does the same
/// without TLS.
pub struct TlsWriter {
    stream: Arc<TlsStream>,
    record: Vec<u8>,
    outflow: Outflow,
}

impl TlsWriter {
    /// Of the other end.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.stream.socket.peer_addr().ok()
    }

    /// The only writer of that connection.
    pub fn new(stream: Arc<TlsStream>) -> Self {
        Self { stream, record: Vec::new(), outflow: Outflow::default() }
    }

    /// Sends one packet or control message as soon as there is room for it.
    pub fn send(&mut self, packet: &[u8]) -> io::Result<Sent> {
        let Self { stream, record, outflow } = self;
        outflow.send(&stream.socket, packet, |packet, out| stream.encrypt(packet, record, out))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Self { stream, record, outflow } = self;
        outflow.flush(&stream.socket, |packet, out| stream.encrypt(packet, record, out))
    }

    pub(super) fn outflow(&mut self) -> &mut Outflow {
        &mut self.outflow
    }

    /// Ends the connection; see [`TlsStream::close`].
    pub fn close(&self) {
        self.stream.close();
    }
}

/// Records of RFC 4571 out of TLS, one by one.
pub(crate) struct RecordReader {
    stream: Arc<TlsStream>,
    deframer: Deframer,
    plain: Vec<u8>,
    /// Bytes that may still be read.
    limit: usize,
}

impl RecordReader {
    /// Gives up when more than `limit` bytes have come.
    pub fn new(stream: Arc<TlsStream>, limit: usize) -> Self {
        Self { stream, deframer: Deframer::default(), plain: Vec::new(), limit }
    }

    /// See [`Connection::export_keying_material`].
    pub fn exporter(&self) -> Result<Exporter, rustls::Error> {
        self.stream.lock().export_keying_material(Exporter::default(), EXPORTER_LABEL, Some(b""))
    }

    /// From now on any number may come.
    pub fn lift_limit(&mut self) {
        self.limit = usize::MAX;
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(record) = self.deframer.poll_packet() {
                return Ok(record.to_vec());
            }
            self.plain.clear();
            let Some(bytes) = self.stream.read(&mut self.plain).await? else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed by the other side"));
            };
            self.deframer.handle_bytes(&self.plain);
            if bytes > self.limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "too much before a greeting"));
            }
            self.limit -= bytes;
        }
    }
}

async fn flush(socket: &TcpStream, session: &mut Connection) -> io::Result<()> {
    let mut bytes = Vec::new();
    while session.wants_write() {
        session.write_tls(&mut bytes)?;
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        socket.writable().await?;
        match socket.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Takes bytes during the handshake.
fn take(session: &mut Connection, mut bytes: &[u8]) -> Result<(), HandshakeError> {
    while !bytes.is_empty() {
        session.read_tls(&mut bytes).map_err(HandshakeError::Io)?;
        session.process_new_packets().map_err(HandshakeError::Tls)?;
    }
    Ok(())
}

/// Adds what has been decrypted to `plain`; whether there was anything.
fn drain(session: &mut Connection, plain: &mut Vec<u8>) -> io::Result<bool> {
    let before = plain.len();
    let mut chunk = [0; 4096];
    loop {
        match session.reader().read(&mut chunk) {
            Ok(0) => break, // closed cleanly; the socket will say so, too
            Ok(length) => plain.extend(&chunk[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(plain.len() > before)
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
