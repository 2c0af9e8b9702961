//! What is lost on the way, and how little of it is missed.

use audiostreamer_core::sender::Redundancy;

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
    /// The same after [`SETTLED`], when the sender has heard of the first losses.
    later: f64,
    /// Bits sent in all, as a multiple of what the same stream takes without redundancy.
    cost: f64,
    /// Bits per second back to the sender.
    back: f64,
    lost: f64,
    /// Of all that was played, what was heard from copies.
    copied: f64,
    /// Lost packets that came after all, of all.
    repaired: f64,
    /// The delay, in milliseconds.
    delay: f64,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { concealed, later, cost, back, lost, copied, repaired, delay } = self;
        let percent = [lost, repaired, copied, concealed, later].map(|share| share * 100.0);
        let [lost, repaired, copied, concealed, later] = percent;
        write!(
            f,
            "lost {lost:5.2} %, repaired {repaired:5.2} %, copies {copied:5.2} %, concealed {concealed:6.3} %, "
        )?;
        write!(f, "later {later:6.3} %, cost {cost:.3}, back {:.1} kb/s, delay {delay:.0} ms", back / 1e3)
    }
}

fn outcome(client: Client, netem: Netem, server: Server, seed: u64) -> Outcome {
    let mut world = World::with_seed(seed, server);
    let id = world.add(client, netem);
    world.run(seconds(SETTLED));
    let early = world.played(id);
    world.run(seconds(SECONDS - SETTLED));
    let (played, carried, sent) = (world.played(id), world.carried(id), world.sent(id));
    // What was sent for nothing but redundancy.
    let packet = carried.bytes as f64 / carried.sent as f64;
    let more = sent.bytes_copied as f64 + sent.packets_resent as f64 * packet;
    Outcome {
        concealed: played.concealed_samples as f64 / played.total_samples_received as f64,
        later: (played.concealed_samples - early.concealed_samples) as f64
            / (played.total_samples_received - early.total_samples_received) as f64,
        cost: carried.bytes as f64 / (carried.bytes as f64 - more),
        back: world.carried_back(id).bytes as f64 * 8.0 / SECONDS,
        lost: carried.lost as f64 / carried.sent as f64,
        copied: played.copied_samples as f64 / played.total_samples_received as f64,
        repaired: world.received(id).packets_repaired as f64 / carried.sent as f64,
        delay: played.delay.as_secs_f64() * 1e3,
    }
}

fn repairs_only() -> Client {
    Client::l16().redundancy(Redundancy::AtMost(0))
}

const SECONDS: f64 = 120.0;
const SETTLED: f64 = 2.0;

#[test]
fn what_is_lost_is_sent_once_more_where_the_delay_leaves_room_for_a_round_trip() {
    let outcomes = [1, 101, 102].map(|seed| outcome(Client::l16(), bursty(15.0), Server::new().latency(90), seed));
    for outcome in &outcomes {
        assert!(outcome.lost > 0.04, "{outcome}");
        assert!(outcome.concealed < 0.0015, "{outcome}");
        assert!(outcome.cost < 1.1, "{outcome}");
    }
    assert!(outcomes.iter().map(|outcome| outcome.concealed).sum::<f64>() < 3.0 * 0.001, "{outcomes:?}");
}

#[test]
fn what_would_come_too_late_is_not_asked_for() {
    let outcome = outcome(repairs_only(), bursty(60.0), Server::new().latency(40), 1);
    assert_eq!((outcome.cost, outcome.copied), (1.0, 0.0), "{outcome:?}");
}

#[test]
fn copies_are_heard_where_there_is_no_time_to_ask() {
    for (client, cost) in [(Client::l16(), 1.15), (Client::opus(), 1.55)] {
        let outcome = outcome(client, paths::bursty_wan(), Server::new().latency(90), 101);
        assert!(outcome.lost > 0.035 && outcome.copied > 0.03, "{outcome}");
        assert!(outcome.concealed < 0.001 && outcome.later < 0.0003, "{outcome}");
        assert!(outcome.cost < cost, "{outcome}");
    }
}

#[test]
fn a_clean_link_costs_nothing_but_reports() {
    let outcome = outcome(Client::l16(), paths::wired_lan(), Server::new().latency(20), 1);
    assert_eq!(outcome.concealed, 0.0, "{outcome:?}");
    assert_eq!(outcome.cost, 1.0, "{outcome:?}");
    assert!(outcome.back < 3000.0, "{outcome:?}");
}

