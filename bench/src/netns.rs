//! Where the two programs talk: the machine's own loopback, a private one, or two network
//! namespaces with an impaired link between them.
//!
//! JACK works across network namespaces, since its clients talk through shared memory and sockets
//! in the file system.

use std::ffi::CString;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};

use crate::link::Link;
use crate::os;
use crate::process::{Process, run};
use crate::weather::Scenario;

/// The network between the sender and the receiver.
pub enum Network {
    /// The machine's loopback, shared with everything else that runs: for users who are not root.
    Host,
    /// A loopback of our own, so that only our bytes are counted.
    Private(Namespace),
    /// Two namespaces, joined by a link that has the scenario's delay and loss.
    Impaired { sender: Namespace, receiver: Namespace, link: Link },
}

impl Network {
    /// Loopback: a private one where we may have it.
    pub fn loopback() -> Self {
        Namespace::new("lo").map_or(Self::Host, Self::Private)
    }

    /// Two namespaces with an impaired link between them; needs root.
    pub fn impaired(scenario: Scenario, seed: u64) -> Result<Self> {
        let sender = Namespace::new("a").context("network namespaces need root and iproute2")?;
        let receiver = Namespace::new("b")?;
        let near = sender.add_tun(SENDER, RECEIVER)?;
        let far = receiver.add_tun(RECEIVER, SENDER)?;
        let link = Link::start(near, far, scenario, seed)?;
        Ok(Self::Impaired { sender, receiver, link })
    }

    /// The address under which the sender reaches the receiver.
    pub fn receiver_address(&self) -> IpAddr {
        match self {
            Self::Impaired { .. } => RECEIVER.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// `argv` as it is run on the sender's side.
    pub fn on_sender(&self, argv: Vec<String>) -> Vec<String> {
        match self {
            Self::Host => argv,
            Self::Private(namespace) | Self::Impaired { sender: namespace, .. } => namespace.enter(argv),
        }
    }

    /// `argv` as it is run on the receiver's side.
    pub fn on_receiver(&self, argv: Vec<String>) -> Vec<String> {
        match self {
            Self::Host => argv,
            Self::Private(namespace) | Self::Impaired { receiver: namespace, .. } => namespace.enter(argv),
        }
    }

    /// Packets lost on the way from the sender to the receiver, in percent.
    pub fn lost_percent(&self) -> f64 {
        match self {
            Self::Impaired { link, .. } => link.lost_percent(),
            _ => 0.0,
        }
    }

    /// Bytes of IP packets that have gone over the wire; on loopback in both directions together.
    pub fn wire_bytes(&self, sender: &Process) -> u64 {
        match self {
            Self::Impaired { .. } => sender.traffic(TUN).sent_bytes,
            _ => {
                let lo = sender.traffic("lo");
                lo.sent_bytes.saturating_sub(ETHERNET_HEADER * lo.sent_packets)
            }
        }
    }
}

/// A network namespace, deleted on drop.
pub struct Namespace {
    name: String,
}

impl Namespace {
    fn new(role: &str) -> Result<Self> {
        let name = format!("asbench-{}-{role}", std::process::id());
        run(&["ip", "netns", "add", &name])?;
        let namespace = Self { name };
        run(&["ip", "-n", &namespace.name, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    fn enter(&self, argv: Vec<String>) -> Vec<String> {
        let mut entered: Vec<String> = ["ip", "netns", "exec", &self.name].map(String::from).into();
        entered.extend(argv);
        entered
    }

    /// Puts one end of a TUN link into the namespace and returns our end of it.
    fn add_tun(&self, address: Ipv4Addr, peer: Ipv4Addr) -> Result<File> {
        // The name must be free in our own namespace, where the device is born.
        let birth_name = format!("ast{}", std::process::id());
        let file = os::open_tun(&CString::new(birth_name.clone())?).context("cannot create a TUN device")?;
        run(&["ip", "link", "set", &birth_name, "netns", &self.name])?;
        run(&["ip", "-n", &self.name, "link", "set", &birth_name, "name", TUN])?;
        let (address, peer) = (address.to_string(), peer.to_string());
        run(&["ip", "-n", &self.name, "addr", "add", &address, "peer", &peer, "dev", TUN])?;
        run(&["ip", "-n", &self.name, "link", "set", TUN, "up"])?;
        Ok(file)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(&["ip", "netns", "del", &self.name]);
    }
}

const SENDER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const TUN: &str = "bench0";
/// The loopback interface counts an Ethernet header that no IP packet has.
const ETHERNET_HEADER: u64 = 14;
