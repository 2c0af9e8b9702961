//! A core of our own, and the time for which the hypervisor takes it away.
//!
//! On a virtual machine a core stands still for milliseconds now and then, with everything on it. With
//! everything on one core a thread of the highest priority sees each such theft as a moment at which it
//! was not woken; the clock of the programs (`clock.rs`) leaves it out, and nothing that a program does
//! can hide in it.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::os;

/// What is known of thefts, shared with all programs of the bench.
struct Thefts {
    file: PathBuf,
    nanos: &'static AtomicI64,
}

static THEFTS: OnceLock<Thefts> = OnceLock::new();

/// Keeps this thread and all that it starts on one core, and watches it.
pub fn watch(core: usize) -> Result<()> {
    os::pin(core)?;
    if THEFTS.get().is_some() {
        return Ok(());
    }
    let file = PathBuf::from(format!("/dev/shm/stolen-{}", std::process::id()));
    std::fs::write(&file, 0i64.to_ne_bytes())?;
    let nanos = os::share_number(&file)?;
    let _ = THEFTS.set(Thefts { file, nanos });
    // The timers of a core that idles may be kept by another one, whose thefts we don't see.
    std::thread::spawn(|| {
        while os::sink_thread() {
            (0..1_000_000).for_each(|_| std::hint::spin_loop());
        }
    });
    let realtime = std::thread::spawn(move || {
        let realtime = os::raise_thread(PRIORITY);
        std::thread::spawn(move || count(nanos)); // of the same priority
        realtime
    });
    ensure!(realtime.join().unwrap_or(false), "thefts of a core are seen with real-time priority only");
    Ok(())
}

/// Knows what the bench that has started this process knows.
pub fn adopt() -> Result<()> {
    if let Some(file) = std::env::var_os(VARIABLE) {
        let nanos = os::share_number(file.as_ref())?;
        let _ = THEFTS.set(Thefts { file: file.into(), nanos });
    }
    Ok(())
}

/// What tells a program's clock, and puts its threads above what else is real-time.
pub fn environment() -> Vec<(String, String)> {
    let told = |thefts: &Thefts| {
        let file = (VARIABLE.into(), thefts.file.display().to_string());
        vec![file, ("CLOCK_PRIORITY".into(), PRIORITY_OF_PROGRAMS.to_string())]
    };
    THEFTS.get().map(told).unwrap_or_default()
}

/// True monotonic time without what was stolen of it.
pub fn present_nanos() -> u64 {
    os::true_monotonic_nanos() - stolen_nanos()
}

/// All that was stolen so far.
pub fn stolen_nanos() -> u64 {
    THEFTS.get().map_or(0, |thefts| thefts.nanos.load(Ordering::Relaxed)) as u64
}

fn count(stolen: &AtomicI64) {
    let mut last = os::true_monotonic_nanos();
    loop {
        std::thread::sleep(TICK);
        let now = os::true_monotonic_nanos();
        let late = (now - last) as i64 - TICK.as_nanos() as i64;
        if late > PUNCTUAL.as_nanos() as i64 {
            stolen.fetch_add(late, Ordering::Relaxed);
        }
        last = now;
    }
}

const VARIABLE: &str = "CLOCK_STOLEN";
/// Above everything that is measured.
const PRIORITY: i32 = 90;
/// Below JACK's.
const PRIORITY_OF_PROGRAMS: i32 = 60;
/// How finely a theft is seen.
const TICK: Duration = Duration::from_micros(200);
/// So late is a thread of the highest priority without any theft.
const PUNCTUAL: Duration = Duration::from_micros(150);
