//! The server's side: says that it is there until it is dropped.

use std::net::SocketAddr;
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};

use super::{Error, KEY, SERVICES};
use crate::link::{DEFAULT_PORT, Transport};
use crate::trust::Fingerprint;

/// A server's announcement, on a thread of its own. Dropping it takes it back.
pub struct Announcement {
    daemon: ServiceDaemon,
    services: Vec<String>,
    name: String,
}

impl Announcement {
    /// Announces a server that listens there; `None` where nobody else could reach it.
    pub fn start(
        listen: SocketAddr,
        transports: impl Fn(Transport) -> bool,
        key: Fingerprint,
    ) -> Result<Option<Self>, Error> {
        if listen.ip().is_loopback() {
            return Ok(None);
        }
        let daemon = super::browse::daemon()?;
        let (host, name) = (host_name(), instance(&host_name(), listen.port()));
        let mut services = Vec::new();
        for (service, _) in SERVICES.into_iter().filter(|(_, transport)| transports(*transport)) {
            let txt = [(KEY, key.compact())];
            let mut info = ServiceInfo::new(service, &name, &format!("{host}.local."), (), listen.port(), &txt[..])?;
            match listen {
                SocketAddr::V6(any) if any.ip().is_unspecified() => {}
                SocketAddr::V4(any) if any.ip().is_unspecified() => info.set_interfaces(vec![IfKind::IPv4]),
                one => info.set_interfaces(vec![IfKind::Addr(one.ip())]),
            }
            services.push(info.get_fullname().to_owned());
            daemon.register(info.enable_addr_auto())?;
        }
        Ok(Some(Self { daemon, services, name }))
    }

    /// What the server is called on the network.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Asks first and waits then: each takes a moment, and others forget us by themselves in the end.
        let asked: Vec<_> = self.services.iter().filter_map(|service| self.daemon.unregister(service).ok()).collect();
        for said in asked {
            let _ = said.recv_timeout(GOODBYE);
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = ended.recv_timeout(GOODBYE);
        }
    }
}

/// Longer than the thread needs for a packet to each network.
const GOODBYE: Duration = Duration::from_millis(200);

/// What it is called: as its machine, and where that may have another one, with its port.
fn instance(host: &str, port: u16) -> String {
    match port {
        DEFAULT_PORT => host.to_owned(),
        port => format!("{host} {port}"),
    }
}

/// This machine's own name, as far as it is one label of DNS.
fn host_name() -> String {
    label(&rustix::system::uname().nodename().to_string_lossy())
}

fn label(name: &str) -> String {
    let first = name.split('.').next().unwrap_or_default();
    let label: String = first.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(LABEL_MAX).collect();
    match label.is_empty() || label == "localhost" {
        true => "audiostreamer".into(),
        false => label,
    }
}

/// A label of DNS holds 63 bytes; the port must fit, too.
const LABEL_MAX: usize = 56;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_as_its_machine() {
        assert_eq!(label("studio.example.org"), "studio");
        assert_eq!(label("Kay's laptop"), "Kayslaptop");
        for nameless in ["", "localhost", ".", "localhost.localdomain"] {
            assert_eq!(label(nameless), "audiostreamer");
        }
        assert_eq!(instance("studio", DEFAULT_PORT), "studio");
        assert_eq!(instance("studio", 6000), "studio 6000");
        assert!(instance(&label(&"x".repeat(300)), 65_535).len() <= 63);
    }

    #[test]
    fn what_only_this_machine_can_reach_is_not_announced() {
        let key = Fingerprint::of(b"key");
        let local = Announcement::start(([127, 0, 0, 1], 5004).into(), |_| true, key);
        assert!(matches!(local, Ok(None)));
    }
}
