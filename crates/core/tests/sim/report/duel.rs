//! Ours at each profile and the rules of peers on the same arrivals.

use crate::client::Client;
use crate::netem::Netem;
use crate::rules::{Outcome, Rule};
use crate::tuning::Profile;

use super::crowd;
use super::run::Run;
use super::sections::{HELD_OUT, paths};

pub const PEERS: [(&str, Rule); 4] = [
    ("NetEq", Rule::NetEq),
    ("NetEq mid", Rule::NetEqMid),
    ("JackTrip", Rule::JackTrip),
    ("200 ms", Rule::Fixed(200.0)),
];

/// How long each is run, in seconds.
pub const SECONDS: f64 = 140.0;

/// Paths that tell the rules nothing that another does not: without its losses N8 is N7.
const CALM: [&str; 3] = ["N0", "N4", "N8"];

/// Means over the seeds on one path without its losses.
#[derive(Clone, Debug)]
pub struct Duel {
    pub path: &'static str,
    pub peers: [Outcome; PEERS.len()],
    /// In the order of the profiles.
    pub ours: [Outcome; Profile::ALL.len()],
}

/// Duels on all paths that `wanted` wants by their name.
pub fn duels(seeds: &[u64], wanted: impl Fn(&str) -> bool) -> Vec<Duel> {
    let client = Client::l24_mono();
    let wanted = |name: &str| wanted(name) && !CALM.iter().any(|calm| name.starts_with(calm));
    let paths: Vec<_> = paths(&client).into_iter().filter(|(name, _)| wanted(name)).collect();
    let runs: Vec<Run> = paths.iter().flat_map(|(_, netem)| runs(client, netem, seeds)).collect();
    let outcomes = crowd::map(&runs, outcomes);
    let per_path = seeds.len() * Profile::ALL.len();
    paths.iter().zip(outcomes.chunks(per_path)).map(|((path, _), outcomes)| duel(path, outcomes)).collect()
}

fn runs(client: Client, netem: &Netem, seeds: &[u64]) -> Vec<Run> {
    let netem = netem.clone().lossless();
    let run = |seed, profile| Run { netem: netem.clone(), client, profile, seed, ppm: (0.0, 0.0), seconds: SECONDS };
    seeds.iter().flat_map(|&seed| Profile::ALL.map(|profile| run(seed, profile))).collect()
}

/// What ours makes of a run, and what each rule makes of its arrivals: the same for each profile.
fn outcomes(run: &Run) -> (Outcome, Vec<Outcome>) {
    let (ours, arrivals) = run.outcome();
    let peers = PEERS.iter().filter(|_| run.profile == Profile::ALL[0]);
    (ours, peers.map(|(_, rule)| run.judge(&arrivals, *rule)).collect())
}

fn duel(path: &'static str, outcomes: &[(Outcome, Vec<Outcome>)]) -> Duel {
    let peer = |peer| mean(outcomes.iter().filter_map(|(_, peers)| peers.get(peer)));
    let profile = |first| mean(outcomes.iter().skip(first).step_by(Profile::ALL.len()).map(|(ours, _)| ours));
    Duel { path, peers: std::array::from_fn(peer), ours: std::array::from_fn(profile) }
}

fn mean<'a>(all: impl Iterator<Item = &'a Outcome>) -> Outcome {
    let (mut sum, mut count) = (Outcome::default(), 0.0);
    for one in all {
        sum = Outcome { delay: sum.delay + one.delay, late: sum.late + one.late, events: sum.events + one.events };
        count += 1.0;
    }
    Outcome { delay: sum.delay / count, late: sum.late / count, events: sum.events / count }
}

/// One event in two minutes is no difference: it is two in a run.
const EVENTS_EVEN: f64 = 0.5;

/// The delay of ours at so many events per minute: the dial is continuous, so between two profiles
/// it is in between. `None` where even the least delay has fewer.
fn ours_at(ours: &[Outcome], events: f64) -> Option<f64> {
    if let Some(best) =
        ours.iter().filter(|ours| ours.events <= events + EVENTS_EVEN).map(|ours| ours.delay).reduce(f64::min)
    {
        let worse = ours.iter().filter(|ours| ours.events > events + EVENTS_EVEN && ours.delay < best);
        let between = worse.filter_map(|worse| {
            let better = ours.iter().find(|ours| ours.delay == best)?;
            let share = (worse.events - events) / (worse.events - better.events).max(1e-9);
            Some(worse.delay + share.clamp(0.0, 1.0) * (better.delay - worse.delay))
        });
        let least = between.fold(best, f64::min);
        let beyond_the_dial = ours.iter().all(|ours| ours.events * FEWER < events);
        return (!beyond_the_dial).then_some(least);
    }
    None
}

/// A rule with more than so many times the events of all of ours cannot be compared at equal events.
const FEWER: f64 = 3.0;

/// On links that stall: whatever events a peer accepts, ours has less delay at no more of them.
/// Where a peer accepts several times the events of our most daring profile there is nothing to
/// compare at equal events; the report shows both.
#[test]
fn at_equal_events_our_delay_is_the_least_on_paths_and_seeds_that_nothing_was_tuned_on() {
    let stalling = ["N2", "N3", "N5", "H1", "H2"];
    let mut lost = Vec::new();
    for Duel { path, peers, ours } in duels(&HELD_OUT, |name| stalling.iter().any(|path| name.starts_with(path))) {
        for ((peer, _), theirs) in PEERS.iter().zip(peers) {
            if ours_at(&ours, theirs.events).is_some_and(|ours| ours >= theirs.delay) {
                lost.push(format!("{path}: {peer} {theirs:?}, ours {ours:?}"));
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}
