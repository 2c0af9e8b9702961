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
    let client = Client::opus().bitrate(320_000);
    // What the beginning has lost is followed by copies for a while, where they are not off.
    for (client, seed) in [(client, 1), (client, 101), (client.fragile(), 1), (client.fragile(), 101)] {
        let outcome = outcome(client, bottleneck(), seed);
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

#[test]
fn what_is_not_carried_lossless_is_coded_and_goes_on() {
    let mut world = World::new(Server::new().auto(Profile::Talk));
    let client = Client::l16().falls_back();
    let id = world.add(client, Netem::ideal().delay(20.0).rate(10e6, 200.0));
    world.run(seconds(10.0));
    assert_eq!((world.counts().voices_begun, world.sent(id).budget_bps), (1, None));
    world.reroute(id, bottleneck());
    world.run(seconds(FINDING));
    let before = world.played(id);
    world.run(seconds(60.0));
    let played = world.played(id);
    println!("{} ms wait; {before:?}, then {played:?}", world.waited(id, 13.0, 0.95));
    assert_eq!(world.counts().voices_begun, 2, "it is coded from now on");
    assert_eq!(played.concealment_events, before.concealment_events);
    assert!(world.waited(id, 13.0, 0.95) < 40.0);
}

#[test]
fn a_change_of_format_under_way_is_next_to_no_hole() {
    for netem in [paths::wired_lan(), paths::good_wifi().lossless(), Netem::ideal().delay(20.0).jitter(0.0..15.0)] {
        let mut world = World::new(Server::new().auto(Profile::Talk));
        let id = world.add(Client::l24(), netem);
        world.run(seconds(10.0));
        world.client(id).recode(98, Format::l24(48_000, 2), 120);
        world.client(id).recode(97, Format::l16(48_000, 2), 240);
        world.run(seconds(5.0));
        let heard = world.heard(id);
        println!("{:?}", heard.gaps_from(9.9).collect::<Vec<_>>());
        let missing: u64 = heard.gaps_from(9.9).map(|gap| gap.frames).sum();
        assert!(missing < 48 * 10, "{missing} frames");
    }
}
