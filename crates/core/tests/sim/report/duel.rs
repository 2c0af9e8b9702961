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

/// On links that stall: whatever events a peer accepts, one of our profiles accepts no more and
/// has less delay.
#[test]
#[ignore = "adaptive playout"]
fn at_equal_events_our_delay_is_the_least_on_paths_and_seeds_that_nothing_was_tuned_on() {
    let stalling = ["N2", "N3", "N5", "H1", "H2"];
    let mut lost = Vec::new();
    for Duel { path, peers, ours } in duels(&HELD_OUT, |name| stalling.iter().any(|path| name.starts_with(path))) {
        for ((peer, _), theirs) in PEERS.iter().zip(peers) {
            if !ours.iter().any(|ours| ours.events <= theirs.events && ours.delay < theirs.delay) {
                lost.push(format!("{path}: {peer} {theirs:?}, ours {ours:?}"));
            }
        }
    }
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}
