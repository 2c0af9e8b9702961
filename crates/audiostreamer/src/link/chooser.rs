//! UDP or TCP? Decides for an encrypted link whose transport is left to us, from what happens to
//! either. UDP is better: a lost packet holds up nothing. TCP gets through where UDP does not.
//!
//! Pure, like core: `now` is an argument, and what is to be done is a list of [`Step`]s.

use std::time::Duration;

use audiostreamer_core::Instant;

use super::Transport;

/// UDP is alone for so long before TCP is tried beside it.
const HEAD_START: Duration = Duration::from_secs(1);

/// When TCP answers first, UDP gets one fresh attempt of this length: a server that has just come
/// up answers both, and its listening TCP socket is quicker.
const FRESH_ATTEMPT: Duration = Duration::from_millis(250);

/// How long UDP has to work before it replaces a TCP connection that works. It doubles each time
/// that UDP fails in use, as on paths that let a flow live for a while only.
const PROBATION: Duration = Duration::from_secs(2);
const PROBATION_MAX: Duration = Duration::from_secs(120);

/// In use for so long without failing, UDP is as good as new.
const PROVEN: Duration = Duration::from_secs(60);

/// TCP lives on for so long after UDP has replaced it: what is on its way shall arrive.
const HANDOVER: Duration = Duration::from_secs(1);

/// What happens to either path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Up,
    Down(String),
    Silent,
    Heard,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin to try TCP.
    StartTcp,
    /// Let go of TCP.
    StopTcp,
    /// Try UDP from the beginning.
    RestartUdp,
    /// From now on packets go this way.
    Use(Transport),
    /// There is no way at the moment.
    Down(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Not tried.
    Off,
    /// Tried; has it failed since there last was a way?
    Trying {
        failed: bool,
    },
    Up {
        since: Instant,
    },
    /// Up, but nothing comes.
    Silent {
        since: Instant,
    },
}

/// The state of both paths.
#[derive(Debug)]
pub(super) struct Chooser {
    udp: Path,
    tcp: Path,
    used: Option<Transport>,
    used_since: Instant,
    probation: Duration,
    /// When time alone changes something.
    head_start: Option<Instant>,
    fresh_attempt: Option<Instant>,
    stop_tcp: Option<Instant>,
}

impl Chooser {
    /// UDP is being tried.
    pub fn new(now: Instant) -> Self {
        Self {
            udp: Path::Trying { failed: false },
            tcp: Path::Off,
            used: None,
            used_since: now,
            probation: PROBATION,
            head_start: Some(now + HEAD_START),
            fresh_attempt: None,
            stop_tcp: None,
        }
    }

    /// Takes what has happened to one path.
    pub fn handle(&mut self, now: Instant, transport: Transport, change: Change) -> Vec<Step> {
        let mut steps = Vec::new();
        match transport {
            Transport::Udp => self.handle_udp(now, &change, &mut steps),
            Transport::Tcp => self.handle_tcp(now, &change, &mut steps),
        }
        self.choose(now, &mut steps);
        if let Change::Down(why) = change
            && self.used.is_none()
            && self.has_failed(self.udp)
            && self.has_failed(self.tcp)
        {
            steps.push(Step::Down(why));
        }
        steps
    }

