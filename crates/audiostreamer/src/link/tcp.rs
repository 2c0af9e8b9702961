//! Packets over TCP that stay live: what can't be written now is dropped, not queued.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use audiostreamer_core::framing;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::Sent;

/// The kernel takes no more while this much is unsent: one or two frames, so that sound waits here,
/// where it can be dropped, and not there, where it only gets old.
const UNSENT_BYTES_MAX: u32 = 2048;

/// A peer that acknowledges nothing for this long is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(4);

/// How packets are laid into the byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// A length before each (RFC 4571).
    Rfc4571,
    /// Nothing between them: raw PCM.
    None,
}

/// Sets what a live stream needs on a connected socket: no Nagle, no deep queue, dead peers
/// noticed.
pub fn tune(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let second = Duration::from_secs(1);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(second).with_interval(second).with_retries(3))
}

/// Writes packets to a connection without ever waiting. A record is never left half-written: its
/// rest goes first, and until it has gone packets are dropped.
pub struct TcpWriter {
    stream: OwnedWriteHalf,
    framing: Framing,
    /// The rest of one record.
    rest: Vec<u8>,
}

impl TcpWriter {
    /// Of the other end.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// A writer at the start of a record. [`tune`] the connection first.
    pub fn new(stream: OwnedWriteHalf, framing: Framing) -> Self {
        Self { stream, framing, rest: Vec::new() }
    }

    pub(super) fn send(&mut self, packet: &[u8]) -> io::Result<Sent> {
        self.write_rest()?;
        if !self.rest.is_empty() {
            return Ok(Sent::Dropped);
        }
        match self.framing {
            Framing::Rfc4571 => framing::frame(packet, &mut self.rest),
            Framing::None => self.rest.extend(packet),
        }
        let whole = self.rest.len();
        self.write_rest()?;
        if self.rest.len() == whole {
            self.rest.clear(); // nothing of it has gone: drop it now rather than send it late
            return Ok(Sent::Dropped);
        }
        Ok(Sent::Sent)
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while !self.rest.is_empty() {
            match self.stream.try_write(&self.rest) {
                Ok(written) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_stalled_reader_gets_whole_records_and_then_fresh_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream).unwrap();
        let (mut reader, _) = listener.accept().await.unwrap();
        let (_keep, half) = stream.into_split();
        let mut writer = TcpWriter::new(half, Framing::Rfc4571);

        let packet = |n: u32| n.to_be_bytes().repeat(250);
        let mut dropped = 0;
        let mut last = 0;
        while dropped < 100 {
            dropped += u32::from(writer.send(&packet(last)).unwrap() == Sent::Dropped);
            last += 1;
            tokio::task::yield_now().await; // readiness is learnt by the runtime
        }
        // The reader comes back: what it finds are whole records, then the newest.
        let mut bytes = vec![0; 1 << 20];
        let mut deframer = framing::Deframer::default();
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            tokio::select! {
                read = reader.read(&mut bytes) => deframer.handle_bytes(&bytes[..read.unwrap()]),
                () = tokio::task::yield_now() => drop(writer.send(&packet(last)).unwrap()),
            }
            while let Some(record) = deframer.poll_packet() {
                assert_eq!(record.len(), 1000);
                assert!(record.chunks(4).all(|chunk| chunk == &record[..4]), "torn record");
                seen.push(u32::from_be_bytes(record[..4].try_into().unwrap()));
            }
        }
        assert!(seen.is_sorted());
    }
}
