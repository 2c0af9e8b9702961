//! Packets over TCP that stay live: sound waits here, where it can be dropped, and not in the kernel,
//! where it only gets old.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use audiostreamer_core::{Outbox, framing};
use rustix::event::{PollFd, PollFlags, Timespec};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::Sent;
use crate::clock;

/// The kernel takes no more while this much is unsent: one or two frames.
const UNSENT_BYTES_MAX: u32 = 2048;

/// A peer that acknowledges nothing for this long is gone.
const USER_TIMEOUT: Duration = Duration::from_secs(4);

/// Expedited Forwarding (RFC 3246), for routers that know what that is.
const EXPEDITED: u32 = 46 << 2;

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
    // Where few packets are on their way, a lost one is repeated at an even pace. A wish, as is the next.
    let _ = socket.set_tcp_thin_linear_timeouts(true);
    let _ = match stream.peer_addr()?.is_ipv4() {
        true => socket.set_tos_v4(EXPEDITED),
        false => socket.set_tclass_v6(EXPEDITED),
    };
    let second = Duration::from_secs(1);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(second).with_interval(second).with_retries(3))
}

/// Waits for bytes; none when the other side has closed. They are acknowledged at once: the kernel
/// would wait up to 40 ms for more, and the sender's for as long to hear of a loss.
pub(crate) async fn read(stream: &TcpStream, bytes: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => {
                let _ = SockRef::from(stream).set_tcp_quickack(true);
                return result;
            }
        }
    }
}

/// Ends a connection in both directions; whoever reads it is told.
pub(super) fn close(stream: &TcpStream) {
    let _ = SockRef::from(stream).shutdown(Shutdown::Both); // gone already is as good
}

/// What is on its way to one connection: packets that wait, and the rest of the one that was begun.
#[derive(Default)]
pub(super) struct Outflow {
    outbox: Outbox,
    packet: Vec<u8>,
    /// As it goes over the wire, and not yet taken by the kernel.
    rest: Vec<u8>,
}

impl Outflow {
    /// Adds a packet, and writes what the kernel takes now. `encode` appends a packet as it goes over
    /// the wire: what was encoded is written to its end.
    pub fn send(
        &mut self,
        stream: &TcpStream,
        packet: &[u8],
        encode: impl FnMut(&[u8], &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<Sent> {
        let dropped = self.outbox.push(clock::now(), packet);
        self.flush(stream, encode)?;
        Ok(if dropped { Sent::Dropped } else { Sent::Sent })
    }

    /// Writes what the kernel takes now: one packet each time that it says that it has room.
    pub fn flush(
        &mut self,
        stream: &TcpStream,
        mut encode: impl FnMut(&[u8], &mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.write_rest(stream)?;
        while self.rest.is_empty() && is_writable(stream) && self.outbox.poll(clock::now(), &mut self.packet) {
            encode(&self.packet, &mut self.rest)?;
            self.write_rest(stream)?;
        }
        Ok(())
    }

    /// How long packets may wait; see [`Outbox::set_patience`].
    pub fn set_patience(&mut self, patience: Duration) {
        self.outbox.set_patience(patience);
    }

    /// Whether all has been given to the kernel.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.outbox.is_empty()
    }

    fn write_rest(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.rest.is_empty() {
            // Past the runtime, which knows only what was so some time ago.
            match SockRef::from(stream).send(&self.rest) {
                Ok(written) => drop(self.rest.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the kernel holds less than it may (`TCP_NOTSENT_LOWAT`).
fn is_writable(stream: &TcpStream) -> bool {
    let mut wanted = [PollFd::new(stream, PollFlags::OUT)];
    rustix::event::poll(&mut wanted, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
}

/// Writes packets to a connection without ever waiting. What the kernel has no room for waits, and is
/// dropped when it is too old to be of use. A record is never left half-written.
pub struct TcpWriter {
    stream: Arc<TcpStream>,
    framing: Framing,
    outflow: Outflow,
}

impl TcpWriter {
    /// The only writer, at the start of a record. [`tune`] the connection first.
    pub fn new(stream: Arc<TcpStream>, framing: Framing) -> Self {
        Self { stream, framing, outflow: Outflow::default() }
    }

    /// Of the other end.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    pub(super) fn send(&mut self, packet: &[u8]) -> io::Result<Sent> {
        self.outflow.send(&self.stream, packet, self.framing.encoder())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.outflow.flush(&self.stream, self.framing.encoder())
    }

    pub(super) fn outflow(&mut self) -> &mut Outflow {
        &mut self.outflow
    }
}

impl Framing {
    fn encoder(self) -> impl FnMut(&[u8], &mut Vec<u8>) -> io::Result<()> {
        move |packet, out| {
            match self {
                Framing::Rfc4571 => framing::frame(packet, out),
                Framing::None => out.extend(packet),
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_stalled_reader_gets_whole_records_and_then_fresh_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        tune(&stream).unwrap();
        let (reader, _) = listener.accept().await.unwrap();
        let mut writer = TcpWriter::new(Arc::new(stream), Framing::Rfc4571);

        let packet = |n: u32| n.to_be_bytes().repeat(250);
        let mut dropped = 0;
        let mut last = 0;
        while dropped < 100 {
            dropped += u32::from(writer.send(&packet(last)).unwrap() == Sent::Dropped);
            last += 1;
            tokio::time::sleep(Duration::from_millis(1)).await; // packets get old
        }
        // The reader comes back: what it finds are whole records, then the newest.
        let mut bytes = vec![0; 1 << 20];
        let mut deframer = framing::Deframer::default();
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            tokio::select! {
                length = read(&reader, &mut bytes) => deframer.handle_bytes(&bytes[..length.unwrap()]),
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
