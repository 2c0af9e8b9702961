//! One measurement: a system, at one setting, over one network, for so many seconds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::analysis::{Findings, Gap, first_sound};
use crate::clock::Clock;
use crate::jackd::{self, Jackd, RATE};
use crate::netns::Network;
use crate::probe::{Probe, Recording, frames};
use crate::process::{MachineTime, Process, pause};
use crate::reference::Reference;
use crate::report::{self, Load, Row};
use crate::systems::{Ours, Pair, Setting, Site, System};
use crate::tape::Tape;
use crate::theft;
use crate::timebase::Timebase;
use crate::weather::Scenario;

/// A JACK server, the reference and a length: what the measurements of one command share.
pub struct Lab {
    pub jackd: Jackd,
    /// By which it lives, with everybody who has not the far one's, where that is not the true one.
    clock: Option<Clock>,
    /// Where the receiver has a card of its own.
    far: Option<Far>,
    reference: Arc<Reference>,
    plan: Plan,
    /// From when both programs are connected until it counts: start-up is not the steady state.
    settle: Duration,
    length: Duration,
    /// For what the programs write.
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

/// The receiver's own JACK server, and what leads there.
struct Far {
    jackd: Jackd,
    environment: Vec<(String, String)>,
}

impl Far {
    fn start(ppm: f64, plan: &Plan, dir: &Path) -> Result<Self> {
        let clock = Clock::new(plan.slow, ppm, dir)?;
        let jackd = Jackd::start_far(plan.period, &clock, dir)?;
        Ok(Self { jackd, environment: jackd::far_environment(&clock) })
    }
}

/// What all measurements of a command have in common.
#[derive(Clone, Debug, clap::Args)]
pub struct Plan {
    /// Frames per period of the JACK server
    #[arg(long, value_name = "FRAMES", default_value_t = 128)]
    pub period: u32,
    /// Seconds to measure, after three seconds to settle [default: 20, less in `all` and `smoke`]
    #[arg(long, value_name = "S")]
    pub seconds: Option<u64>,
    /// Give the receiver a JACK server of its own, whose clock is faster by so many ppm
    #[arg(long, value_name = "PPM", allow_negative_numbers = true)]
    pub skew_ppm: Option<f64>,
    /// Let both programs and their JACK server live by a clock that is so many times slower; all figures
    /// are by that clock
    #[arg(long, value_name = "TIMES", default_value_t = 1.0)]
    pub slow: f64,
    /// Keep everything on this core, and let the clock of the programs stand still whenever the
    /// hypervisor takes it away
    #[arg(long, value_name = "N")]
    pub core: Option<usize>,
    /// Keep what the programs write in this directory
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// Another seed is another weather on impaired links
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Measure again, so many times at most, where the JACK server itself overran
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub attempts: usize,
    #[command(flatten)]
    pub ours: Ours,
}

impl Plan {
    /// Whether the programs live by another clock than the true one.
    pub fn has_own_clock(&self) -> bool {
        self.slow != 1.0 || self.core.is_some()
    }

    /// For what the programs write; it goes with the second unless the plan says where it is.
    pub fn directory(&self) -> Result<(PathBuf, Option<TempDir>)> {
        let Some(dir) = &self.logs else {
            let temporary = tempfile::tempdir()?;
            return Ok((temporary.path().into(), Some(temporary)));
        };
        std::fs::create_dir_all(dir)?;
        Ok((dir.clone(), None))
    }
}

/// One measurement to be made.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub system: System,
    pub setting: Setting,
    /// Loopback without one.
    pub link: Option<Scenario>,
}

impl Lab {
    /// For noise; each measurement takes `seconds` where the plan says nothing else.
    pub fn open(plan: Plan, seconds: u64) -> Result<Self> {
        let length = Duration::from_secs(plan.seconds.unwrap_or(seconds));
        Self::playing(Reference::new(frames(SETTLE + length + START_UP)), SETTLE, length, plan)
    }

    /// Starts the JACK server.
    pub fn playing(reference: Reference, settle: Duration, length: Duration, plan: Plan) -> Result<Self> {
        let (dir, temporary) = plan.directory()?;
        plan.core.map(theft::watch).transpose()?;
        let clock = plan.has_own_clock().then(|| Clock::new(plan.slow, 0.0, &dir)).transpose()?;
        let jackd = Jackd::start(plan.period, clock.as_ref(), &dir)?;
        let far = plan.skew_ppm.map(|ppm| Far::start(ppm, &plan, &dir)).transpose()?;
        Ok(Self { jackd, clock, far, reference: reference.into(), plan, settle, length, dir, _temporary: temporary })
    }

