//! The chooser through what happens to links, on a simulated clock: paths that die, return, flap, and a
//! machine that sleeps. Each path behaves as `secure` and `tcp` have it, with their own patience.

use std::time::Duration;

use audiostreamer_core::Instant;

use super::Transport;
use super::chooser::{Change, Chooser, Step};

const TICK: Duration = Duration::from_millis(5);
const ROUND_TRIP: u64 = 20;

/// When a path works, in milliseconds.
type Works = fn(u64) -> bool;

fn always(_: u64) -> bool {
    true
}

fn never(_: u64) -> bool {
    false
}

/// One attempt after the other over one path, and the connection that comes of it.
struct Path {
    works: Works,
    state: State,
    /// UDP is known to be dead by its silence, TCP by the kernel's timeout.
    silent_after: u64,
    dead_after: u64,
    gives_up_after: u64,
}

#[derive(Clone, Copy)]
enum State {
    Off,
    /// Since when.
    Trying(u64),
    Pausing(u64),
    /// When it was last heard, and whether its silence has been told.
    Up {
        heard: u64,
        silent: bool,
    },
}

impl Path {
    fn udp(works: Works) -> Self {
        Self { works, state: State::Trying(0), silent_after: 500, dead_after: 1500, gives_up_after: 1500 }
    }

    fn tcp(works: Works) -> Self {
        Self { works, state: State::Off, silent_after: u64::MAX, dead_after: 4000, gives_up_after: 3000 }
    }

    fn carries(&self, now: u64) -> bool {
        matches!(self.state, State::Up { .. }) && (self.works)(now)
    }

    fn step(&mut self, now: u64) -> Option<Change> {
        let works = (self.works)(now);
        match self.state {
            State::Off => None,
            State::Pausing(since) => {
                if now >= since + 100 {
                    self.state = State::Trying(now);
                }
                None
            }
            // The first packet is repeated after 0.3 and 0.9 s, and must find an open path.
            State::Trying(since) if works && [0, 300, 900].iter().any(|at| now == since + at + 2 * ROUND_TRIP) => {
                self.state = State::Up { heard: now, silent: false };
                Some(Change::Up)
            }
            State::Trying(since) if now >= since + self.gives_up_after => self.down(now),
            State::Trying(_) => None,
            State::Up { silent, .. } if works => {
                self.state = State::Up { heard: now, silent: false };
                silent.then_some(Change::Heard)
            }
            State::Up { heard, .. } if now > heard + self.dead_after => self.down(now),
            State::Up { heard, silent: false } if now > heard + self.silent_after => {
                self.state = State::Up { heard, silent: true };
                Some(Change::Silent)
            }
            State::Up { .. } => None,
        }
    }

    fn down(&mut self, now: u64) -> Option<Change> {
        self.state = State::Pausing(now);
        Some(Change::Down("no answer".into()))
    }
}

/// What the listener notices, in milliseconds.
#[derive(Debug, Default)]
struct Heard {
    /// Times without sound, from when to when.
    gaps: Vec<(u64, u64)>,
    /// What the packets went over, and since when.
    ways: Vec<(u64, Transport)>,
}

impl Heard {
    fn gap_at(&self, at: u64) -> u64 {
        self.gaps.iter().find(|(from, to)| (*from..=*to).contains(&at)).map_or(0, |(from, to)| to - from)
    }

    fn note(&mut self, now: u64, is_heard: bool) {
        match self.gaps.last_mut() {
            _ if is_heard => {}
            Some((_, to)) if *to + 5 == now => *to = now,
            _ => self.gaps.push((now, now)),
        }
    }
}

