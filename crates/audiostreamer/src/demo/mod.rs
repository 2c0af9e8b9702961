//! `audiostreamer demo`: a real server and a real client on this machine, from one command.
//!
//! First the built-in signal goes through the link into a file, so that what came out can be
//! compared with what was sent. Then, where there are such devices, the same is heard on the
//! default output, and the default input is listened to. The microphone is never played on the
//! speakers: next to each other they would howl.

mod compare;
mod leg;
mod signal;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::device::{DeviceSpec, SinkFormat, SinkSpec, SourceSpec};
use crate::error::Error;
use compare::{Comparison, compare};
use leg::{Leg, Measured};

/// Opus alone leaves more than that of the signal.
const ALIKE: f64 = 0.95;

const RECORDING: &str = "audiostreamer-demo.wav";

/// How long the microphone is listened to.
const LISTEN: Duration = Duration::from_secs(3);

/// Runs the demo on standard output until it is over or `ended` completes.
pub async fn run(ended: impl Future<Output = ()>) -> Result<(), Error> {
    tokio::select! {
        result = demonstrate() => result,
        () = ended => Ok(()),
    }
}

async fn demonstrate() -> Result<(), Error> {
    let recording = writable(RECORDING);
    let original = TemporaryFile(std::env::temp_dir().join(format!("audiostreamer-demo-{}.wav", std::process::id())));
    signal::write(&original.0)?;

    say("1. The built-in signal through client, socket and server into a file");
    let sink = SinkSpec::File { path: recording.clone(), format: SinkFormat::default() };
    let measured = Leg { source: SourceSpec::File(original.0.clone()), sink, length: None }.run().await?;
    let comparison = compare(&original.0, &recording)?;
    say(&format!("   recorded in {}", recording.display()));
    tell_comparison(&comparison);
    tell_latency(&measured);

    say("2. The same on the default output device");
    let sink = SinkSpec::Device(DeviceSpec::default());
    let leg = Leg { source: SourceSpec::File(original.0.clone()), sink, length: None };
    tell_device_leg(leg.run().await, "you should have heard it")?;

    say("3. The default input device, listened to for three seconds");
    let source = SourceSpec::Device(DeviceSpec::default());
    let leg = Leg { source, sink: SinkSpec::Null, length: Some(LISTEN) };
    tell_device_leg(leg.run().await, "it works when the level below is that of what was said")?;

    // It may not be installed: then its name alone says nothing to the shell.
    let program = std::env::args().next().unwrap_or_else(|| "audiostreamer".into());
    say(&format!("Next: `{program} server` here, `audiostreamer client HOST` on another machine."));
    Ok(())
}

fn tell_comparison(comparison: &Comparison) {
    let Comparison { offset, correlation, gain_decibels, seconds } = comparison;
    say(&format!("   {seconds:.1} s sent; it begins {offset:.3} s into the recording"));
    say(&format!("   likeness (correlation) {correlation:.4} of 1, level {gain_decibels:+.1} dB"));
    if *correlation < ALIKE {
        say("   that is less than it should be: was this machine busy? `audiostreamer doctor` looks for the cause");
    }
}

fn tell_latency(measured: &Measured) {
    say("   latency by stage:");
    let mut sum = Duration::ZERO;
    for (stage, delay) in measured.stages() {
        say(&format!("     {stage:<42}{:>6.1} ms", delay.as_secs_f64() * 1e3));
        sum += delay;
    }
    say(&format!("     {:<42}{:>6.1} ms", "sum", sum.as_secs_f64() * 1e3));
    say(&format!("   {} packets, {} lost", measured.packets(), measured.packets_lost()));
}

/// A machine without that device is no failure of the demo.
fn tell_device_leg(result: Result<Measured, Error>, success: &str) -> Result<(), Error> {
    match result {
        Ok(measured) => {
            say(&format!("   {success}: loudest {}", crate::report::Meter(measured.peak)));
            tell_latency(&measured);
            Ok(())
        }
        Err(Error::Device(error)) => {
            say(&format!("   left out: {error}"));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// In the current directory where that can be written to, else among the temporary files.
fn writable(name: &str) -> PathBuf {
    let here = Path::new(name);
    match std::fs::OpenOptions::new().append(true).create(true).open(here) {
        Ok(_) => here.to_owned(),
        Err(_) => std::env::temp_dir().join(name),
    }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}"); // nobody reads: the demo goes on to its end
}

/// Removed when it goes out of scope.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
