//! A second machine whose clock is off: what its programs must have in their environment.

use std::path::Path;

use anyhow::{Context, Result};

use crate::os;
use crate::process::run;

/// A clock that is faster than the true one by so many ppm, for the programs that are started with
/// its environment. They agree with each other.
#[derive(Clone, Debug)]
pub struct Skew {
    environment: Vec<(String, String)>,
}

impl Skew {
    /// Compiles the shim (`skew.c`) into `dir`; the clock shows the right time now.
    pub fn new(ppm: f64, dir: &Path) -> Result<Self> {
        let (source, shim) = (dir.join("skew.c"), dir.join("skew.so"));
        std::fs::write(&source, include_str!("skew.c"))?;
        let (from, to) = (source.display().to_string(), shim.display().to_string());
        run(&["cc", "-O2", "-shared", "-fPIC", "-o", &to, &from, "-ldl"])
            .context("the skewed clock needs a compiler")?;
        let environment = vec![
            ("LD_PRELOAD".into(), to),
            ("SKEW_PPM".into(), ppm.to_string()),
            ("SKEW_BASE_NS".into(), os::true_monotonic_nanos().to_string()),
        ];
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

    /// Sleeps a few times, and says how long each took by its own clock and by the true one.
    const SLEEPER: &str = "
import ctypes, time
class Timespec(ctypes.Structure):
    _fields_ = [('s', ctypes.c_long), ('ns', ctypes.c_long)]
libc = ctypes.CDLL(None)
def true():
    now = Timespec()
    libc.syscall(228, 1, ctypes.byref(now)) # clock_gettime(CLOCK_MONOTONIC) of x86-64
    return now.s * 10**9 + now.ns
for _ in range(5):
    shown, passed = time.monotonic_ns(), true()
    time.sleep(0.1)
    print(time.monotonic_ns() - shown, true() - passed)
";

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_program_with_the_shim_lives_faster() {
        let dir = tempfile::tempdir().unwrap();
        let skew = Skew::new(100_000.0, dir.path()).unwrap();
        let Ok(said) = Command::new("python3").args(["-c", SLEEPER]).envs(skew.environment()).output() else {
            return eprintln!("skipped: no python3");
        };
        let text = String::from_utf8(said.stdout).unwrap();
        let mut ratios = Vec::new();
        for line in text.lines() {
            let (shown, passed) = line.split_once(' ').unwrap();
            let (shown, passed): (f64, f64) = (shown.parse().unwrap(), passed.parse().unwrap());
            assert!(shown >= 0.1e9, "it slept for {shown} ns of its own clock");
            ratios.push(shown / passed);
        }
        ratios.sort_by(f64::total_cmp); // whoever is held up between two looks is at the ends
        assert!((ratios[2] - 1.1).abs() < 1e-3, "{ratios:?}");
    }
}
