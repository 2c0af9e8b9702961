//! Machines that are too slow for a moment: cards that are not served for some periods, packets
//! that wait meanwhile.

use super::*;
use crate::rng::Rng;

/// A client and a server that, every two seconds or so, lose one to eight periods, one of them or both
/// at once, with or without their packets standing still meanwhile. Returns how often they did.
fn overrun(world: &mut World, client: Id, rng: &mut Rng, told: bool) -> usize {
    let mut overruns = 0;
    while world.seconds() < 60.0 {
        world.run(seconds(rng.between(0.05..4.0)));
        let periods = rng.between(1.0..3.0) * rng.between(1.0..3.0);
        let (now, frames, who) = (world.now(), 128 * periods as u64, rng.number() % 3);
        if who != 0 {
            world.client(client).lose(now, frames, told);
        }
        if who != 1 {
            world.server().lose(now, frames);
        }
        if rng.chance(0.5) {
            world.stall(client, seconds(frames as f64 / 48_000.0));
        }
        overruns += 1;
    }
    overruns
}

#[test]
fn after_every_overrun_the_sound_goes_on_at_once() {
    for (seed, profile, ppm, told) in
        [(1, Profile::Live, 0.0, false), (2, Profile::Talk, 100.0, false), (3, Profile::Talk, -100.0, true)]
    {
        let card = Card::new(2).late(millis(0.3));
        let mut world = World::with_seed(seed, Server::new().auto(profile).card(card.ppm(-ppm / 2.0)));
        let path = Netem::ideal().exponential(0.03).spikes(0.001, 0.5..3.0);
        let client = world.add(Client::l16().frames(128).card(card.ppm(ppm / 2.0)), path);
        world.run(seconds(5.0));
        let overruns = overrun(&mut world, client, &mut Rng::new(seed), told);
        let heard = world.heard(client);
        let longest = heard.longest_gap() as f64 / 48.0;
        // Nine periods are 24 ms, twice where the packets stand still, too, and what comes then may
        // first be taken for late.
        assert!(longest < 60.0, "{profile:?}, {ppm} ppm, told: {told}: {longest:.1} ms");
        assert!(heard.gaps.len() <= overruns, "{} gaps at {overruns} overruns", heard.gaps.len());
        let delay = heard.delay_from(5.0, 0.95);
        assert!(delay < 60.0, "{profile:?}, {ppm} ppm, told: {told}: {delay:.1} ms");
        assert_eq!(world.counts().voices_begun, 1);
    }
}
