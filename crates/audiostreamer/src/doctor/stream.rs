//! The path, as sound meets it: for some seconds a client like any other, which is let in like any other,
//! and whose sound is muted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use audiostreamer_core::codec::opus::Application;
use audiostreamer_core::sender::Redundancy;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::beat::median;
use super::finding::{Finding, Verdict};
use super::machine::millis;
use crate::client::{self, FeedStatus, State};
use crate::device::SourceSpec;
use crate::error::Error;
use crate::report::{Event, Report};
use crate::volume::Volume;

/// What was measured of the path.
#[derive(Clone, Debug, Default)]
pub struct Path {
    /// There and back, shortest first, a figure each second.
    pub round_trips: Vec<Duration>,
    /// As the server measures it: the median of what it reported.
    pub jitter: Duration,
    /// Packets that were lost on the way ...
    pub lost: u32,
    /// ... of so many.
    pub sent: u64,
}

impl Path {
    /// The shortest way there and back.
    pub fn round_trip(&self) -> Duration {
        self.round_trips.first().copied().unwrap_or_default()
    }

    fn longest(&self) -> Duration {
        self.round_trips.last().copied().unwrap_or_default()
    }
}

/// A server that lets us in reports within a second.
const HEARD: Duration = Duration::from_secs(6);

/// As often is sent, where nothing else is asked for.
const FRAME: Duration = Duration::from_millis(5);

/// More than this is heard, as a rule.
const LOST_MUCH: f64 = 0.01;

/// Something else fills a queue on the way, or the radio repeats.
const VARIES: Duration = Duration::from_millis(30);

/// What the client has told so far.
#[derive(Debug, Default)]
struct Told {
    statuses: Vec<FeedStatus>,
    waiting: Option<String>,
    heard: bool,
}

/// Streams silence to the server for so long.
pub async fn check(config: client::Config, duration: Duration) -> (Vec<Finding>, Option<Path>) {
    let peer = config.destinations.first().map(ToString::to_string).unwrap_or_default();
    let told = Arc::new(Mutex::new(Told::default()));
    let (heard, mut is_heard) = watch::channel(false);
    let report = {
        let told = told.clone();
        move |report| take(&told, &heard, report)
    };
    let enough = async {
        if timeout(HEARD, is_heard.wait_for(|heard| *heard)).await.is_ok_and(|heard| heard.is_ok()) {
            sleep(duration).await;
        }
    };
    let result = client::run(muted(config), report, enough).await;
    let told = told.lock().map(|mut told| std::mem::take(&mut *told)).unwrap_or_default();
    match result {
        Err(Error::Auth(why)) => (vec![Finding::new("entry", Verdict::NoEntry, why.to_string())], None),
        Err(why) => (vec![Finding::new("entry", Verdict::NoPath, why.to_string())], None),
        Ok(_) if told.heard => {
            let path = measured(&told.statuses);
            (findings(&peer, &path), Some(path))
        }
        Ok(_) => (vec![unheard(&peer, told.waiting)], None),
    }
}

/// A source that needs no card, at a volume that hurts nobody, in packets that are all of one size.
fn muted(mut config: client::Config) -> client::Config {
    config.source = SourceSpec::Tone(440.0);
    config.volume = Volume { gain: 0.0, muted: true };
    config.media.opus.application = Application::Voice;
    config.media.frame.get_or_insert(FRAME); // many packets tell more of a path than the few of a voice
    config.media.redundancy = Redundancy::Off; // what is lost is to be counted, not mended
    config.record = None;
    config
}

fn take(told: &Mutex<Told>, heard: &watch::Sender<bool>, report: Report) {
    let Ok(mut told) = told.lock() else { return };
    match report {
        Report::Client(status) => {
            let Some(status) = status.destinations.into_iter().next() else { return };
            if status.state == State::Heard {
                told.heard = true;
                let _ = heard.send(true);
            }
            told.statuses.push(status);
        }
        Report::Event(Event::Waiting { why, .. }) => told.waiting = Some(why),
        Report::Event(_) | Report::Server(_) => {}
    }
}

fn measured(statuses: &[FeedStatus]) -> Path {
    let mut round_trips: Vec<Duration> = statuses.iter().filter_map(|status| status.stats.round_trip_time).collect();
    round_trips.dedup(); // each is reported until the next comes
    round_trips.sort();
    let mut jitter: Vec<Duration> =
        statuses.iter().map(|status| status.stats.jitter).filter(|jitter| !jitter.is_zero()).collect();
    let stats = statuses.last().map(|status| status.stats).unwrap_or_default();
    Path { round_trips, jitter: median(&mut jitter), lost: stats.packets_lost, sent: stats.packets_sent }
}

fn findings(peer: &str, path: &Path) -> Vec<Finding> {
    vec![
        Finding::good("entry", format!("{peer} lets this machine in, and plays what it sends (it was muted)")),
        delay(path),
        loss(path),
    ]
}

fn delay(path: &Path) -> Finding {
    let (shortest, longest) = (path.round_trip(), path.longest());
    let says = format!(
        "there and back in {} to {}; packets come with a jitter of {}",
        millis(shortest),
        millis(longest),
        millis(path.jitter)
    );
    let varies = longest.saturating_sub(shortest) > VARIES || path.jitter > VARIES / 3;
    let finding = match varies {
        false => Finding::good("delay", says),
        true => Finding::new("delay", Verdict::Limits, says).advise(
            "the delay varies: on Wi-Fi use a cable or come nearer (5 GHz rather than 2.4 GHz); elsewhere something \
             large is being sent or fetched beside the sound",
        ),
    };
    finding
        .figure("roundTripShortest", shortest.as_secs_f64())
        .figure("roundTripLongest", longest.as_secs_f64())
        .figure("jitter", path.jitter.as_secs_f64())
}

fn loss(path: &Path) -> Finding {
    let Path { lost, sent, .. } = *path;
    let share = f64::from(lost) / sent.max(1) as f64;
    let says = match lost {
        0 => format!("none of {sent} packets was lost"),
        _ => format!("{lost} of {sent} packets ({:.2} %) were lost on the way", share * 100.0),
    };
    let finding = match share < LOST_MUCH {
        true => Finding::good("loss", says),
        false => Finding::new("loss", Verdict::Limits, says).advise(
            "what is lost is sent once more where the delay leaves time for that: `server --profile listen` leaves \
             more; a cable in place of Wi-Fi, or a lower --bitrate on a slow line, loses less",
        ),
    };
    finding.figure("lost", lost).figure("sent", sent)
}

fn unheard(peer: &str, waiting: Option<String>) -> Finding {
    match waiting {
        Some(why) => Finding::new("entry", Verdict::NoPath, format!("no link to {peer} comes about: {why}")),
        None => Finding::new("entry", Verdict::NoPath, format!("{peer} has not said that it hears us"))
            .advise("it plays as many clients as it may (server --max-clients), or its answers do not come through"),
    }
}
