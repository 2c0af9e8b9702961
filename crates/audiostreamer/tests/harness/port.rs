//! Ports on the loopback interface.

use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use super::wait;

/// Below the ports that the system hands to clients, so that nobody is given one of ours.
const FIRST: u32 = 12_000;
const COUNT: u32 = 20_000;

/// Apart from each other, because RTP without rtcp-mux also uses the next odd port.
const STEP: u32 = 2;

/// An even port that is free for UDP and TCP, as is the one above it. No other test gets it.
pub fn free() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Test binaries may run at the same time: each begins somewhere else.
    let start = std::process::id().wrapping_mul(331);
    (0..COUNT)
        .map(|_| start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)).wrapping_mul(STEP))
        .map(|offset| (FIRST + offset % COUNT) as u16)
        .find(|&port| is_free(port) && is_free(port + 1))
        .expect("there is a free port")
}

fn is_free(port: u16) -> bool {
    UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Waits until some program receives UDP on `port`.
pub fn wait_for_udp(port: u16) {
    wait::until(format!("a UDP socket on port {port}"), || is_in(&["udp", "udp6"], port, None));
}

/// Waits until some program accepts TCP connections on `port`.
pub fn wait_for_tcp(port: u16) {
    const LISTEN: &str = "0A";
    wait::until(format!("a TCP listener on port {port}"), || is_in(&["tcp", "tcp6"], port, Some(LISTEN)));
}

/// Looks into the kernel's tables, since a test connection would be a client to who listens.
fn is_in(tables: &[&str], port: u16, state: Option<&str>) -> Option<()> {
    let ending = format!(":{port:04X}");
    let is_it = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&ending) && state.is_none_or(|state| fields.nth(1) == Some(state))
    };
    let table = |name: &&str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    tables.iter().any(|name| table(name).lines().any(is_it)).then_some(())
}
