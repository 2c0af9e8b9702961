//! The simulator itself: the same seed is the same world.

use super::*;
use crate::trace::Trace;

fn busy(seed: u64) -> Trace {
    let mut world = World::with_seed(seed, Server::new().card(Card::new(2).late(millis(1.0))));
    let netem = paths::bad_wifi().reorder(0.05).duplicate(0.05, 3.0);
    let first = world.add(Client::l24().card(Card::new(2).ppm(100.0).late(millis(1.0))), netem.clone());
    world.add(Client::opus(), netem);
    world.add(Client::l16().tcp().channel(1), paths::lte());
    world.run(seconds(3.0));
    world.client(first).restart();
    world.run(seconds(3.0));
    world.trace()
}

#[test]
fn the_same_seed_is_the_same_world() {
    assert_eq!(busy(7), busy(7));
}

#[test]
fn another_seed_is_another_world() {
    assert_ne!(busy(7), busy(8));
}

#[test]
fn outages_do_not_depend_on_how_many_packets_there_are() {
    let lost = |frames| {
        let mut world = World::with_seed(3, Server::new());
        let client = world.add(Client::l24().frames(frames), paths::hard_bursts());
        world.run(seconds(60.0));
        let counts = world.carried(client);
        counts.lost as f64 / counts.sent as f64
    };
    let (many, few) = (lost(64), lost(960));
    assert!((many - few).abs() < 0.005, "{many} and {few}");
}
