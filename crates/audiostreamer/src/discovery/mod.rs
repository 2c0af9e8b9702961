//! Servers say on the local network that they are there, and clients listen: multicast DNS (RFC 6762)
//! with service discovery (RFC 6763), as printers do it.
//!
//! A server is announced as `NAME._audiostreamer._udp.local` and `_tcp`, by its machine's name, its port
//! and its key's fingerprint, and by nothing else. Anybody on the network may announce anything: so what
//! is found is a hint. A [`Found`] whose key is known is connected to by that key and no other; any other
//! is a stranger, whatever it calls itself.

mod announce;
mod browse;
mod found;

pub use announce::Announcement;
pub use browse::Browser;
pub use found::{Found, Standing};

/// As service types, the first label is that of RFC 6763 section 7.
const SERVICES: [(&str, crate::link::Transport); 2] = [
    ("_audiostreamer._udp.local.", crate::link::Transport::Udp),
    ("_audiostreamer._tcp.local.", crate::link::Transport::Tcp),
];

/// In the TXT record: the fingerprint of the server's key, in base32.
const KEY: &str = "key";

/// Multicast DNS is not to be had here.
#[derive(Debug, thiserror::Error)]
#[error("can't look for servers on this network: {0}; name the server: audiostreamer client HOST")]
pub struct Error(String);

impl From<mdns_sd::Error> for Error {
    fn from(error: mdns_sd::Error) -> Self {
        Self(error.to_string())
    }
}
