//! What is lost on the way, and how little of it is missed.

use super::*;

/// 5 % lost in bursts of three slots, with so many ms one way.
fn bursty(delay: f64) -> Netem {
    paths::bursty_wan().delay(delay)
}

/// What one stream came to.
#[derive(Debug)]
struct Outcome {
    /// Of all that was played, what was made up.
    concealed: f64,
    /// Bits sent in all, as a multiple of what the same stream takes without redundancy.
    cost: f64,
    /// Bits per second back to the sender.
    back: f64,
    lost: f64,
}

fn outcome(client: Client, netem: Netem, server: Server, seed: u64) -> Outcome {
    let run = |client: Client| {
        let mut world = World::with_seed(seed, server.clone());
        let id = world.add(client, netem.clone());
        world.run(seconds(SECONDS));
        (world, id)
    };
    let (world, id) = run(client);
    let (plain, plain_id) = run(client.fragile());
    let played = world.played(id);
    let carried = world.carried(id);
    Outcome {
        concealed: played.concealed_samples as f64 / played.total_samples_received as f64,
        cost: carried.bytes as f64 / plain.carried(plain_id).bytes as f64,
        back: world.carried_back(id).bytes as f64 * 8.0 / SECONDS,
        lost: carried.lost as f64 / carried.sent as f64,
    }
}

const SECONDS: f64 = 120.0;

/// One report is sent sooner, and nothing else.
const REPORT_MORE: f64 = 1.0001;

#[test]
fn what_is_lost_is_sent_once_more_where_the_delay_leaves_room_for_a_round_trip() {
    for seed in [1, 101] {
        let outcome = outcome(Client::l16(), bursty(15.0), Server::new().latency(90), seed);
        assert!(outcome.lost > 0.04, "{outcome:?}");
        assert!(outcome.concealed < 0.003, "{outcome:?}");
        assert!(outcome.cost < 1.1, "{outcome:?}");
    }
}

#[test]
fn what_would_come_too_late_is_not_asked_for() {
    let outcome = outcome(Client::l16(), bursty(60.0), Server::new().latency(40), 1);
    assert!(outcome.cost < REPORT_MORE, "{outcome:?}");
}

#[test]
fn a_clean_link_costs_nothing_but_reports() {
    let outcome = outcome(Client::l16(), paths::wired_lan(), Server::new().latency(20), 1);
    assert_eq!(outcome.concealed, 0.0, "{outcome:?}");
    assert!(outcome.cost < REPORT_MORE, "{outcome:?}");
    assert!(outcome.back < 3000.0, "{outcome:?}");
}

#[test]
fn a_repair_says_nothing_of_the_path() {
    let delay = |client: Client| {
        let mut world = World::new(Server::new().auto(Profile::Talk));
        let id = world.add(client, Netem::ideal().delay(2.0).loss(0.05));
        world.run(seconds(30.0));
        world.heard(id).delay_from(10.0, 0.95)
    };
    let (with, without) = (delay(Client::l24()), delay(Client::l24().fragile()));
    assert!((with - without).abs() < 1.0, "{with:.1} ms, without repairs {without:.1} ms");
}
