//! The bench's own JACK client: plays the reference into the sender and records the receiver in
//! the same callback, so that both are aligned to the sample.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jack::{AudioIn, AudioOut, Client, Control, Port, PortFlags, ProcessHandler, ProcessScope};

use crate::jackd::RATE;
use crate::process::pause;
use crate::reference::Reference;

/// A client that plays and records from its start on.
pub struct Probe {
    client: jack::AsyncClient<Notices, Tape>,
    shared: Arc<Shared>,
}

impl Probe {
    /// Starts to play; room for the recording is as long as the reference.
    pub fn start(reference: Arc<Reference>) -> Result<Self> {
        let (client, _) = Client::new(NAME, jack::ClientOptions::NO_START_SERVER)?;
        let shared = Arc::new(Shared::default());
        let tape = Tape {
            out: [
                client.register_port("out_1", AudioOut::default())?,
                client.register_port("out_2", AudioOut::default())?,
            ],
            heard: [
                client.register_port("in_1", AudioIn::default())?,
                client.register_port("in_2", AudioIn::default())?,
            ],
            left: vec![0.0; reference.left.len()],
            reference,
            shared: shared.clone(),
        };
        let client = client.activate_async(Notices(shared.clone()), tape)?;
        Ok(Self { client, shared })
    }

    /// Frames played and recorded so far.
    pub fn position(&self) -> usize {
        self.shared.position.load(Ordering::Relaxed)
    }

    /// The positions at which the JACK server has overrun so far.
    pub fn xruns(&self) -> Vec<usize> {
        self.shared.xruns.lock().expect("no holder of this lock panics").clone()
    }

    /// Connects to the sender's inputs and the receiver's outputs as they appear, `check` in between.
    pub fn connect(&self, sender: &str, receiver: &str, mut check: impl FnMut() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            let inputs = self.ports_of(sender, PortFlags::IS_INPUT);
            let outputs = self.ports_of(receiver, PortFlags::IS_OUTPUT);
            let connected =
                self.join(&[OUT[0].into(), OUT[1].into()], &inputs) && self.join(&outputs, &IN.map(String::from));
            if connected {
                return Ok(());
            }
            check()?;
            pause(Duration::from_millis(5))?;
        }
        bail!("no JACK ports of {sender} (inputs) or {receiver} (outputs) appeared in 15 s")
    }

    /// Stops and returns the recording: frame `n` was heard in the cycle in which frame `n` of the reference was played.
    pub fn finish(self) -> Result<Vec<f32>> {
        let (_, _, mut tape) = self.client.deactivate()?;
        tape.left.truncate(tape.shared.position.load(Ordering::Relaxed));
        Ok(tape.left)
    }

    fn ports_of(&self, client: &str, flags: PortFlags) -> Vec<String> {
        self.client.as_client().ports(Some(&format!("^{client}:")), None, flags)
    }

    /// Joins the first two of each; true when both pairs are connected.
    fn join(&self, from: &[String], to: &[String]) -> bool {
        from.len() >= 2
            && to.len() >= 2
            && from.iter().zip(to).take(2).all(|(from, to)| {
                let joined = self.client.as_client().connect_ports_by_name(from, to);
                matches!(joined, Ok(()) | Err(jack::Error::PortAlreadyConnected(..)))
            })
    }
}

#[derive(Default)]
struct Shared {
    position: AtomicUsize,
    /// Written by JACK's notification thread, which is not a real-time one.
    xruns: Mutex<Vec<usize>>,
}

/// Runs in JACK's real-time thread: neither allocates nor waits.
struct Tape {
    out: [Port<AudioOut>; 2],
    heard: [Port<AudioIn>; 2],
    reference: Arc<Reference>,
    left: Vec<f32>,
    shared: Arc<Shared>,
}

impl ProcessHandler for Tape {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let start = self.shared.position.load(Ordering::Relaxed);
        let end = start + scope.n_frames() as usize;
        if end > self.left.len() {
            self.out.iter_mut().for_each(|port| port.as_mut_slice(scope).fill(0.0));
            return Control::Continue;
        }
        self.out[0].as_mut_slice(scope).copy_from_slice(&self.reference.left[start..end]);
        self.out[1].as_mut_slice(scope).copy_from_slice(&self.reference.right[start..end]);
        self.left[start..end].copy_from_slice(self.heard[0].as_slice(scope));
        self.shared.position.store(end, Ordering::Relaxed);
        Control::Continue
    }
}

struct Notices(Arc<Shared>);

impl jack::NotificationHandler for Notices {
    fn xrun(&mut self, _: &Client) -> Control {
        let position = self.0.position.load(Ordering::Relaxed);
        self.0.xruns.lock().expect("no holder of this lock panics").push(position);
        Control::Continue
    }
}

/// Frames of `time` at the bench's rate.
pub fn frames(time: Duration) -> usize {
    (time.as_secs_f64() * f64::from(RATE)) as usize
}

const NAME: &str = "probe";
const OUT: [&str; 2] = ["probe:out_1", "probe:out_2"];
const IN: [&str; 2] = ["probe:in_1", "probe:in_2"];
