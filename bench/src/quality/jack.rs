//! Speech through sound cards: the probe of `latency` plays it instead of its noise, and records what is heard.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Heard, LEAD, LISTENING};
use crate::jackd::RATE;
use crate::latency::{Case, Lab, Plan};
use crate::probe::frames;
use crate::reference::Reference;
use crate::systems::{Setting, System};
use crate::weather::Scenario;

/// Speaks into the sender's inputs and listens at the receiver's first output.
pub fn hear(system: System, link: Scenario, plan: &Plan, speech: &[i16]) -> Result<Heard> {
    let lead = frames(2 * LISTENING) + LEAD;
    let length = Duration::from_secs_f64(speech.len() as f64 / f64::from(RATE));
    let spoken = speech.iter().map(|sample| f32::from(*sample) / SCALE);
    let signal = silence(lead).chain(spoken).chain(silence(frames(AFTERWARDS + SPARE))).collect();
    let settle = Duration::from_secs_f64(LEAD as f64 / f64::from(RATE));
    let mut lab = Lab::playing(Reference::alike(signal), settle, length + AFTERWARDS, plan.clone())?;
    let run = lab.play(Case { system, setting: Setting::Default, link: Some(link) })?;
    ensure!(run.part.start <= lead, "{} was connected too late", system.name());
    Ok(Heard {
        samples: run.recording.iter().map(|sample| (sample * SCALE) as i16).collect(),
        lead,
        wire_kbps: run.load.wire_kbps,
        lost_percent: run.lost_percent,
        xruns: Some(run.load.xruns),
    })
}

fn silence(frames: usize) -> impl Iterator<Item = f32> {
    std::iter::repeat_n(0.0, frames)
}

const SCALE: f32 = 32768.0;
/// The speech begins so much later than the lead ends, at the most; and it is heard late.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// Room on the tape for what begins late.
const SPARE: Duration = Duration::from_secs(1);
