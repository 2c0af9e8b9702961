//! Machines that are too slow for a moment: cards that are not served for some periods, packets
//! that wait meanwhile.

use super::*;
use crate::observe::Gap;
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

/// Both machines are one that stands still, as a virtual machine does whose processor is taken away.
#[test]
fn when_both_cards_lose_the_same_time_nothing_is_heard_of_it() {
    for (seed, profile, lost_millis) in [
        (1, Profile::Live, 5.0),
        (2, Profile::Talk, 8.0),
        (3, Profile::Talk, 40.0),
        (4, Profile::Live, 260.0),
        (5, Profile::Hifi, 700.0),
        (6, Profile::Talk, 1300.0),
    ] {
        let card = Card::new(2).late(millis(0.3));
        let mut world = World::with_seed(seed, Server::new().auto(profile).card(card));
        let path = Netem::ideal().exponential(0.03);
        let client = world.add(Client::l16().frames(128).card(card), path);
        let mut losses = Vec::new();
        for _ in 0..3 {
            world.run(seconds(6.0 + 0.37 * seed as f64));
            let (now, frames) = (world.now(), (lost_millis * 48.0) as u64);
            losses.push(world.seconds());
            world.client(client).lose(now, frames, false);
            world.server().lose(now, frames);
            world.stall(client, millis(lost_millis));
        }
        world.run(seconds(6.0));
        let heard = world.heard(client);
        let later = |gap: &&Gap| losses.iter().all(|at| gap.at < *at - 0.1 || gap.at > *at + 0.1 + lost_millis * 1e-3);
        let after: Vec<&Gap> = heard.gaps_from(5.0).filter(later).collect();
        assert!(after.is_empty(), "{profile:?}, {lost_millis} ms: {after:?}, lost at {losses:?}");
    }
}

/// A card on a machine that has no time for it: it asks for a third of what it should, in blocks that
/// come when they can, for a minute. Then all is well again.
#[test]
fn a_card_that_was_starved_for_a_minute_is_heard_again_at_the_usual_delay() {
    for (seed, profile) in [(1, Profile::Live), (2, Profile::Talk), (3, Profile::Hifi)] {
        let mut rng = Rng::new(seed);
        let card = Card::new(2).late(millis(0.3));
        let mut world = World::with_seed(seed, Server::new().auto(profile).card(card.ppm(100.0)));
        let client = world.add(Client::l16().card(card), Netem::ideal().exponential(0.03));
        world.run(seconds(20.0));
        while world.seconds() < 80.0 {
            world.run(millis(rng.between(5.0..35.0)));
            let (now, frames) = (world.now(), (rng.between(5.0..20.0) * 48.0) as u64);
            world.server().lose(now, frames);
        }
        world.run(seconds(40.0));
        let heard = world.heard(client);
        let before = heard.delay_between(15.0, 20.0, 0.95);
        let after = heard.delay_between(90.0, 120.0, 0.95);
        let gaps: Vec<&Gap> = heard.gaps_from(95.0).collect();
        assert!(gaps.is_empty(), "{profile:?}: {gaps:?}");
        assert!(after < before + 50.0, "{profile:?}: {after:.1} ms, {before:.1} before");
    }
}
