//! The JACK server, or PipeWire in its place.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jack::{AudioIn, AudioOut, Client, ClientOptions, ClientStatus, Port, PortFlags, PortSpec, ProcessHandler};

use super::card_error::CardError;
use super::host::{Direction, Host};
use super::jack_news::{End, News, RunError};
use super::jack_process::Process;
use super::jack_turn::Turn;
use super::list::Device;
use super::vitals::{Callback, Vitals, Watched};
use super::{Shape, Wanted};
use crate::clock;

/// A client of the server that has no ports yet.
pub(super) struct JackCard {
    client: Client,
    direction: Direction,
    shape: Shape,
    /// The ports to connect to.
    others: Vec<String>,
    /// Until it is connected, no other client of ours comes or goes. Dropped after the client.
    turn: Turn,
}

impl JackCard {
    /// Becomes a client, to be connected to the ports of the client with this name, or to the
    /// sound card's. Starts no server. Waits for that other client if it is not there yet, up to
    /// `patience`: a client that comes and goes, and comes again, may be taken for the one before by
    /// those who join meanwhile, and then holds up the server.
    pub(super) fn open(
        name: Option<&str>,
        direction: Direction,
        wanted: &Wanted,
        patience: Duration,
    ) -> Result<Self, CardError> {
        let mut turn = Turn::take();
        let client = join(match direction {
            Direction::Input => "audiostreamer-client",
            Direction::Output => "audiostreamer-server",
        })?;
        turn.let_other_programs(); // what is waited for may be one of them
        let deadline = clock::now() + patience;
        let mut others = ports_of(&client, name, direction);
        while others.is_empty() && clock::now() < deadline {
            thread::sleep(LOOK);
            others = ports_of(&client, name, direction);
        }
        if let (Some(name), true) = (name, others.is_empty()) {
            return Err(CardError::NotFound {
                wanted: format!("{}:{name}", Host::Jack.prefix()),
                direction,
                available: clients_with_ports(&client, direction),
            });
        }
        let shape = Shape {
            rate: client.sample_rate(),
            channels: wanted.shape().channels,
            period: client.buffer_size() as usize,
        };
        Ok(Self { client, direction, shape, others, turn })
    }

