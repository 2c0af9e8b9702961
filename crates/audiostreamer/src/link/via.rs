//! By which way packets leave this machine, or reach the peer.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

use socket2::SockRef;

use super::DEFAULT_PORT;

/// One of several ways to the same peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Whichever the system takes.
    #[default]
    Usual,
    /// A network interface of this machine.
    Interface(String),
    /// Another address of the peer: its host and port.
    Host(String, u16),
}

/// The kernel's names of interfaces have at most so many bytes (`IFNAMSIZ`, less the zero).
const INTERFACE_BYTES_MAX: usize = 15;

/// What comes before the peer's other address.
const TO: &str = "to:";

impl Via {
    /// Has a socket use the interface, before it is connected.
    pub(super) fn bind(&self, socket: SockRef<'_>) -> io::Result<()> {
        match self {
            Via::Interface(name) => socket.bind_device(Some(name.as_bytes())),
            Via::Usual | Via::Host(..) => Ok(()),
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Via::Usual => f.write_str("the usual way"),
            Via::Interface(name) => write!(f, "the way through {name}"),
            Via::Host(host, port) => write!(f, "the way to {}", crate::report::host_port(host, *port)),
        }
    }
}

/// As it is written on a command line: an interface's name, or `to:HOST[:PORT]`.
impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(peer) = text.strip_prefix(TO) {
            return crate::cli::values::host_port(peer, DEFAULT_PORT).map(|(host, port)| Via::Host(host, port));
        }
        let fits = (1..=INTERFACE_BYTES_MAX).contains(&text.len());
        let is_name = text.chars().all(|c| c.is_ascii_graphic() && !"/:".contains(c));
        match fits && is_name && text.parse::<IpAddr>().is_err() {
            true => Ok(Via::Interface(text.into())),
            false => Err("an interface like wlan0, or to:HOST[:PORT], another address of the server".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_an_interface_or_another_host() {
        assert_eq!("wlan0".parse(), Ok(Via::Interface("wlan0".into())));
        assert_eq!("enp3s0.100".parse(), Ok(Via::Interface("enp3s0.100".into())));
        assert_eq!("to:studio2:6000".parse(), Ok(Via::Host("studio2".into(), 6000)));
        assert_eq!("to:10.0.0.2".parse(), Ok(Via::Host("10.0.0.2".into(), DEFAULT_PORT)));
        for bad in ["", "to:", "a/b", "studio:5004", "192.168.2.5", "a-name-that-is-too-long-for-an-interface"] {
            assert!(bad.parse::<Via>().is_err(), "{bad}");
        }
    }
}
