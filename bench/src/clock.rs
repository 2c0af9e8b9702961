//! A machine whose clock is off, or slow: what its programs must have in their environment.

use std::path::Path;

use anyhow::{Context, Result};

use crate::process::run;
use crate::theft;

/// Another clock than the true one, for the programs that are started with its environment. They
/// agree with each other.
#[derive(Clone, Debug)]
pub struct Clock {
    environment: Vec<(String, String)>,
}

impl Clock {
    /// Of a machine that is so many times slower, and whose crystal is faster than the slowness says
    /// by so many ppm. Compiles the shim (`clock.c`) into `dir`; the clock shows the right time now.
    pub fn new(slow: f64, ppm: f64, dir: &Path) -> Result<Self> {
        let (source, shim) = (dir.join("clock.c"), dir.join("clock.so"));
        std::fs::write(&source, include_str!("clock.c"))?;
        let (from, to) = (source.display().to_string(), shim.display().to_string());
        run(&["cc", "-O2", "-shared", "-fPIC", "-o", &to, &from, "-ldl"])
            .context("a clock of its own needs a compiler")?;
        let mut environment = vec![
            ("LD_PRELOAD".into(), to),
            ("CLOCK_SLOW".into(), slow.to_string()),
            ("CLOCK_PPM".into(), ppm.to_string()),
            ("CLOCK_BASE_NS".into(), theft::present_nanos().to_string()),
        ];
        environment.extend(theft::environment());
        Ok(Self { environment })
    }

    /// What makes a program live by this clock.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Sleeps and waits a few times, and says how long each took by its own clock and by the true one.
    const SLEEPER: &str = "
import ctypes, select, time
class Timespec(ctypes.Structure):
    _fields_ = [('s', ctypes.c_long), ('ns', ctypes.c_long)]
libc = ctypes.CDLL(None)
def true():
    now = Timespec()
    libc.syscall(228, 1, ctypes.byref(now)) # clock_gettime(CLOCK_MONOTONIC) of x86-64
    return now.s * 10**9 + now.ns
poll, epoll = select.poll(), select.epoll()
waits = [lambda: time.sleep(0.1), lambda: poll.poll(100), lambda: epoll.poll(0.1), lambda: select.select([], [], [], 0.1)]
for wait in waits:
    for _ in range(5):
        shown, passed = time.monotonic_ns(), true()
        wait()
        print(time.monotonic_ns() - shown, true() - passed)
";

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_program_with_the_shim_lives_faster_or_slower() {
        let dir = tempfile::tempdir().unwrap();
        for (slow, ppm, expected) in [(1.0, 100_000.0, 1.1), (4.0, 0.0, 0.25)] {
            let clock = Clock::new(slow, ppm, dir.path()).unwrap();
            let Ok(said) = Command::new("python3").args(["-c", SLEEPER]).envs(clock.environment()).output() else {
                return eprintln!("skipped: no python3");
            };
            let text = String::from_utf8(said.stdout).unwrap();
            let waits: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
            assert_eq!(waits.len(), 20, "{}", String::from_utf8_lossy(&said.stderr));
            for of_one_kind in waits.chunks(5) {
                let mut ratios = Vec::new();
                for (shown, passed) in of_one_kind {
                    let (shown, passed): (f64, f64) = (shown.parse().unwrap(), passed.parse().unwrap());
                    assert!(shown >= 0.0999e9, "it waited for {shown} ns of its own clock");
                    ratios.push(shown / passed);
                }
                ratios.sort_by(f64::total_cmp); // whoever is held up between two looks is at the ends
                assert!((ratios[2] / expected - 1.0).abs() < 1e-3, "{ratios:?}");
            }
        }
    }
}