    /// Plays, and says how late and how whole it was heard.
    pub fn measure(&mut self, case: Case) -> Result<Row> {
        let Case { system, setting, link } = case;
        let run = self.play(case)?;
        let findings = Findings::new(&self.reference.left, &run.recording, run.part.clone());
        let first = first_sound(&run.recording, run.sender_start);
        std::fs::write(self.dir.join("findings.txt"), run.account(&findings))?;
        Ok(Row {
            system: system.name().into(),
            setting: system.label(setting),
            link: link.map_or("loopback".into(), |scenario| format!("{scenario:?}")),
            period: self.plan.period,
            skew_ppm: run.skew_ppm,
            seconds: findings.seconds,
            p50_ms: findings.percentile_ms(0.5),
            p95_ms: findings.percentile_ms(0.95),
            max_ms: findings.percentile_ms(1.0),
            drift_ppm: findings.drift_ppm(),
            steps: findings.steps(),
            gaps: findings.gaps.len(),
            gaps_after_xruns: findings.gaps.iter().filter(|gap| run.follows_xrun(gap)).count(),
            longest_gap_ms: findings.longest_gap_ms(),
            total_gap_ms: findings.total_gap_ms(),
            first_sound_ms: first.map(|n| (n - run.sender_start) as f64 * 1000.0 / f64::from(RATE)),
            load: run.load,
            lost_percent: run.lost_percent,
            delays: findings.delays.iter().map(|d| (d.at_s, d.ms)).collect(),
        })
    }

    /// Plays, and again where the machine disturbed it; of all attempts the least disturbed counts.
    pub fn play(&mut self, case: Case) -> Result<Run> {
        let mut calmest = self.attempt(case)?;
        for _ in 1..self.plan.attempts {
            if calmest.xruns.is_empty() {
                break;
            }
            let again = self.attempt(case)?;
            if again.xruns.len() < calmest.xruns.len() {
                calmest = again;
            }
        }
        Ok(calmest)
    }

    fn attempt(&mut self, case: Case) -> Result<Run> {
        let Case { system, setting, link } = case;
        let network = match link {
            Some(scenario) => Network::impaired(scenario, self.plan.seed)?,
            None => Network::loopback(),
        };
        let pair = system.pair(setting, &self.site(&network))?;
        self.run(&pair, &network).with_context(|| format!("{} ({})", system.name(), system.label(setting)))
    }

    /// The machine, and how it is set up.
    pub fn conditions(&self) -> String {
        report::conditions(self.jackd.realtime, &self.plan)
    }

    /// How long it takes until so much time has passed for the programs.
    fn truly(&self, time: Duration) -> Duration {
        time.mul_f64(self.plan.slow)
    }

    fn site(&self, network: &Network) -> Site {
        let ours = self.plan.ours.clone();
        Site { receiver: network.receiver_address(), port: PORT, dir: self.dir.clone(), ours }
    }

    fn run(&mut self, pair: &Pair, network: &Network) -> Result<Run> {
        let probe = Probe::start(self.reference.clone())?;
        let logs = self.dir.as_path();
        let mut sender_env = pair.sender.env.clone();
        let mut receiver_env = pair.receiver.env.clone();
        if let Some(clock) = &self.clock {
            sender_env.extend(clock.environment());
            receiver_env.extend(clock.environment());
        }
        let mut tape = None;
        if let Some(Far { environment, .. }) = &self.far {
            receiver_env.extend(environment.iter().cloned());
            tape = Some(Tape::start(&pair.receiver.jack_client, self.reference.left.len(), environment, logs)?);
        }
        let receiver_argv = network.on_receiver(pair.receiver.argv.clone());
        let mut receiver = Process::start("receiver", &receiver_argv, &receiver_env, logs)?;
        pause(self.truly(LISTENING))?;
        let sender_start = probe.position();
        let sender_argv = network.on_sender(pair.sender.argv.clone());
        let mut sender = Process::start("sender", &sender_argv, &sender_env, logs)?;
        let mut check = || {
            receiver.check_alive()?;
            sender.check_alive()
        };
        let near_receiver = tape.is_none().then_some(pair.receiver.jack_client.as_str());
        probe.connect(Some(&pair.sender.jack_client), near_receiver, &mut check)?;
        if let Some(tape) = &mut tape {
            tape.await_connection(&mut check)?;
        }

        pause(self.truly(self.settle))?;
        let before = Meter::read(&sender, &receiver, network, &probe);
        pause(self.truly(self.length))?;
        let after = Meter::read(&sender, &receiver, network, &probe);
        receiver.check_alive()?;
        sender.check_alive()?;
        self.jackd.check_alive()?;
        if let Some(far) = &mut self.far {
            far.jackd.check_alive()?;
        }

        let mut load = after.since(&before, self.plan.slow, &sender, &receiver);
        drop((sender, receiver));
        let near = probe.finish()?;
        let far = tape.map(Tape::finish).transpose()?;
        let (Recording { left, mut xruns, .. }, skew_ppm) = match far {
            Some(far) => on_one_axis(near, &far).map(|(recording, ppm)| (recording, Some(ppm)))?,
            None => (near, None),
        };
        let part = before.position..after.position;
        xruns.retain(|at| part.contains(at));
        load.xruns = xruns.len();
        Ok(Run { recording: left, skew_ppm, sender_start, part, load, xruns, lost_percent: network.lost_percent() })
    }
}

