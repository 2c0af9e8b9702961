//! One run: a stream over a path for a while, and its figures.

use audiostreamer_core::playout::Stats;

use crate::arrivals::Arrival;
use crate::card::Card;
use crate::client::Client;
use crate::netem::Netem;
use crate::recording::Alignment;
use crate::rules::{Outcome, Rule};
use crate::seconds;
use crate::server::Server;
use crate::tuning::{Profile, stretched_frames};
use crate::world::{Id, World};

/// What is run.
#[derive(Clone, Debug)]
pub struct Run {
    pub netem: Netem,
    pub client: Client,
    pub profile: Profile,
    pub seed: u64,
    /// How far the crystals of the capture and of the playback card are off.
    pub ppm: (f64, f64),
    pub seconds: f64,
}

/// What was heard. Times are in milliseconds but for the last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// From mouth to ear.
    pub p50: f64,
    pub p95: f64,
    pub max: f64,
    /// What playout adds, in the median: beyond the path and what both cards and a packet take.
    pub beyond: f64,
    /// Per minute.
    pub concealed: f64,
    /// Cut out or put in, per minute.
    pub stretched: f64,
    pub events_per_minute: f64,
    pub longest_gap: f64,
    /// At most, in cents.
    pub pitch: f64,
    /// From the first sound, in seconds; all the time if it never does.
    pub settled: f64,
}

/// How a signal that is no code was heard: times in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Likeness {
    /// From mouth to ear, where what was heard is found again.
    pub p50: f64,
    pub p95: f64,
    pub max: f64,
    /// The correlation that 19 of 20 stretches of 100 ms reach.
    pub alike: f64,
    /// Per minute.
    pub concealed: f64,
    pub stretched: f64,
    pub concealments: f64,
}

/// Figures other than that of settling are of what is heard from here on, in seconds: the start is
/// a matter of its own.
const FROM: f64 = 5.0;

/// Rules need longer to have seen their path.
const FROM_RULES: f64 = 20.0;

/// A correlation that tells where a stretch is from.
const FOUND: f64 = 0.8;

/// Periods that the device takes for itself: one that the capture fills, one that waits to be
/// played, and one that is asked for at once but is heard bit by bit.
const PERIODS: f64 = 3.0;

impl Run {
    /// Runs a client that sends the time code.
    pub fn figures(&self) -> Figures {
        let (world, client, before) = self.run(FROM);
        let (heard, played) = (world.heard(client), world.played(client));
        let minutes = (self.seconds - FROM) / 60.0;
        let rate = f64::from(self.client.format.rate);
        let millis_per_minute = |before: u64, after: u64| (after - before) as f64 * 1e3 / rate / minutes;
        let (p50, longest) = (heard.delay_from(FROM, 0.5), heard.gaps_from(FROM).map(|gap| gap.frames).max());
        Figures {
            p50,
            p95: heard.delay_from(FROM, 0.95),
            max: heard.delay_from(FROM, 1.0),
            beyond: p50 - self.floor(),
            concealed: millis_per_minute(before.concealed_samples, played.concealed_samples),
            stretched: millis_per_minute(stretched_frames(&before), stretched_frames(&played)),
            events_per_minute: heard.events_from(FROM, 48_000) as f64 / minutes,
            longest_gap: longest.unwrap_or(0) as f64 / 48.0,
            pitch: heard.pitch_from(FROM).0,
            settled: heard.settled().unwrap_or(self.seconds),
        }
    }

    /// Runs a client that sends the time code over a path that loses nothing, and judges what was
    /// heard as rules are judged, with the arrivals for them.
    pub fn outcome(&self) -> (Outcome, Vec<Arrival>) {
        let (world, client, before) = self.run(FROM_RULES);
        let (heard, played) = (world.heard(client), world.played(client));
        let minutes = (self.seconds - FROM_RULES) / 60.0;
        let (late, all) = (played.units_late - before.units_late, played.units_received - before.units_received);
        let outcome = Outcome {
            delay: heard.mean_delay_from(FROM_RULES) - self.floor(),
            late: late as f64 * 100.0 / all as f64,
            events: heard.events_from(FROM_RULES, 48_000) as f64 / minutes,
        };
        (outcome, world.arrivals(client).to_vec())
    }

    /// Runs a client that sends something else.
    pub fn likeness(&self) -> Likeness {
        let (world, client, _) = self.run(FROM);
        let played = world.played(client);
        let seconds = (0..).map(|n| 2.0 + f64::from(n)).take_while(|second| second + 0.6 < self.seconds);
        let loud = seconds.filter(|&second| world.recording(client).is_loud(second));
        let all: Vec<Alignment> = loud.map(|second| world.align(client, second)).collect();
        let found = all.iter().filter(|one| one.correlation > FOUND).map(|one| one.delay_millis);
        let (mut delays, mut alike): (Vec<f64>, Vec<f64>) =
            (found.collect(), all.iter().map(|one| one.correlation).collect());
        delays.sort_by(f64::total_cmp);
        alike.sort_by(f64::total_cmp);
        let at = |all: &[f64], share: f64| {
            all.get((all.len() as f64 * share) as usize).or(all.last()).copied().unwrap_or(0.0)
        };
        let per_minute = 60.0 / self.seconds;
        let millis_per_minute = |frames: u64| frames as f64 * per_minute * 1e3 / f64::from(self.client.format.rate);
        Likeness {
            p50: at(&delays, 0.5),
            p95: at(&delays, 0.95),
            max: at(&delays, 1.0),
            alike: at(&alike, 0.05),
            concealed: millis_per_minute(played.concealed_samples),
            stretched: millis_per_minute(stretched_frames(&played)),
            concealments: played.concealment_events as f64 * per_minute,
        }
    }

    pub fn judge(&self, arrivals: &[Arrival], rule: Rule) -> Outcome {
        rule.judge(arrivals, FROM_RULES)
    }

    /// Runs all of it; with what was counted in the first seconds.
    fn run(&self, first: f64) -> (World, Id, Stats) {
        let (capture, playback) = self.ppm;
        let card = Card::new(self.client.card.channels).ppm(playback);
        let mut world = World::with_seed(self.seed, Server::new().card(card).auto(self.profile));
        let client = self.client.card(self.client.card.ppm(capture));
        let client = world.add(client, self.netem.clone());
        world.run(seconds(first));
        let before = world.played(client);
        world.run(seconds(self.seconds - first));
        (world, client, before)
    }

    /// The delay that no playout can undercut, in milliseconds.
    fn floor(&self) -> f64 {
        let packet = self.client.frames as f64 * 1e3 / f64::from(self.client.format.rate);
        self.netem.least() + packet + PERIODS * 128.0 / 48.0
    }
}
