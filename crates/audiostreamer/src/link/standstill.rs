//! A connection that stands still, and a fresh one in its place.
//!
//! When a path loses everything for a while, the kernel repeats what was lost after 0.2 s and then each
//! time after twice as long: when the path is back, the connection may stand still for as long again.
//! A connection made meanwhile begins as soon as it is back. Whichever moves first is used.

#![expect(
    unsafe_code,
    reason = "what the kernel knows of a connection is told by a system call that no safe crate wraps"
)]

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{Via, tcp};

/// Connections are looked at so often.
const LOOK: Duration = Duration::from_millis(50);

/// While a server does not answer, it is asked once more so often; all attempts live on. So a lost one,
/// or a path that was out, costs no more than this.
const CONNECT_AGAIN: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After an attempt that came to nothing.
const RETRY: Duration = Duration::from_millis(100);

/// Connects, and sets what a live stream needs.
pub(super) async fn connect(peer: SocketAddr, via: &Via) -> io::Result<TcpStream> {
    let stream = timeout(CONNECT_TIMEOUT, first_to_connect(peer, via))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer"))??;
    tcp::tune(&stream)?;
    Ok(stream)
}

async fn first_to_connect(peer: SocketAddr, via: &Via) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    let mut again = interval(CONNECT_AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = again.tick() => drop(attempts.spawn(socket(peer, via)?.connect(peer))),
            Some(attempt) = attempts.join_next() => return attempt?,
        }
    }
}

fn socket(peer: SocketAddr, via: &Via) -> io::Result<TcpSocket> {
    let socket = match peer {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    via.bind(SockRef::from(&socket))?;
    Ok(socket)
}

/// Waits until `stream` stands still and `open` has made another one that is there before it moves again.
pub(super) async fn replace<T, E, F>(stream: &TcpStream, open: impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    loop {
        until(|| stands_still(stream)).await;
        tracing::debug!("a connection stands still");
        tokio::select! {
            fresh = persistently(&open) => return fresh,
            () = until(|| !stands_still(stream)) => {}
        }
    }
}

/// Ends a connection that was replaced, once nothing more can be on its way over the new one's
/// beginning: its end must not be taken for that of the stream. What the kernel still holds is the past,
/// and is dropped.
pub(super) async fn retire(stream: &TcpStream) {
    sleep(HANDOVER).await;
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

const HANDOVER: Duration = Duration::from_secs(1);

async fn persistently<T, E, F>(open: &impl Fn() -> F) -> T
where
    F: Future<Output = Result<T, E>>,
{
    loop {
        match open().await {
            Ok(fresh) => return fresh,
            Err(_) => sleep(RETRY).await, // why not is said when the old one breaks
        }
    }
}

/// Waits until something is so at two looks in a row.
async fn until(is_so: impl Fn() -> bool) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_so = false;
    loop {
        look.tick().await;
        if std::mem::replace(&mut was_so, is_so()) && was_so {
            return;
        }
    }
}

/// Whether what was sent had to be repeated because nothing of it was acknowledged for as long as the
/// kernel is patient, and has not been since. A peer that does not read is no reason: its kernel answers.
fn stands_still(stream: &TcpStream) -> bool {
    // The first bytes of `struct tcp_info` of linux/tcp.h, which only ever grows at its end.
    let mut info = [0u8; 8];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the call writes at most `length` bytes through the first pointer, and their number through
    // the second.
    let result = unsafe {
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &mut length)
    };
    const RETRANSMITS: usize = 2;
    result == 0 && length as usize > RETRANSMITS && info[RETRANSMITS] > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_no_standstill() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = connect(listener.local_addr().unwrap(), &Via::default()).await.unwrap();
        let (_silent, _) = listener.accept().await.unwrap();
        while stream.try_write(&[0; 65_536]).is_ok() {
            tokio::task::yield_now().await;
        }
        let replaced = replace(&stream, async || Ok::<_, ()>(())); // and none is made
        assert!(timeout(Duration::from_millis(500), replaced).await.is_err());
    }
}
