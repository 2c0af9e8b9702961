//! One stream over two TCP connections: what that is worth where packets are lost. ARCHITECTURE.md, "Over TCP", has
//! the same as measured with the kernel's TCP.

use std::time::Duration;

use audiostreamer_core::codec::opus;
use audiostreamer_core::copies;
use audiostreamer_core::plan::Plan;
use audiostreamer_core::sender::Redundancy;

use super::*;

const SETTLED: f64 = 5.0;
const SEEDS: [u64; 3] = [1, 101, 102];

/// How a stream is laid over connections (`None`: there is one), and whether it has copies.
const SHARES: [(&str, Option<Share>, bool); 4] = [
    ("one connection", None, false),
    ("turns", Some(Share::Turns), false),
    ("both", Some(Share::Both), false),
    ("turns and copies", Some(Share::Turns), true),
];

/// A path, and whether what happens on it happens to both connections.
struct Path {
    name: &'static str,
    netem: Netem,
    is_common: bool,
}

impl Path {
    /// 40 ms there and back, as all of them.
    fn losing(name: &'static str, share: f64) -> Self {
        Self { name, netem: Netem::ideal().delay(20.0).loss(share), is_common: false }
    }

    /// 5 % in bursts of 15 ms.
    fn bursty(name: &'static str, is_common: bool) -> Self {
        Self { name, netem: paths::bursty_wan().delay(20.0), is_common }
    }
}

/// Each frame of 10 ms once more in the two packets that follow it, of which each has a connection of its own.
fn copied(client: Client) -> Client {
    let opus = opus::Settings { application: client.application, bitrate_bps: 32_000 };
    let plan = Plan {
        offsets: [millis(15.0), millis(20.0), Duration::ZERO],
        copies: Some(copies::Settings { frames: 480, opus }),
    };
    client.redundancy(Redundancy::Fixed(plan))
}

/// What a listener has of it.
struct Outcome {
    /// Of all that was played, what was made up and what was heard from copies.
    concealed: f64,
    copied: f64,
    events_per_minute: f64,
    /// From mouth to ear, in milliseconds: half of it, and 19 of 20.
    delays: (f64, f64),
    bits_per_second: f64,
}

fn outcome((_, share, copies): (&str, Option<Share>, bool), path: &Path, server: Server, seed: u64) -> Outcome {
    let mut world = World::with_seed(seed, server);
    let client = Client::l24_mono().live_tcp();
    let id = world.add(if copies { copied(client) } else { client }, path.netem.clone());
    if let Some(share) = share {
        world.stripe(id, share, (!path.is_common).then(|| path.netem.clone()));
    }
    world.run(seconds(SETTLED));
    let early = world.played(id);
    world.run(seconds(60.0));
    let (played, heard) = (world.played(id), world.heard(id));
    let all = (played.total_samples_received - early.total_samples_received) as f64;
    Outcome {
        concealed: (played.concealed_samples - early.concealed_samples) as f64 / all,
        copied: (played.copied_samples - early.copied_samples) as f64 / all,
        events_per_minute: heard.events_from(SETTLED, 48_000) as f64,
        delays: (heard.delay_from(SETTLED, 0.5), heard.delay_from(SETTLED, 0.95)),
        bits_per_second: (world.carried(id).bytes + world.carried_also(id).bytes) as f64 * 8.0 / world.seconds(),
    }
}

#[test]
fn what_one_of_two_connections_holds_back_comes_over_the_other() {
    let path = Path::losing("2 %", 0.02);
    let [one, turns, both, copies] = SHARES.map(|share| outcome(share, &path, Server::new().latency(45), 1));
    assert!(turns.concealed > one.concealed / 2.0, "{}, {}", turns.concealed, one.concealed);
    for crossed in [&both, &copies] {
        assert!(crossed.concealed < one.concealed / 8.0, "{}, {}", crossed.concealed, one.concealed);
    }
    assert!(copies.bits_per_second < 1.15 * one.bits_per_second, "{} b/s", copies.bits_per_second);
}

/// The least delay in milliseconds, to 5 ms, with which no more than a thousandth is made up.
fn needed(share: (&str, Option<Share>, bool), path: &Path) -> u64 {
    let concealed = |millis| {
        let of = |seed| outcome(share, path, Server::new().latency(millis), seed).concealed;
        SEEDS.map(of).iter().sum::<f64>() / SEEDS.len() as f64
    };
    let (mut least, mut most) = (2, 50);
    while least < most {
        let middle = (least + most) / 2;
        match concealed(middle * 5) <= 0.001 {
            true => most = middle,
            false => least = middle + 1,
        }
    }
    least * 5
}

#[test]
#[ignore = "prints a table, in minutes: `make measure`"]
fn a_table_of_two_connections() {
    let paths = [
        Path::losing("0.5 %", 0.005),
        Path::losing("2 %", 0.02),
        Path::losing("5 %", 0.05),
        Path::bursty("5 %, each its bursts", false),
        Path::bursty("5 %, bursts of both", true),
    ];
    for path in paths {
        for share in SHARES {
            print!("{:20} {:16}: 0.1 % made up at {:3} ms; by itself", path.name, share.0, needed(share, &path));
            for seed in SEEDS {
                let found = outcome(share, &path, Server::new().auto(Profile::Talk), seed);
                print!(" {:3.0} to {:3.0} ms:", found.delays.0, found.delays.1);
                print!(" {:.2} %, {:2.0}/min, ", found.concealed * 100.0, found.events_per_minute);
                print!("{:.2} % copies, {:.0} kb/s;", found.copied * 100.0, found.bits_per_second / 1e3);
            }
            println!();
        }
    }
}
