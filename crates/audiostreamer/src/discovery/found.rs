//! A server that has been found: what it says of itself, and what we know of it.

use std::net::IpAddr;

use mdns_sd::ResolvedService;
use serde::Serialize;

use super::KEY;
use crate::error::Error;
use crate::link::Transport;
use crate::report::host_port;
use crate::trust::{Fingerprint, KnownHosts};

/// What a server says of itself. None of it is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it calls itself; only letters, digits and a few signs of what was sent.
    pub name: String,
    /// Where it is: numbers, with the network for those that hold on one only. The likeliest first.
    pub addresses: Vec<String>,
    /// For UDP and TCP.
    pub port: u16,
    /// Whether it listens to UDP.
    pub udp: bool,
    /// Whether it listens to TCP.
    pub tcp: bool,
    /// The key that it says it has.
    pub key: Fingerprint,
}

/// What a server that was found is to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It says that it has this machine's own key: it is another program of this user.
    Own,
    /// It says that it has a key that was met before, under this name.
    Known(String),
    /// Nobody that we know.
    New,
}

impl Found {
    /// Any service; `None` where it is none of ours.
    pub(super) fn of_service(service: &ResolvedService, transport: Transport) -> Option<Self> {
        let mut addresses: Vec<(IpAddr, String)> =
            service.get_addresses().iter().map(|address| (address.to_ip_addr(), address.to_string())).collect();
        addresses.sort_by_key(|(address, text)| (rank(address), text.clone()));
        let addresses = addresses.into_iter().map(|(_, text)| text).take(ADDRESSES_MAX).collect();
        Self::new(&service.fullname, addresses, service.port, service.get_property_val(KEY).flatten(), transport)
    }

    /// From any text and any bytes that come from the network.
    pub fn new(
        fullname: &str,
        addresses: Vec<String>,
        port: u16,
        key: Option<&[u8]>,
        transport: Transport,
    ) -> Option<Self> {
        let key = std::str::from_utf8(key?).ok()?.parse().ok()?;
        let instance = fullname.split("._audiostreamer.").next().unwrap_or_default();
        let (udp, tcp) = (transport == Transport::Udp, transport == Transport::Tcp);
        (port != 0 && !addresses.is_empty()).then(|| Self { name: shown(instance), addresses, port, udp, tcp, key })
    }

    /// The address to try.
    pub fn host(&self) -> &str {
        self.addresses.first().map_or("", String::as_str)
    }

    /// The same with its port.
    pub fn address(&self) -> String {
        host_port(self.host(), self.port)
    }

    /// What it is to us, if what it says is true.
    pub fn standing(&self, own: Fingerprint, known: &KnownHosts) -> Result<Standing, Error> {
        if self.key == own {
            return Ok(Standing::Own);
        }
        Ok(known.name_of(self.key)?.map_or(Standing::New, Standing::Known))
    }

    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        (&self.name, self.port, self.key) == (&other.name, other.port, other.key)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.udp |= other.udp;
        self.tcp |= other.tcp;
        let more = other.addresses.iter().filter(|address| !self.addresses.contains(address)).cloned();
        let more: Vec<String> = more.take(ADDRESSES_MAX.saturating_sub(self.addresses.len())).collect();
        self.addresses.extend(more);
    }
}

/// Of one server: a machine has few networks.
const ADDRESSES_MAX: usize = 16;

/// IPv4 gets through most home networks, and what holds on one link only comes last.
fn rank(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(v4) if v4.is_link_local() => 2,
        IpAddr::V4(_) => 0,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => 3,
        IpAddr::V6(_) => 1,
    }
}

/// A stranger's text, as far as it may be shown on a terminal.
fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || " -_.()'".contains(c) { c } else { '?' };
    text.replace('\\', "").chars().take(NAME_MAX).map(plain).collect()
}

const NAME_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::State;

    fn found(name: &str, key: Option<&[u8]>) -> Option<Found> {
        let fullname = format!("{name}._audiostreamer._udp.local.");
        Found::new(&fullname, vec!["192.168.1.20".into()], 5004, key, Transport::Udp)
    }

    #[test]
    fn only_a_whole_key_makes_a_server() {
        let key = Fingerprint::of(b"key");
        let server = found("studio", Some(key.compact().as_bytes())).unwrap();
        assert_eq!((server.name.as_str(), server.key, server.address().as_str()), ("studio", key, "192.168.1.20:5004"));
        for bad in [None, Some(&b""[..]), Some(b"ABCD"), Some(&[0xff; 52])] {
            assert_eq!(found("studio", bad), None);
        }
        let nowhere = Found::new("x", vec![], 5004, Some(key.compact().as_bytes()), Transport::Udp);
        assert_eq!(nowhere, None);
    }

    #[test]
    fn no_name_commands_the_terminal() {
        let key = Fingerprint::of(b"key").compact();
        let name = |text: &str| found(text, Some(key.as_bytes())).unwrap().name;
        assert_eq!(name("\x1b[2Jboom\r\n"), "??2Jboom??");
        assert_eq!(name("Jürgens Küche (2)"), "Jürgens Küche (2)");
        assert_eq!(name(&"x".repeat(1000)).len(), NAME_MAX);
    }

    #[test]
    fn a_server_is_known_by_its_key_and_not_by_its_name() {
        let home = tempfile::tempdir().unwrap();
        let known = KnownHosts::of(&State::at(home.path().into()).unwrap());
        let [own, studio, other] = [b"own", b"stu", b"oth"].map(|key| Fingerprint::of(key));
        known.remember("studio:5004", studio).unwrap();
        let standing =
            |key: Fingerprint| found("studio", Some(key.compact().as_bytes())).unwrap().standing(own, &known).unwrap();
        assert_eq!(standing(studio), Standing::Known("studio:5004".into()));
        assert_eq!(standing(own), Standing::Own);
        assert_eq!(standing(other), Standing::New, "it calls itself the same, and is another one");
    }

    #[test]
    fn what_listens_to_both_is_one_server_with_all_its_addresses() {
        let key = Fingerprint::of(b"key").compact();
        let mut server = found("studio", Some(key.as_bytes())).unwrap();
        let over_tcp = Found { udp: false, tcp: true, addresses: vec!["fe80::1%eth0".into()], ..server.clone() };
        assert!(server.is_same_server(&over_tcp));
        server.merge(&over_tcp);
        assert!(server.udp && server.tcp);
        assert_eq!(server.addresses, ["192.168.1.20", "fe80::1%eth0"]);
    }
}