/// What was recorded at the far card, in the frames of the near one, and by how many ppm that was
/// faster. Overruns of either are overruns.
fn on_one_axis(near: Recording, far: &Recording) -> Result<(Recording, f64)> {
    let timebase = |recording: &Recording| {
        Timebase::new(&recording.cycles, &recording.xruns).context("a JACK server stands still")
    };
    let (here, there) = (timebase(&near)?, timebase(far)?);
    let left = there.bring_to(&here, &far.left, near.left.len());
    let far_xruns = far.xruns.iter().map(|at| here.frame(there.time(*at as f64)) as usize);
    let xruns = near.xruns.into_iter().chain(far_xruns).collect();
    Ok((Recording { left, cycles: near.cycles, xruns }, there.faster_than(&here)))
}

/// What was heard of what was played.
pub struct Run {
    pub recording: Vec<f32>,
    skew_ppm: Option<f64>,
    sender_start: usize,
    /// Positions that count.
    pub part: std::ops::Range<usize>,
    pub load: Load,
    /// Positions at which the JACK server overran.
    xruns: Vec<usize>,
    pub lost_percent: f64,
}

impl Run {
    /// What was found, and when.
    fn account(&self, findings: &Findings) -> String {
        let xrun = |gap: &Gap| if self.follows_xrun(gap) { " (xrun)" } else { "" };
        let gaps = findings.gaps.iter().map(|gap| (gap.at_s, format!("gap of {:.1} ms{}", gap.ms, xrun(gap))));
        let delays = findings.delays.iter().map(|delay| (delay.at_s, format!("delay {:.2} ms", delay.ms)));
        let xruns = self.xruns.iter().map(|at| (*at as f64 / f64::from(RATE), "xrun".into()));
        let mut events: Vec<(f64, String)> = gaps.chain(delays).chain(xruns).collect();
        events.sort_by(|a, b| a.0.total_cmp(&b.0));
        events.iter().fold(String::new(), |text, (at, what)| text + &format!("{at:.3} {what}\n"))
    }

    /// Whether a gap lies where the JACK server itself lost time, or within a second after.
    fn follows_xrun(&self, gap: &Gap) -> bool {
        let at = (gap.at_s * f64::from(RATE)) as usize;
        let second = RATE as usize;
        self.xruns.iter().any(|xrun| (xrun.saturating_sub(second / 10)..xrun + second).contains(&at))
    }
}

/// A reading of all counters at one moment.
struct Meter {
    nanos: u64,
    position: usize,
    sender_cpu: Duration,
    receiver_cpu: Duration,
    wire_bytes: u64,
    machine: MachineTime,
}

impl Meter {
    fn read(sender: &Process, receiver: &Process, network: &Network, probe: &Probe) -> Self {
        Self {
            nanos: theft::present_nanos(),
            position: probe.position(),
            sender_cpu: sender.cpu_time(),
            receiver_cpu: receiver.cpu_time(),
            wire_bytes: network.wire_bytes(sender),
            machine: MachineTime::read(),
        }
    }

    /// In seconds of a clock that is so many times slower.
    fn since(&self, before: &Self, slow: f64, sender: &Process, receiver: &Process) -> Load {
        let seconds = (self.nanos - before.nanos) as f64 * 1e-9 / slow;
        let percent = |now: Duration, then: Duration| (now - then).as_secs_f64() / seconds * 100.0;
        Load {
            wire_kbps: (self.wire_bytes - before.wire_bytes) as f64 * 8.0 / 1000.0 / seconds,
            sender_cpu_percent: percent(self.sender_cpu, before.sender_cpu),
            receiver_cpu_percent: percent(self.receiver_cpu, before.receiver_cpu),
            sender_rss_mib: sender.resident_kib() as f64 / 1024.0,
            receiver_rss_mib: receiver.resident_kib() as f64 / 1024.0,
            busy_percent: self.machine.busy_percent_since(&before.machine),
            xruns: 0,
        }
    }
}

const PORT: u16 = 5004;
/// No peer says when it listens; all of them do by then.
const LISTENING: Duration = Duration::from_millis(500);
/// Of noise.
const SETTLE: Duration = Duration::from_secs(3);
/// Room on the tape for programs that start slowly.
const START_UP: Duration = Duration::from_secs(20);
