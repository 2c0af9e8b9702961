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
use crate::theft;
use crate::timebase::Cycle;

/// What a probe has recorded.
#[derive(Debug, PartialEq)]
pub struct Recording {
    /// Frame `n` was heard in the cycle in which frame `n` of the reference was played.
    pub left: Vec<f32>,
    pub cycles: Vec<Cycle>,
    /// Frames at which the JACK server has overrun.
    pub xruns: Vec<usize>,
}

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
            left: vec![f32::NAN; reference.left.len()], // written to, so that its pages are there
            cycles: Vec::with_capacity(reference.left.len() / PERIOD_MIN),
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

    /// Connects to the sender's inputs and the receiver's outputs, or those of them that are given,
    /// as they appear, `check` in between.
    pub fn connect(
        &self,
        sender: Option<&str>,
        receiver: Option<&str>,
        mut check: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            let hears = |sender| self.join(&OUT.map(String::from), &self.ports_of(sender, PortFlags::IS_INPUT));
            let is_heard = |receiver| self.join(&self.ports_of(receiver, PortFlags::IS_OUTPUT), &IN.map(String::from));
            if sender.is_none_or(hears) && receiver.is_none_or(is_heard) {
                return Ok(());
            }
            check()?;
            pause(Duration::from_millis(5))?;
        }
        let missing = [sender.map(|name| format!("{name} (inputs)")), receiver.map(|name| format!("{name} (outputs)"))];
        bail!("no JACK ports of {} appeared in 15 s", missing.into_iter().flatten().collect::<Vec<_>>().join(" or "))
    }

    /// Stops.
    pub fn finish(self) -> Result<Recording> {
        let (_, _, mut tape) = self.client.deactivate()?;
        tape.left.truncate(tape.shared.position.load(Ordering::Relaxed));
        let xruns = tape.shared.xruns.lock().expect("no holder of this lock panics").clone();
        Ok(Recording { left: tape.left, cycles: tape.cycles, xruns })
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
    cycles: Vec<Cycle>,
    shared: Arc<Shared>,
}

impl ProcessHandler for Tape {
    fn process(&mut self, _: &Client, scope: &ProcessScope) -> Control {
        let nanos = theft::present_nanos();
        let start = self.shared.position.load(Ordering::Relaxed);
        let end = start + scope.n_frames() as usize;
        if end > self.left.len() || self.cycles.len() == self.cycles.capacity() {
            self.out.iter_mut().for_each(|port| port.as_mut_slice(scope).fill(0.0));
            return Control::Continue;
        }
        self.out[0].as_mut_slice(scope).copy_from_slice(&self.reference.left[start..end]);
        self.out[1].as_mut_slice(scope).copy_from_slice(&self.reference.right[start..end]);
        self.left[start..end].copy_from_slice(self.heard[0].as_slice(scope));
        self.cycles.push(Cycle { frame: start, nanos });
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

/// No server here has a shorter period.
const PERIOD_MIN: usize = 16;
const NAME: &str = "probe";
const OUT: [&str; 2] = ["probe:out_1", "probe:out_2"];
const IN: [&str; 2] = ["probe:in_1", "probe:in_2"];
