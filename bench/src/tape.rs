//! The other end of the probe: records the receiver on a JACK server of its own.
//!
//! A process of its own, because JACK's library knows one server in each, and because the clock of
//! that server is not ours. What it has recorded comes back through files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::jackd;
use crate::probe::{Probe, Recording};
use crate::process::{Process, pause};
use crate::reference::Reference;
use crate::theft;
use crate::timebase::Cycle;

/// What the other process is told.
#[derive(clap::Args)]
pub struct Options {
    /// The JACK client whose outputs are recorded
    receiver: String,
    /// Room for so many frames
    frames: usize,
    /// Where the recording goes
    dir: PathBuf,
}

/// The other process: records until it is asked to end.
pub fn run(options: &Options) -> Result<()> {
    jackd::be_quiet();
    theft::adopt()?;
    let probe = Probe::start(Arc::new(Reference::alike(vec![0.0; options.frames])))?;
    probe.connect(None, Some(&options.receiver), || Ok(()))?;
    println!("{CONNECTED}");
    while pause(Duration::from_secs(1)).is_ok() {}
    save(&probe.finish()?, &options.dir)
}

/// The other process as the bench sees it.
pub struct Tape {
    process: Process,
    dir: PathBuf,
}

impl Tape {
    pub fn start(receiver: &str, frames: usize, environment: &[(String, String)], dir: &Path) -> Result<Self> {
        let program = std::env::current_exe()?.display().to_string();
        let argv = [program, "tape".into(), receiver.into(), frames.to_string(), dir.display().to_string()];
        Ok(Self { process: Process::start("tape", &argv, environment, dir)?, dir: dir.into() })
    }

    /// Waits until it records the receiver, `check` in between.
    pub fn await_connection(&mut self, mut check: impl FnMut() -> Result<()>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline {
            if self.process.log().contains(CONNECTED) {
                return Ok(());
            }
            self.process.check_alive()?;
            check()?;
            pause(Duration::from_millis(5))?;
        }
        bail!("nothing of the receiver has been recorded in 20 s")
    }

    /// Stops it; what it has recorded.
    pub fn finish(mut self) -> Result<Recording> {
        self.process.stop_within(SAVING);
        load(&self.dir).with_context(|| format!("the recording is not there:\n{}", self.process.log_tail(12)))
    }
}

fn save(recording: &Recording, dir: &Path) -> Result<()> {
    let Recording { left, cycles, xruns } = recording;
    let cycles = cycles.iter().flat_map(|cycle| [cycle.frame as u64, cycle.nanos]);
    fs::write(dir.join(HEARD), left.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>())?;
    fs::write(dir.join(CYCLES), numbers(cycles))?;
    fs::write(dir.join(XRUNS), numbers(xruns.iter().map(|xrun| *xrun as u64)))?;
    Ok(())
}

fn load(dir: &Path) -> Result<Recording> {
    let read = |name: &str| fs::read(dir.join(name)).with_context(|| name.to_string());
    let numbers = |name: &str| {
        let bytes = read(name)?;
        Ok::<_, anyhow::Error>(bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect::<Vec<_>>())
    };
    let left = read(HEARD)?.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let cycles =
        numbers(CYCLES)?.as_chunks().0.iter().map(|&[frame, nanos]| Cycle { frame: frame as usize, nanos }).collect();
    let xruns = numbers(XRUNS)?.into_iter().map(|xrun| xrun as usize).collect();
    for name in [HEARD, CYCLES, XRUNS] {
        fs::remove_file(dir.join(name))?; // so that the next one's are the next one's
    }
    Ok(Recording { left, cycles, xruns })
}

fn numbers(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
    numbers.flat_map(u64::to_le_bytes).collect()
}

/// The longest recordings are hundreds of megabytes.
const SAVING: Duration = Duration::from_secs(60);
const CONNECTED: &str = "connected";
const HEARD: &str = "heard.f32";
const CYCLES: &str = "cycles.u64";
const XRUNS: &str = "xruns.u64";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let cycles = vec![Cycle { frame: 0, nanos: 7 }, Cycle { frame: 128, nanos: 2_666_673 }];
        let recording = Recording { left: vec![0.5, -0.25], cycles, xruns: vec![3] };
        save(&recording, dir.path()).unwrap();
        assert_eq!(load(dir.path()).unwrap(), recording);
        assert!(load(dir.path()).is_err(), "it is taken once");
    }
}
