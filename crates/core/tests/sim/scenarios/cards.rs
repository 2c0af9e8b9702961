//! What sound cards do.

use super::*;

#[test]
fn an_hour_between_crystals_that_are_off_keeps_the_delay_in_bounds() {
    let mut world = World::new(Server::new());
    let fast = world.add(Client::l24().card(Card::new(2).ppm(100.0)), paths::wired_lan());
    let slow = world.add(Client::l24().card(Card::new(2).ppm(-100.0)).channel(1), paths::wired_lan());
    world.run(seconds(3_600.0));
    // 360 ms too much, cut by a little more than 20 each time.
    let (heard, played) = (world.heard(fast), world.played(fast));
    assert!(heard.gaps.len() <= 18 && heard.longest_gap() <= 125, "{:?}", heard.gaps);
    assert!(heard.delay(0.0) > 27.0 && heard.delay(1.0) < 51.0, "{} ms", heard.delay(1.0));
    assert_eq!((heard.repeated_frames, played.concealed_samples), (0, 0));
    // 360 ms too little, waited for when it is felt: a few units are late, then all are in time.
    let heard = world.heard(slow);
    assert!(heard.gaps.len() < 70 && heard.longest_gap() < 48 * 25, "{:?}", heard.gaps);
    assert!(heard.delay(0.0) > 8.0 && heard.delay(1.0) < 29.0, "{} ms", heard.delay(1.0));
    assert_eq!(heard.repeated_frames, 0);
}

#[test]
fn crumbs_from_both_cards_are_no_matter() {
    for (capture, playback) in [(24, 512), (480, 341), (24, 341)] {
        let mut world = World::new(Server::new().card(Card::new(2).period(512).crumbs(playback)).latency(30));
        let client = world.add(Client::l24().card(Card::new(2).period(480).crumbs(capture)), paths::wired_lan());
        world.run(seconds(10.0));
        let heard = world.heard(client);
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0), "{capture}, {playback}");
        assert!(heard.delay(1.0) < 70.0, "{capture}, {playback}: {} ms", heard.delay(1.0));
    }
}

#[test]
fn late_callbacks_are_no_matter() {
    let late = Card::new(2).period(256).late(millis(5.0));
    let mut world = World::new(Server::new().card(late).latency(30));
    let client = world.add(Client::l24().card(late), paths::wired_lan());
    world.run(seconds(20.0));
    let heard = world.heard(client);
    assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0), "{:?}", heard.gaps);
}

#[test]
fn a_period_that_changes_under_way_loses_nothing() {
    let mut world = World::new(Server::new().latency(40));
    let client = world.add(Client::l24(), paths::wired_lan());
    for period in [64, 1024, 128, 441] {
        world.run(seconds(3.0));
        world.client(client).set_period(period);
        world.run(seconds(3.0));
        world.server().set_period(period);
    }
    world.run(seconds(3.0));
    let heard = world.heard(client);
    assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0), "{:?}", heard.gaps);
}

#[test]
fn cards_of_other_rates_are_converted_on_either_side() {
    for (capture, playback) in [(44_100, 48_000), (48_000, 44_100), (96_000, 44_100), (16_000, 48_000)] {
        let mut world = World::new(Server::new().card(Card::new(2).rate(playback)));
        let client = world.add(Client::l24().card(Card::new(2).rate(capture)), paths::wired_lan());
        world.run(seconds(10.0));
        let heard = world.heard(client);
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0), "{capture}, {playback}: {:?}", heard.gaps);
        assert!((27.0..32.0).contains(&heard.delay(0.5)), "{capture}, {playback}: {} ms", heard.delay(0.5));
        let moved = heard.delay_from(4.0, 1.0) - heard.delay_from(4.0, 0.0);
        assert!(moved < 0.1, "{capture}, {playback}: {moved} ms");
    }
}

#[test]
fn without_any_latency_a_shared_clock_is_heard_within_three_periods() {
    for seed in 0..10 {
        for packet in [64, 128] {
            let mut world = World::with_seed(seed, Server::new().latency(0));
            let client = world.add(Client::l24().frames(packet), Netem::ideal());
            world.run(seconds(5.0));
            let heard = world.heard(client);
            // How packets fall between the periods is known after half a second.
            assert_eq!(heard.gaps_from(1.0).count(), 0, "packets of {packet}, seed {seed}");
            assert!((5.3..9.6).contains(&heard.delay(0.5)), "packets of {packet}, seed {seed}: {}", heard.delay(0.5));
        }
    }
}