/// The share that is concealed and the delay after 20 s, where the delay is found by itself.
fn found(client: Client, netem: Netem) -> (f64, f64) {
    let mut world = World::new(Server::new().auto(Profile::Talk));
    let id = world.add(client, netem);
    world.run(seconds(20.0));
    let (played, delay) = (world.played(id), world.heard(id).delay_from(10.0, 0.95));
    (played.concealed_samples as f64 / played.total_samples_received as f64, delay)
}

#[test]
fn the_delay_is_long_enough_for_repairs_where_much_is_lost() {
    let netem = Netem::ideal().delay(10.0).loss(0.05);
    let (with, without) = (found(Client::l24(), netem.clone()), found(Client::l24().fragile(), netem));
    assert!(with.0 < without.0, "{with:?}, without repairs {without:?}"); // it is still on its way there
    assert!(with.1 > without.1 + 10.0, "{with:?}, without repairs {without:?}");
}

#[test]
fn what_is_rarely_lost_is_not_waited_for() {
    let netem = Netem::ideal().delay(34.0).loss(0.0005);
    let (with, without) = (found(Client::l24(), netem.clone()), found(Client::l24().fragile(), netem));
    assert!((with.1 - without.1).abs() < 1.0, "{with:?}, without repairs {without:?}");
}

/// Prints what comes of every way to lose and to make up for it: `make measure`.
#[test]
#[ignore = "prints a table, in minutes: `make measure`"]
fn a_table_of_losses() {
    let losses = [
        ("iid 2%", Netem::ideal().loss(0.02)),
        ("iid 10%", Netem::ideal().loss(0.1)),
        ("iid 20%", Netem::ideal().loss(0.2)),
        ("GE 5% B3", Netem::ideal().bursts(0.01754, 0.333)),
        ("GE 10% B3", Netem::ideal().bursts(0.037, 0.333)),
        ("GE 5% B8", Netem::ideal().bursts(0.00658, 0.125)),
        ("GE 20% B4", Netem::ideal().bursts(0.0625, 0.25)),
    ];
    for (name, netem) in losses {
        for (delay, latency) in [(40.0, 45), (40.0, 90), (40.0, 180), (15.0, 90)] {
            for (codec, client) in [("L16", Client::l16()), ("Opus", Client::opus())] {
                let netem = netem.clone().delay(delay).exponential(3.0);
                let outcome = outcome(client, netem, Server::new().latency(latency), 1);
                println!("{name:10} {delay:2} ms one way, {latency:3} ms delay, {codec:4}: {outcome}");
            }
        }
    }
}

/// Speech over the internet as the bench has it (L0, L0c, L0d), where the delay is found by itself.
#[test]
#[ignore = "prints a table, in minutes: `make measure`"]
fn speech_finds_its_delay() {
    let paths = [
        ("L0", Netem::ideal().delay(34.0).bursts(0.0157, 0.333).exponential(1.0)),
        ("L0c", Netem::ideal().delay(22.0).bursts(0.00595, 0.143).exponential(1.0)),
        ("L0d", Netem::ideal().delay(45.0).bursts(0.0586, 0.25).exponential(8.0)),
    ];
    for (name, netem) in paths {
        for seed in [1, 2, 3, 101] {
            let mut world = World::with_seed(seed, Server::new().auto(Profile::Talk));
            let id = world.add(Client::opus().voice(), netem.clone());
            print!("{name:4} seed {seed:3}:");
            let mut before = 0;
            for _ in 0..10 {
                world.run(seconds(4.0));
                let played = world.played(id);
                let made_up = (played.concealed_samples - before) as f64 / 48.0 / 4.0;
                before = played.concealed_samples;
                print!(" {:3.0} ms {made_up:4.1},", played.delay.as_secs_f64() * 1e3);
            }
            println!(" ms made up in a second");
        }
    }
}

/// The targets on their paths, seeds that nothing was tuned on.
#[test]
#[ignore = "prints a table, in minutes: `make measure`"]
fn the_targets() {
    let paths = [
        ("L1 N7 90 ms", paths::bursty_wan(), 90),
        ("L2 N7 at 15 ms, 90 ms", bursty(15.0), 90),
        ("L4 N8 90 ms", paths::hard_bursts(), 90),
        ("L4 N8 180 ms", paths::hard_bursts(), 180),
        ("N9 200 ms", paths::very_bad(), 100),
        ("N3 90 ms", paths::bad_wifi(), 90),
        ("N6 90 ms", paths::continental(), 90),
    ];
    for (name, netem, latency) in paths {
        for (codec, client) in [("L16", Client::l16()), ("Opus", Client::opus())] {
            for seed in [1, 101, 102] {
                let outcome = outcome(client, netem.clone(), Server::new().latency(latency), seed);
                println!("{name:22} {codec:4} seed {seed:3}: {outcome}");
            }
        }
    }
}
