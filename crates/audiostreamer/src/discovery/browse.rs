//! The client's side: listens for servers.

use std::time::Duration;

use mdns_sd::{IfKind, Receiver, ServiceDaemon, ServiceEvent};

use super::found::Found;
use super::{Error, SERVICES};
use crate::clock;
use crate::link::Transport;

/// Listens for servers until it is dropped.
pub struct Browser {
    daemon: ServiceDaemon,
    events: Vec<(Transport, Receiver<ServiceEvent>)>,
    /// With the name that each has in DNS.
    found: Vec<(String, Found)>,
}

/// Of services; a network on which there are more has something else in mind.
const FOUND_MAX: usize = 64;

/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(20);

impl Browser {
    /// Begins to ask and to listen.
    pub fn start() -> Result<Self, Error> {
        let daemon = daemon()?;
        let mut events = Vec::new();
        for (service, transport) in SERVICES {
            events.push((transport, daemon.browse(service)?));
        }
        Ok(Self { daemon, events, found: Vec::new() })
    }

    /// Listens for so long.
    pub fn listen(&mut self, duration: Duration) {
        let end = clock::now() + duration;
        while clock::now() < end {
            std::thread::sleep(LOOK.min(end - clock::now()));
            self.take_events();
        }
    }

    /// What there is now, in the order of names: one for each server, whatever it listens to.
    pub fn found(&self) -> Vec<Found> {
        let mut servers: Vec<Found> = Vec::new();
        for (_, found) in &self.found {
            match servers.iter_mut().find(|server| server.is_same_server(found)) {
                Some(server) => server.merge(found),
                None => servers.push(found.clone()),
            }
        }
        servers.sort_by(|a, b| (&a.name, a.port, a.key).cmp(&(&b.name, b.port, b.key)));
        servers
    }

    fn take_events(&mut self) {
        for (transport, events) in &self.events {
            while let Ok(event) = events.try_recv() {
                match event {
                    ServiceEvent::ServiceResolved(service) => {
                        self.found.retain(|(name, _)| *name != service.fullname);
                        if let Some(found) = Found::of_service(&service, *transport)
                            && self.found.len() < FOUND_MAX
                        {
                            self.found.push((service.fullname.clone(), found));
                        }
                    }
                    ServiceEvent::ServiceRemoved(_, fullname) => self.found.retain(|(name, _)| *name != fullname),
                    _ => {}
                }
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

/// A thread that speaks multicast DNS on all networks of this machine. What only this machine hears is
/// left out: 127.0.0.1 is another machine at each place.
pub(super) fn daemon() -> Result<ServiceDaemon, Error> {
    let daemon = ServiceDaemon::new()?;
    daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
    Ok(daemon)
}