    /// Takes note that time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.head_start.is_some_and(|end| now >= end) {
            self.start_tcp(&mut steps);
        }
        if self.stop_tcp.is_some_and(|end| now >= end) {
            self.stop_tcp = None;
            self.tcp = Path::Off;
            steps.push(Step::StopTcp);
        }
        self.choose(now, &mut steps);
        steps
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn timeout(&self) -> Option<Instant> {
        let probation = match (self.udp, self.used) {
            (Path::Up { since }, Some(Transport::Tcp)) => Some(since + self.probation),
            _ => None,
        };
        [self.head_start, self.fresh_attempt, self.stop_tcp, probation].into_iter().flatten().min()
    }

    /// Whether packets go this way.
    pub fn uses(&self, transport: Transport) -> bool {
        self.used == Some(transport)
    }

    fn handle_udp(&mut self, now: Instant, change: &Change, steps: &mut Vec<Step>) {
        match (change, self.udp) {
            (Change::Up, _) => self.udp = Path::Up { since: now },
            (Change::Heard, Path::Silent { since }) => self.udp = Path::Up { since },
            (Change::Silent, Path::Up { since }) => {
                self.udp = Path::Silent { since };
                self.start_tcp(steps);
            }
            (Change::Down(_), _) => {
                self.udp = Path::Trying { failed: true };
                if self.used == Some(Transport::Udp) {
                    self.lose_udp(now);
                }
                self.start_tcp(steps);
            }
            (Change::Silent | Change::Heard, _) => {}
        }
    }

    fn handle_tcp(&mut self, now: Instant, change: &Change, steps: &mut Vec<Step>) {
        match change {
            Change::Up => {
                self.tcp = Path::Up { since: now };
                if self.used.is_none() {
                    self.fresh_attempt = Some(now + FRESH_ATTEMPT);
                    steps.push(Step::RestartUdp);
                }
            }
            Change::Down(_) if self.tcp != Path::Off => {
                self.tcp = Path::Trying { failed: true };
                if self.used == Some(Transport::Tcp) {
                    self.used = None;
                    steps.push(Step::RestartUdp); // whatever happened may have helped it
                }
            }
            Change::Down(_) | Change::Silent | Change::Heard => {}
        }
    }

    /// Takes the best path that there is.
    fn choose(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let tcp_is_up = matches!(self.tcp, Path::Up { .. });
        match (self.udp, self.used) {
            (Path::Up { .. }, None) => self.take(Transport::Udp, now, steps),
            (Path::Up { since }, Some(Transport::Tcp)) if now >= since + self.probation => {
                self.take(Transport::Udp, now, steps);
            }
            // UDP has come back to life before TCP was there.
            (Path::Up { .. }, Some(Transport::Udp)) if self.tcp != Path::Off && self.stop_tcp.is_none() => {
                self.stop_tcp = Some(now + HANDOVER);
            }
            (Path::Silent { .. }, Some(Transport::Udp)) if tcp_is_up => {
                self.lose_udp(now);
                self.take(Transport::Tcp, now, steps);
                steps.push(Step::RestartUdp); // the new connection has to prove itself
                self.udp = Path::Trying { failed: true };
            }
            (_, None) if tcp_is_up && self.fresh_attempt.is_none_or(|end| now >= end) => {
                self.take(Transport::Tcp, now, steps);
            }
            _ => {}
        }
    }

    fn take(&mut self, transport: Transport, now: Instant, steps: &mut Vec<Step>) {
        self.used = Some(transport);
        self.used_since = now;
        self.head_start = None;
        self.fresh_attempt = None;
        self.stop_tcp = (transport == Transport::Udp && self.tcp != Path::Off).then(|| now + HANDOVER);
        steps.push(Step::Use(transport));
    }

    fn lose_udp(&mut self, now: Instant) {
        self.used = None;
        self.probation = match now - self.used_since > PROVEN {
            true => PROBATION,
            false => (2 * self.probation).min(PROBATION_MAX),
        };
    }

    fn start_tcp(&mut self, steps: &mut Vec<Step>) {
        self.head_start = None;
        self.stop_tcp = None; // or it would be let go of in the middle
        if self.tcp == Path::Off {
            self.tcp = Path::Trying { failed: false };
            steps.push(Step::StartTcp);
        }
    }

    fn has_failed(&self, path: Path) -> bool {
        matches!(path, Path::Trying { failed: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Tcp, Udp};

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn down(why: &str) -> Change {
        Change::Down(why.into())
    }

    #[test]
    fn udp_alone_is_used_where_it_answers() {
        let mut chooser = Chooser::new(at(0));
        assert_eq!(chooser.handle(at(50), Udp, Change::Up), [Step::Use(Udp)]);
        assert_eq!(chooser.timeout(), None, "TCP is never tried");
    }

    #[test]
    fn tcp_is_used_where_udp_does_not_answer_within_a_second() {
        let mut chooser = Chooser::new(at(0));
        assert_eq!(chooser.timeout(), Some(at(1000)));
        assert_eq!(chooser.handle_timeout(at(1000)), [Step::StartTcp]);
        assert_eq!(chooser.handle(at(1100), Tcp, Change::Up), [Step::RestartUdp]);
        assert_eq!(chooser.timeout(), Some(at(1350)));
        assert_eq!(chooser.handle_timeout(at(1350)), [Step::Use(Tcp)]);
    }

    #[test]
    fn a_udp_that_fails_at_once_has_no_head_start() {
        let mut chooser = Chooser::new(at(0));
        assert_eq!(chooser.handle(at(5), Udp, down("network is unreachable")), [Step::StartTcp]);
        assert_eq!(chooser.handle(at(6), Tcp, down("refused")), [Step::Down("refused".into())]);
    }

    #[test]
    fn a_server_that_has_just_come_up_is_reached_over_udp() {
        let mut chooser = Chooser::new(at(0));
        chooser.handle_timeout(at(1000));
        assert_eq!(chooser.handle(at(1001), Tcp, down("refused")), []);
        assert_eq!(chooser.handle(at(1500), Udp, down("no answer")), [Step::Down("no answer".into())]);
        assert_eq!(chooser.handle(at(5000), Tcp, Change::Up), [Step::RestartUdp]);
        assert_eq!(chooser.handle(at(5020), Udp, Change::Up), [Step::Use(Udp)]);
        assert_eq!(chooser.timeout(), Some(at(6020)));
        assert_eq!(chooser.handle_timeout(at(6020)), [Step::StopTcp]);
    }

    #[test]
    fn tcp_takes_over_when_udp_falls_silent_and_hands_back_when_it_has_proved_itself() {
        let mut chooser = Chooser::new(at(0));
        chooser.handle(at(50), Udp, Change::Up);
        assert_eq!(chooser.handle(at(10_000), Udp, Change::Silent), [Step::StartTcp]);
        assert_eq!(chooser.handle(at(10_050), Tcp, Change::Up), [Step::Use(Tcp), Step::RestartUdp]);
        assert_eq!(chooser.handle(at(11_500), Udp, down("no answer")), []);
        assert_eq!(chooser.handle(at(20_000), Udp, Change::Up), []);
        assert_eq!(chooser.timeout(), Some(at(24_000)), "it has failed once");
        assert_eq!(chooser.handle_timeout(at(24_000)), [Step::Use(Udp)]);
        assert_eq!(chooser.handle_timeout(at(25_000)), [Step::StopTcp]);
    }

    #[test]
    fn udp_that_comes_back_in_time_stays() {
        let mut chooser = Chooser::new(at(0));
        chooser.handle(at(50), Udp, Change::Up);
        assert_eq!(chooser.handle(at(600), Udp, Change::Silent), [Step::StartTcp]);
        assert_eq!(chooser.handle(at(700), Udp, Change::Heard), []);
        assert_eq!(chooser.handle(at(720), Tcp, Change::Up), []);
        assert_eq!(chooser.handle_timeout(at(1700)), [Step::StopTcp]);
    }

    #[test]
    fn udp_that_fails_again_and_again_is_trusted_less_and_less() {
        let mut chooser = Chooser::new(at(0));
        chooser.handle(at(0), Udp, Change::Up);
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..8 {
            chooser.handle(at(now + 1000), Udp, Change::Silent);
            chooser.handle(at(now + 1010), Tcp, Change::Up);
            chooser.handle(at(now + 1100), Udp, Change::Up);
            let until = chooser.timeout().unwrap();
            waits.push((until - at(now + 1100)).as_secs());
            assert!(chooser.handle_timeout(until).contains(&Step::Use(Udp)));
            chooser.handle_timeout(until + HANDOVER);
            now = (until.as_nanos() / 1_000_000) + 1000;
        }
        assert_eq!(waits, [4, 8, 16, 32, 64, 120, 120, 120]);
    }

    #[test]
    fn a_tcp_connection_that_breaks_is_replaced_by_whatever_comes_first() {
        let mut chooser = Chooser::new(at(0));
        chooser.handle_timeout(at(1000));
        chooser.handle(at(1100), Tcp, Change::Up);
        chooser.handle_timeout(at(1350));
        chooser.handle(at(1600), Udp, down("no answer"));
        let steps = chooser.handle(at(5000), Tcp, down("reset"));
        assert_eq!(steps, [Step::RestartUdp, Step::Down("reset".into())]);
        assert_eq!(chooser.handle(at(5100), Tcp, Change::Up), [Step::RestartUdp]);
        assert_eq!(chooser.handle_timeout(at(5350)), [Step::Use(Tcp)]);
    }
}
