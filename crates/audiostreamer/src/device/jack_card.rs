//! The JACK server, or PipeWire in its place.

#![expect(unsafe_code, reason = "the jack crate's shutdown notification is an unsafe method, and libc lacks a call")]

use std::ffi::c_int;
use std::iter;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use audiostreamer_core::duration_of;
use jack::{
    AudioIn, AudioOut, Client, ClientOptions, ClientStatus, Control, LatencyType, NotificationHandler, Port, PortFlags,
    PortId, PortSpec, ProcessHandler, ProcessScope,
};

use super::card_error::CardError;
use super::host::{Direction, Host};
use super::list::Device;
use super::vitals::{Callback, Vitals, Watched};
use super::{Capture, Render, Shape, Wanted};

/// A client of the server that has no ports yet.
pub(super) struct JackCard {
    client: Client,
    direction: Direction,
    shape: Shape,
    /// The ports to connect to.
    others: Vec<String>,
}

impl JackCard {
    /// Becomes a client, to be connected to the ports of the client with this name, or to the
    /// sound card's. Starts no server.
    pub(super) fn open(name: Option<&str>, direction: Direction, wanted: &Wanted) -> Result<Self, CardError> {
        let client = join(match direction {
            Direction::Input => "audiostreamer-client",
            Direction::Output => "audiostreamer-server",
        })?;
        let others = ports_of(&client, name, direction);
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
        Ok(Self { client, direction, shape, others })
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

    fn activate<S, F>(self, process: Process<S, F>, vitals: &Arc<Vitals>) -> Result<(), RunError>
    where
        Process<S, F>: ProcessHandler + 'static,
    {
        let ours: Vec<String> = process.ports.iter().filter_map(|p| p.name().ok()).collect();
        let end = Arc::new(End::new(self.shape.rate));
        let news = News { vitals: vitals.clone(), end: end.clone() };
        let active = self.client.activate_async(news, process)?;
        for (our, other) in pairs(ours.len(), self.others.len()) {
            let (our, other) = (&ours[our], &self.others[other]);
            let (from, to) = match self.direction {
                Direction::Input => (other, our),
                Direction::Output => (our, other),
            };
            active.as_client().connect_ports_by_name(from, to)?;
        }
        while !vitals.is_closed() && !end.has_come() {
            thread::park_timeout(GLANCE);
        }
        // Leaves the server, which is an error where the server has left already.
        let _ = active.deactivate();
        end.why()
    }
}

/// Whether a server runs.
pub(super) fn is_running() -> bool {
    join(LISTING).is_ok()
}

/// The server as a device, if one runs.
pub(super) fn devices() -> Vec<Device> {
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

fn join(name: &str) -> Result<Client, CardError> {
    let joined = Client::new(name, ClientOptions::NO_START_SERVER);
    let (client, _) = joined.map_err(|error| CardError::NoHost {
        host: Host::Jack,
        why: match error {
            jack::Error::LibraryError(_) => "its library libjack.so.0 is not installed".into(),
            jack::Error::ClientError(status) if status.contains(ClientStatus::SERVER_FAILED) => {
                "no JACK server runs; start jackd, or PipeWire with its JACK library".into()
            }
            error => error.to_string(),
        },
    })?;
    Ok(client)
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

/// What the server calls once in each period, on its own thread of real-time priority.
struct Process<S, F> {
    ports: Vec<Port<S>>,
    callback: F,
    /// A period with the channels interleaved.
    block: Vec<f32>,
}

impl<S, F> Process<S, F> {
    fn new(ports: Vec<Port<S>>, callback: F, period: usize) -> Self {
        Self { block: vec![0.0; period * ports.len()], ports, callback }
    }

    fn resize(&mut self, frames: usize) {
        self.block.resize(frames * self.ports.len(), 0.0);
    }
}

impl ProcessHandler for Process<AudioIn, Watched<Capture>> {
    fn process(&mut self, client: &Client, scope: &ProcessScope) -> Control {
        let channels = self.ports.len();
        let frames = (scope.n_frames() as usize).min(self.block.len() / channels);
        let block = &mut self.block[..frames * channels];
        for (channel, port) in self.ports.iter().enumerate() {
            let slots = block.iter_mut().skip(channel).step_by(channels);
            for (slot, sample) in slots.zip(port.as_slice(scope)) {
                *slot = *sample;
            }
        }
        let since_start = scope.frames_since_cycle_start();
        let age = latency(&self.ports, LatencyType::Capture) + since_start;
        let rate = client.sample_rate();
        self.callback.hear(block, duration_of(age.into(), rate));
        Control::Continue
    }

    /// Comes on the server's thread, between two periods, and may take memory.
    fn buffer_size(&mut self, _: &Client, size: jack::Frames) -> Control {
        self.resize(size as usize);
        Control::Continue
    }
}

impl ProcessHandler for Process<AudioOut, Watched<Render>> {
    fn process(&mut self, client: &Client, scope: &ProcessScope) -> Control {
        let channels = self.ports.len();
        let frames = (scope.n_frames() as usize).min(self.block.len() / channels);
        let block = &mut self.block[..frames * channels];
        let since_start = scope.frames_since_cycle_start();
        let delay = latency(&self.ports, LatencyType::Playback).saturating_sub(since_start);
        let rate = client.sample_rate();
        self.callback.fill(block, duration_of(delay.into(), rate));
        for (channel, port) in self.ports.iter_mut().enumerate() {
            let samples = block.iter().copied().skip(channel).step_by(channels);
            let samples = samples.chain(iter::repeat(0.0));
            for (slot, sample) in port.as_mut_slice(scope).iter_mut().zip(samples) {
                *slot = sample;
            }
        }
        Control::Continue
    }

    fn buffer_size(&mut self, _: &Client, size: jack::Frames) -> Control {
        self.resize(size as usize);
        Control::Continue
    }
}

/// The longest way between our ports and the air, in frames from the start of the period.
fn latency<S>(ports: &[Port<S>], direction: LatencyType) -> jack::Frames {
    let ranges = ports.iter().map(|port| port.get_latency_range(direction));
    ranges.map(|(_, longest)| longest).max().unwrap_or(0)
}

/// What the server tells beside the sound, on a thread of the library's for such news.
struct News {
    vitals: Arc<Vitals>,
    end: Arc<End>,
}

impl NotificationHandler for News {
    // SAFETY: only atomic stores and a wake-up, as a signal handler might do.
    unsafe fn shutdown(&mut self, _: ClientStatus, _: &str) {
        postpone_cancellation();
        self.end.come(&self.end.shut_down);
    }

    fn sample_rate(&mut self, _: &Client, rate: jack::Frames) -> Control {
        if rate != self.end.rate {
            self.end.come(&self.end.rate_changed);
        }
        Control::Continue
    }

    fn xrun(&mut self, _: &Client) -> Control {
        postpone_cancellation();
        self.vitals.count_xrun();
        Control::Continue
    }

    fn client_registration(&mut self, _: &Client, _: &str, _: bool) {
        postpone_cancellation();
    }

    fn port_registration(&mut self, _: &Client, _: PortId, _: bool) {
        postpone_cancellation();
    }

    fn ports_connected(&mut self, _: &Client, _: PortId, _: PortId, _: bool) {
        postpone_cancellation();
    }

    fn graph_reorder(&mut self, _: &Client) -> Control {
        postpone_cancellation();
        Control::Continue
    }
}

/// Has the calling thread be cancelled between callbacks only.
///
/// JACK's library cancels the thread that brings news when a client is closed, by default
/// wherever it is. In the middle of Rust code that aborts the whole program ("FATAL: exception
/// not rethrown"), which happened in one of fifteen crashes of a server.
fn postpone_cancellation() {
    unsafe extern "C" {
        fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int;
    }
    const DEFERRED: c_int = 0; // PTHREAD_CANCEL_DEFERRED, which the libc crate does not have
    // SAFETY: concerns the calling thread only, writes no memory, and is the default elsewhere.
    unsafe { pthread_setcanceltype(DEFERRED, ptr::null_mut()) };
}

/// Whether and why the server's thread no longer calls us.
struct End {
    shut_down: AtomicBool,
    rate_changed: AtomicBool,
    rate: jack::Frames,
    waiting: Thread,
}

impl End {
    fn new(rate: jack::Frames) -> Self {
        Self {
            shut_down: AtomicBool::new(false),
            rate_changed: AtomicBool::new(false),
            rate,
            waiting: thread::current(),
        }
    }

    fn come(&self, why: &AtomicBool) {
        why.store(true, Ordering::Release);
        self.waiting.unpark();
    }

    fn has_come(&self) -> bool {
        self.why().is_err()
    }

    fn why(&self) -> Result<(), RunError> {
        if self.shut_down.load(Ordering::Acquire) {
            return Err(RunError::ShutDown);
        }
        if self.rate_changed.load(Ordering::Acquire) {
            return Err(RunError::RateChanged);
        }
        Ok(())
    }
}

/// Why the server no longer moves our sound.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    #[error("the JACK server has stopped or thrown us out")]
    ShutDown,
    #[error("the JACK server has changed its sample rate")]
    RateChanged,
    #[error("JACK: {0}")]
    Jack(#[from] jack::Error),
}

/// The type of a port that carries sound.
const AUDIO: &str = "32 bit float mono audio";

/// What we are called while we only look.
const LISTING: &str = "audiostreamer-list";

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
