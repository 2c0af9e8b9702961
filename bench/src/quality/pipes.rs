//! Speech through pipes, without JACK, whose server overruns on a busy machine and then spoils the sound of
//! everybody: the bench itself is microphone and loudspeaker. It writes into the sender's standard input in
//! real time, reads the receiver's standard output, and knows when it did.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::score::samples;
use super::talker::Piped;
use super::{Heard, LEAD, LISTENING};
use crate::jackd::RATE;
use crate::latency::Plan;
use crate::netns::Network;
use crate::os;
use crate::process::{Process, pause};
use crate::weather::Scenario;

/// Speaks into one program and listens to the other.
pub fn hear(piped: Piped, link: Scenario, plan: &Plan, speech: &[i16], dir: &Path) -> Result<Heard> {
    let network = Network::impaired(link, plan.seed)?;
    let commands = piped.commands(network.receiver_address(), &plan.ours);
    let [send, listen] = commands.map(|line| line.split_whitespace().map(String::from).collect::<Vec<_>>());
    let (heard_in, heard_out) = std::io::pipe()?;
    let (mouth_in, mouth_out) = std::io::pipe()?;
    let state = |side: &str| vec![("XDG_STATE_HOME".to_string(), dir.join(side).display().to_string())];
    let start = Instant::now();
    // Before anything is written: what waits in a pipe would be heard late.
    let ear = thread::spawn(move || listen_to(heard_in, start));
    let mut receiver = Process::start_between(
        "receiver",
        &network.on_receiver(listen),
        &state("receiver"),
        dir,
        Stdio::null(),
        Some(heard_out.into()),
    )?;
    pause(LISTENING)?;
    let mut sender =
        Process::start_between("sender", &network.on_sender(send), &state("sender"), dir, mouth_in.into(), None)?;
    pause(LISTENING)?;
    let (spoken, begins) = (speech.to_vec(), Instant::now());
    let lead = LEAD + ((begins - start).as_secs_f64() * f64::from(RATE)) as usize;
    let mouth = thread::spawn(move || speak(mouth_out, &spoken, begins));
    pause(Duration::from_secs_f64(LEAD as f64 / f64::from(RATE)))?;
    let (before, begun) = (network.wire_bytes(&sender), Instant::now());
    pause(Duration::from_secs_f64(speech.len() as f64 / f64::from(RATE)))?;
    let wire_kbps = (network.wire_bytes(&sender) - before) as f64 * 8e-3 / begun.elapsed().as_secs_f64();
    receiver.check_alive()?;
    sender.check_alive()?;
    let _ = mouth.join();
    drop((sender, receiver));
    let samples = ear.join().ok().context("the ear has failed")?;
    Ok(Heard { samples, lead, wire_kbps, lost_percent: network.lost_percent(), xruns: None })
}

/// Writes silence, the speech and silence in real time: each block when its last sample has been said.
fn speak(mut mouth: PipeWriter, speech: &[i16], start: Instant) {
    os::raise_thread(PRIORITY);
    let (lead, tail) = (vec![0; LEAD], vec![0; RATE as usize]);
    let all: Vec<i16> = lead.iter().chain(speech).chain(&tail).copied().collect();
    for (n, block) in all.chunks(BLOCK).enumerate() {
        let said = Duration::from_secs_f64(((n + 1) * BLOCK) as f64 / f64::from(RATE));
        thread::sleep((start + said).saturating_duration_since(Instant::now()));
        let bytes: Vec<u8> = block.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        if mouth.write_all(&bytes).is_err() {
            return; // the sender has ended, which is told elsewhere
        }
    }
}

/// Reads until the receiver ends. What comes is continuous; when it came says where it begins: no
/// sample can come before its time, so the one that came least late tells.
fn listen_to(mut ear: PipeReader, start: Instant) -> Vec<i16> {
    os::raise_thread(PRIORITY);
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 65_536]);
    let mut first = f64::MAX;
    while let Ok(count) = ear.read(&mut buffer)
        && count > 0
    {
        first = first.min(start.elapsed().as_secs_f64() - bytes.len() as f64 / 2.0 / f64::from(RATE));
        bytes.extend(&buffer[..count]);
    }
    let before = if bytes.is_empty() { 0 } else { (first.max(0.0) * f64::from(RATE)) as usize };
    let mut heard = vec![0; before];
    heard.extend(samples(&bytes));
    heard
}

/// The microphone's period: 2.5 ms.
const BLOCK: usize = RATE as usize / 400;
/// As a sound card's.
const PRIORITY: i32 = 70;
