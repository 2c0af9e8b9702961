//! Paths that don't carry what the user allows.

use super::*;

/// What is heard of a stream after it has found its rate.
#[derive(Debug)]
struct Outcome {
    /// Of the bottleneck's rate.
    used: f64,
    /// What packets wait before it, in milliseconds: 19 of 20 no longer than this.
    waits: f64,
    events: u64,
    concealed: f64,
}

const BOTTLENECK: f64 = 256e3;

/// The first seconds are for finding out.
const FINDING: f64 = 3.0;
const SECONDS: f64 = 60.0;

fn outcome(client: Client, netem: Netem, seed: u64) -> Outcome {
    let mut world = World::with_seed(seed, Server::new().auto(Profile::Talk));
    let id = world.add(client, netem);
    world.run(seconds(FINDING));
    let (bytes, before) = (world.carried(id).bytes, world.played(id));
    world.run(seconds(SECONDS));
    let played = world.played(id);
    let samples = (played.total_samples_received - before.total_samples_received) as f64;
    Outcome {
        used: (world.carried(id).bytes - bytes) as f64 * 8.0 / SECONDS / BOTTLENECK,
        waits: world.waited(id, FINDING, 0.95),
        events: played.concealment_events - before.concealment_events,
        concealed: (played.concealed_samples - before.concealed_samples) as f64 / samples,
    }
}

fn bottleneck() -> Netem {
    Netem::ideal().delay(20.0).rate(BOTTLENECK, 200.0)
}

#[test]
fn a_bottleneck_is_used_and_nothing_waits_before_it() {
    for seed in [1, 101] {
        let outcome = outcome(Client::opus().bitrate(320_000), bottleneck(), seed);
        println!("{outcome:?}");
        assert!(outcome.used >= 0.8 && outcome.waits <= 40.0, "{outcome:?}");
        assert_eq!(outcome.events, 0, "{outcome:?}");
    }
}

#[test]
fn where_all_is_carried_nothing_changes() {
    for netem in [paths::wired_lan(), paths::bad_wifi(), paths::lte(), paths::bursty_wan()] {
        let mut world = World::new(Server::new().auto(Profile::Talk));
        let id = world.add(Client::opus(), netem.clone());
        for _ in 0..30 {
            world.run(seconds(1.0));
            assert_eq!(world.sent(id).budget_bps, None, "after {} s: {netem:?}", world.seconds());
        }
    }
}

#[test]
fn a_queue_that_others_fill_is_made_no_longer() {
    let outcome = outcome(Client::opus(), paths::bufferbloat(), 1);
    println!("{outcome:?}");
    assert!(outcome.used > 0.4, "{outcome:?}");
    assert!(outcome.concealed < 0.02, "{outcome:?}");
}