    pub(super) fn name(&self) -> String {
        format!("JACK as {}", self.client.name())
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Lets the server's thread move sound, and waits until nobody wants it or the server ends it.
    pub(super) fn run(self, callback: Callback, vitals: &Arc<Vitals>) -> Result<(), RunError> {
        let channels = self.shape.channels;
        match callback {
            Callback::Capture(capture) => {
                let ports = self.register("in", AudioIn::default)?;
                let ear = Watched::new(capture, channels, vitals);
                let process = Process::new(ports, ear, self.shape.period);
                self.activate(process, vitals)
            }
            Callback::Render(render) => {
                let ports = self.register("out", AudioOut::default)?;
                let voice = Watched::new(render, channels, vitals);
                let process = Process::new(ports, voice, self.shape.period);
                self.activate(process, vitals)
            }
        }
    }

    fn register<S: PortSpec>(&self, prefix: &str, spec: impl Fn() -> S) -> Result<Vec<Port<S>>, jack::Error> {
        let numbers = 1..=self.shape.channels;
        let ports = numbers.map(|n| self.client.register_port(&format!("{prefix}_{n}"), spec()));
        ports.collect()
    }

    fn activate<S, F>(mut self, process: Process<S, F>, vitals: &Arc<Vitals>) -> Result<(), RunError>
    where
        Process<S, F>: ProcessHandler + 'static,
    {
        let ours = process.port_names();
        self.turn.take_from_other_programs();
        let end = Arc::new(End::new(self.shape.rate));
        let news = News::new(vitals, &end);
        let active = self.client.activate_async(news, process)?;
        for (our, other) in pairs(ours.len(), self.others.len()) {
            let (our, other) = (&ours[our], &self.others[other]);
            let (from, to) = match self.direction {
                Direction::Input => (other, our),
                Direction::Output => (our, other),
            };
            active.as_client().connect_ports_by_name(from, to)?;
        }
        drop(self.turn);
        while !vitals.is_closed() && !end.has_come() {
            thread::park_timeout(GLANCE);
        }
        let _turn = Turn::take();
        // Leaves the server, which is an error where the server has left already.
        let _ = active.deactivate();
        end.why()
    }
}

/// Whether a server runs.
pub(super) fn is_running() -> bool {
    let _turn = Turn::take();
    join(LISTING).is_ok()
}

/// The server as a device, if one runs.
pub(super) fn devices() -> Vec<Device> {
    let _turn = Turn::take();
    let Ok(client) = join(LISTING) else {
        return Vec::new();
    };
    let directions = vec![Direction::Input, Direction::Output];
    vec![Device {
        index: 0,
        host: Host::Jack,
        name: "JACK server".into(),
        id: format!("{}:", Host::Jack.prefix()),
        directions: directions.clone(),
        rates: vec![client.sample_rate()],
        channels: Vec::new(),
        default_for: directions,
    }]
}

/// Becomes a client. A server that is busy fails to take one in now and then.
fn join(name: &str) -> Result<Client, CardError> {
    let mut attempts = 1;
    let refusal = loop {
        match Client::new(name, ClientOptions::NO_START_SERVER) {
            Ok((client, _)) => return Ok(client),
            Err(error) if attempts == MANY_ATTEMPTS || !is_passing(&error) => break error,
            Err(_) => attempts += 1,
        }
        thread::sleep(BETWEEN_ATTEMPTS);
    };
    Err(CardError::NoHost {
        host: Host::Jack,
        why: match refusal {
            jack::Error::LibraryError(_) => "its library libjack.so.0 is not installed".into(),
            jack::Error::ClientError(status) if status.contains(ClientStatus::SERVER_FAILED) => {
                "no JACK server runs; start jackd, or PipeWire with its JACK library".into()
            }
            error => error.to_string(),
        },
    })
}

fn is_passing(error: &jack::Error) -> bool {
    matches!(error, jack::Error::ClientError(status)
        if status.contains(ClientStatus::SERVER_ERROR))
}

/// The audio ports of the named client, or of the card, that fit ours.
fn ports_of(client: &Client, name: Option<&str>, direction: Direction) -> Vec<String> {
    let flags = flags_of_others(direction);
    let Some(name) = name else {
        return client.ports(None, Some(AUDIO), flags | PortFlags::IS_PHYSICAL);
    };
    let prefix = format!("{name}:");
    let mut ports = client.ports(None, Some(AUDIO), flags);
    ports.retain(|port| port.starts_with(&prefix));
    ports
}

fn clients_with_ports(client: &Client, direction: Direction) -> Vec<String> {
    let ports = client.ports(None, Some(AUDIO), flags_of_others(direction));
    let clients = ports.iter().filter_map(|port| port.split(':').next());
    let mut names: Vec<String> = clients.map(|client| format!("{}:{client}", Host::Jack.prefix())).collect();
    names.dedup();
    names
}

/// We hear what others put out, and put out what they hear.
fn flags_of_others(direction: Direction) -> PortFlags {
    match direction {
        Direction::Input => PortFlags::IS_OUTPUT,
        Direction::Output => PortFlags::IS_INPUT,
    }
}

/// Which of our ports goes with which of theirs: one by one, but mono goes to a pair.
fn pairs(ours: usize, theirs: usize) -> Vec<(usize, usize)> {
    match (ours, theirs) {
        (1, _) => (0..theirs.min(2)).map(|their| (0, their)).collect(),
        (_, 1) => (0..ours.min(2)).map(|our| (our, 0)).collect(),
        _ => (0..ours.min(theirs)).map(|port| (port, port)).collect(),
    }
}

/// The type of a port that carries sound.
const AUDIO: &str = "32 bit float mono audio";

/// What we are called while we only look.
const LISTING: &str = "audiostreamer-list";

const MANY_ATTEMPTS: u32 = 4;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

/// The list of ports lies in memory that is shared with the server.
const LOOK: Duration = Duration::from_millis(20);

/// How long a stream that is no longer wanted may go on.
const GLANCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_paired_as_a_listener_expects() {
        assert_eq!(pairs(2, 2), [(0, 0), (1, 1)]);
        assert_eq!(pairs(2, 8), [(0, 0), (1, 1)]);
        assert_eq!(pairs(4, 2), [(0, 0), (1, 1)]);
        assert_eq!(pairs(1, 8), [(0, 0), (0, 1)], "mono on both speakers");
        assert_eq!(pairs(2, 1), [(0, 0), (1, 0)], "one microphone on both sides");
        assert_eq!(pairs(2, 0), []);
    }
}
