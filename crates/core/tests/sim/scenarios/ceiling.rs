//! What the user allows, with all that goes with the sound.

use super::*;

/// What one stream took and what was missed of it.
#[derive(Debug)]
struct Outcome {
    /// Bits of each second.
    seconds: Vec<f64>,
    copied: u64,
    /// Of all that was played, what was made up.
    concealed: f64,
}

fn outcome(client: Client, netem: Netem, seed: u64) -> Outcome {
    let mut world = World::with_seed(seed, Server::new().latency(90));
    let id = world.add(client, netem);
    let mut bytes = 0;
    let mut second = |world: &mut World| {
        world.run(seconds(1.0));
        let before = std::mem::replace(&mut bytes, world.carried(id).bytes);
        (bytes - before) as f64 * 8.0
    };
    let seconds = (0..40).map(|_| second(&mut world)).collect();
    let played = world.played(id);
    let concealed = played.concealed_samples as f64 / played.total_samples_received as f64;
    Outcome { seconds, copied: played.copied_samples, concealed }
}

#[test]
fn no_second_takes_more_than_is_allowed() {
    let speech = Client::opus().voice();
    for (client, ceiling, netem) in [
        (speech, 64_000, paths::wired_lan()),
        (speech, 64_000, paths::bursty_wan()),
        (speech, 100_000, paths::very_bad()),
        (Client::opus(), 100_000, paths::wired_lan()),
        (Client::opus(), 160_000, paths::bursty_wan()),
        (Client::l16(), 1_700_000, paths::bursty_wan()),
    ] {
        let outcome = outcome(client.ceiling(ceiling), netem, 1);
        let (most, last) = (outcome.seconds.iter().copied().fold(0.0, f64::max), outcome.seconds.last().unwrap());
        println!("{ceiling}: most {most:.0}, last {last:.0}, {} {:.4}", outcome.copied, outcome.concealed);
        assert!(most < 1.02 * f64::from(ceiling), "{ceiling}: {outcome:?}");
        assert!(*last > 0.8 * f64::from(ceiling).min(1.68e6), "{ceiling}: {outcome:?}");
    }
}

#[test]
fn below_a_ceiling_the_sound_makes_room_for_its_copies() {
    let client = Client::opus().voice().ceiling(64_000);
    let [with, without] = [client, client.fragile()].map(|client| outcome(client, paths::very_bad(), 101));
    assert!(with.copied > 0 && with.concealed < without.concealed / 3.0, "{with:?} {without:?}");
}