/// Runs for so many milliseconds; during `asleep` nobody does anything.
fn run(millis: u64, udp: Works, tcp: Works, asleep: std::ops::Range<u64>) -> Heard {
    let at = |now: u64| Instant::from_nanos(1 + now * 1_000_000);
    let (mut chooser, mut udp, mut tcp) = (Chooser::new(at(0)), Path::udp(udp), Path::tcp(tcp));
    let (mut used, mut heard) = (None, Heard::default());
    for now in (0..millis).step_by(TICK.as_millis() as usize) {
        if asleep.contains(&now) {
            heard.note(now, false);
            continue;
        }
        let changes = [(Transport::Udp, udp.step(now)), (Transport::Tcp, tcp.step(now))];
        let mut steps = Vec::new();
        for (transport, change) in changes {
            steps.extend(change.into_iter().flat_map(|change| chooser.handle(at(now), transport, change)));
        }
        steps.extend(chooser.handle_timeout(at(now)));
        for step in steps {
            match step {
                Step::StartTcp => tcp.state = State::Trying(now),
                Step::StopTcp => tcp.state = State::Off,
                Step::RestartUdp => udp.state = State::Trying(now),
                Step::Use(transport) => {
                    used = Some(transport);
                    heard.ways.push((now, transport));
                }
                Step::Down(_) => used = None,
            }
        }
        // A link that was replaced carries what it has until it is let go of.
        heard.note(
            now,
            match used {
                Some(Transport::Udp) => udp.carries(now),
                Some(Transport::Tcp) => tcp.carries(now),
                None => false,
            },
        );
    }
    heard
}

const AWAKE: std::ops::Range<u64> = 0..0;

#[test]
fn where_udp_never_works_sound_comes_over_tcp_within_two_seconds() {
    let heard = run(20_000, never, always, AWAKE);
    assert!(heard.gap_at(0) <= 2000, "{heard:?}");
    assert_eq!(heard.gaps.len(), 1, "{heard:?}");
}

#[test]
fn udp_that_dies_is_replaced_within_a_second_and_taken_back_without_a_gap() {
    let heard = run(60_000, |now| !(10_000..20_000).contains(&now), always, AWAKE);
    assert!(heard.gap_at(10_000) <= 1000, "{heard:?}");
    assert_eq!(heard.gaps.len(), 2, "the beginning and the change: {heard:?}");
    assert_eq!(heard.ways.last().map(|(_, way)| *way), Some(Transport::Udp), "{heard:?}");
}

#[test]
fn a_server_that_is_restarted_is_found_again_within_a_second() {
    // At any place in the rhythm of attempts.
    const RETURNS: [Works; 4] = [
        |now| !(10_000..13_000).contains(&now),
        |now| !(10_000..13_400).contains(&now),
        |now| !(10_000..13_800).contains(&now),
        |now| !(10_000..44_200).contains(&now),
    ];
    for works in RETURNS {
        let back = (10_000..).find(|&now| works(now)).unwrap_or(0);
        let heard = run(60_000, works, works, AWAKE);
        let gap = heard.gap_at(10_000);
        assert!(gap <= back - 10_000 + 1000, "{gap} ms, away until {back}: {heard:?}");
    }
}

#[test]
fn after_a_sleep_sound_is_back_within_a_second() {
    // The server has let go of us meanwhile: the old connection is dead at once.
    let heard = run(90_000, |now| !(10_000..70_000).contains(&now), always, 10_000..70_000);
    assert!(heard.gap_at(10_000) <= 61_000, "{heard:?}");
    assert_eq!(heard.gaps.len(), 2, "{heard:?}");
}

#[test]
fn udp_that_comes_and_goes_is_left_alone_after_some_time() {
    // It works for three seconds and does not for two, for ten minutes.
    let heard = run(600_000, |now| now % 5000 < 3000, always, AWAKE);
    let late = heard.gaps.iter().filter(|(from, _)| *from > 300_000).map(|(from, to)| to - from).sum::<u64>();
    println!("{} changes, {late} ms of silence in the last five minutes", heard.ways.len());
    assert!(heard.ways.len() < 10, "{heard:?}");
    assert!(late < 3000, "{heard:?}");
}
