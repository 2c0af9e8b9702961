//! This machine: whether a thread gets its turn in time.

use std::fs;
use std::thread;
use std::time::Duration;

use super::beat::median;
use super::finding::{Finding, Verdict};
use crate::clock;
use crate::device::priority;

/// Of a thread that sleeps.
#[derive(Clone, Copy, Debug, Default)]
struct Wakeups {
    real_time: bool,
    late: Duration,
    latest: Duration,
}

/// A nap, and how many of them.
const NAP: Duration = Duration::from_millis(1);
const NAPS: usize = 300;

/// Later than this is heard at the shortest delays.
const LATE: Duration = Duration::from_millis(4);

/// Looks at priority, timers and the clock.
pub fn check() -> Vec<Finding> {
    let wakeups = thread::spawn(nap).join().unwrap_or_default();
    [Some(real_time(wakeups)), Some(timers(wakeups)), clock_source()].into_iter().flatten().collect()
}

fn nap() -> Wakeups {
    let real_time = priority::raise_for_audio();
    let mut late: Vec<Duration> = (0..NAPS)
        .map(|_| {
            let due = clock::now() + NAP;
            thread::sleep(NAP);
            clock::now() - due
        })
        .collect();
    Wakeups { real_time, latest: late.iter().copied().max().unwrap_or_default(), late: median(&mut late) }
}

fn real_time(wakeups: Wakeups) -> Finding {
    match wakeups.real_time {
        true => Finding::good("priority", "the sound's threads may run before all others (real time)"),
        false => Finding::new(
            "priority",
            Verdict::Limits,
            "the sound's threads get no real-time priority: when the machine is busy, sound may stutter",
        )
        .advise(
            "put the line `@audio - rtprio 95` into /etc/security/limits.d/audio.conf, your user into the group audio \
             (sudo usermod -aG audio $USER), and log in again; `ulimit -r` then says 95",
        ),
    }
    .figure("realTime", wakeups.real_time)
}

fn timers(wakeups: Wakeups) -> Finding {
    let Wakeups { late, latest, .. } = wakeups;
    let says = format!("a thread that sleeps wakes {} late, and in the worst case {}", millis(late), millis(latest));
    let load = load();
    let busy = load.filter(|(load, cores)| load > cores);
    match latest > LATE {
        false => Finding::good("timers", says),
        true => Finding::new("timers", Verdict::Limits, says).advise(match busy {
            Some((load, cores)) => {
                format!("the machine is busy ({load:.1} programs want to run on {cores} cores): end some of them")
            }
            None => "the processor sleeps too deeply, or this is a virtual machine whose host is busy: switch its \
                     power saving off, or use a higher --latency"
                .into(),
        }),
    }
    .figure("late", late.as_secs_f64())
    .figure("latest", latest.as_secs_f64())
    .figure("load", load.map(|(load, _)| load))
}

/// How many programs want to run, and how many can.
fn load() -> Option<(f64, f64)> {
    let load = fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()?;
    Some((load, thread::available_parallelism().ok()?.get() as f64))
}

/// The kernel's clock: some take longer to be read than others.
fn clock_source() -> Option<Finding> {
    let name = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource").ok()?;
    let name = name.trim();
    Some(
        match matches!(name, "hpet" | "acpi_pm" | "jiffies" | "pit") {
            false => Finding::good("clock", format!("the clock is {name}, which is quick to read")),
            true => Finding::new("clock", Verdict::Limits, format!("the clock is {name}, which is slow to read"))
                .advise("the kernel has found its better one (tsc) unreliable: see `dmesg | grep -i tsc`"),
        }
        .figure("source", name),
    )
}

/// As people read it.
pub fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gets_its_turn_late_is_told() {
        let wakeups = Wakeups { real_time: false, late: Duration::from_micros(80), latest: Duration::from_millis(20) };
        assert_eq!(timers(wakeups).verdict, Verdict::Limits);
        assert!(real_time(wakeups).advice.unwrap().contains("rtprio"));
        let fine = Wakeups { real_time: true, latest: Duration::from_millis(1), ..wakeups };
        assert_eq!((timers(fine).verdict, real_time(fine).verdict), (Verdict::Good, Verdict::Good));
    }
}
