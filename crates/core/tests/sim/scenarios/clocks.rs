//! Following the senders' crystals: soon, exactly, for days, each its own.

use std::time::Duration;

use super::*;

/// The longest that the delay is from its median in a stretch, in milliseconds.
fn error(world: &World, client: Id, from: f64, to: f64) -> f64 {
    let heard = world.heard(client);
    let middle = heard.delay_between(from, to, 0.5);
    (heard.delay_between(from, to, 1.0) - middle).max(middle - heard.delay_between(from, to, 0.0))
}

#[test]
fn a_step_of_300_ppm_is_locked_within_five_seconds_to_ten_microseconds() {
    for (capture, from, to) in [(true, 0.0, 300.0), (true, -150.0, 150.0), (false, 0.0, 300.0), (false, 0.0, -300.0)] {
        let mut world = World::new(Server::new()); // a fixed delay: what moves is the clock
        let card = Card::new(2).ppm(if capture { from } else { 0.0 });
        let client = world.add(Client::l24().card(card), Netem::ideal());
        world.run(seconds(30.0));
        let now = world.now();
        match capture {
            true => world.client(client).set_ppm(now, to),
            false => world.server().set_ppm(now, to),
        }
        world.run(seconds(35.0));
        let error = error(&world, client, 35.0, 65.0);
        assert!(error < 0.010, "{from} to {to} ppm: {:.1} us", error * 1e3);
        // The observer itself adds up to 0.07 cents in one window.
        let (_, rms) = world.heard(client).pitch_from(40.0);
        assert!(rms < 0.1, "{from} to {to} ppm: {rms:.3} cents");
        assert_eq!(world.heard(client).gaps_from(1.0).count(), 0);
    }
}

#[test]
fn a_start_at_300_ppm_is_locked_within_five_seconds_to_ten_microseconds() {
    for ppm in [300.0, -300.0] {
        let mut world = World::new(Server::new()); // a fixed delay: what moves is the clock
        let client = world.add(Client::l24().card(Card::new(2).ppm(ppm)), Netem::ideal());
        world.run(seconds(35.0));
        let error = error(&world, client, 5.0, 35.0);
        assert!(error < 0.010, "{ppm} ppm: {:.1} us", error * 1e3);
    }
}

/// Hours at a skew, on a path: the delay at the end is one of the first settled minute's.
fn stays(hours: f64, ppm: f64, path: Netem) {
    let mut world = World::new(Server::new().auto(Profile::Talk).card(Card::new(2).ppm(-ppm / 2.0)));
    let client = world.add(Client::l24().card(Card::new(2).ppm(ppm / 2.0)), path);
    world.run(seconds(hours * 3_600.0));
    let (heard, end) = (world.heard(client), hours * 3_600.0);
    let [low, high] = [0.05, 0.95].map(|share| heard.delay_between(60.0, 120.0, share));
    let last = heard.delay_between(end - 60.0, end, 0.5);
    assert!((low - 1.0..high + 1.0).contains(&last), "from {low} to {high} ms at first, {last} ms at last");
    // A splice that falls into a gap, once a day, is read as part of it. A replay would go back farther.
    let back = heard.gaps.iter().map(|gap| -gap.passed).fold(0.0, f64::max);
    assert!(back < SPLICE_MAX, "{back:.0} frames are heard again");
    assert_eq!(world.counts().voices_begun, 1);
}

/// So many frames at the most does a splice repeat: 10 ms.
const SPLICE_MAX: f64 = 480.0;

#[test]
fn two_hours_of_a_fast_sender_over_wifi_add_nothing_to_the_delay() {
    stays(2.0, 200.0, paths::good_wifi());
}

#[test]
fn two_hours_of_a_slow_sender_over_lte_take_nothing_from_the_delay() {
    stays(2.0, -200.0, paths::lte());
}

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn a_day_of_a_fast_sender_over_wifi_adds_nothing_to_the_delay() {
    stays(24.0, 200.0, paths::good_wifi());
}

#[test]
#[ignore = "measures for minutes: `make measure`"]
fn a_day_of_a_slow_sender_over_lte_takes_nothing_from_the_delay() {
    stays(24.0, -200.0, paths::lte());
}

#[test]
fn three_senders_are_each_followed_for_themselves() {
    let four = Format::l24(48_000, 4);
    let server = Server::new().card(Card::new(4).ppm(20.0)).payload_type(110, four).auto(Profile::Live);
    let mut world = World::new(server);
    let clients = [(-250.0, 0), (0.0, 1), (250.0, 2)].map(|(ppm, channel)| {
        let client = Client { payload_type: 110, format: four, ..Client::l24() };
        world.add(client.card(Card::new(4).ppm(ppm)).channel(channel), paths::wired_lan())
    });
    world.run(seconds(120.0));
    for client in clients {
        let heard = world.heard(client);
        // A wired link has its spikes, and this profile spends no delay on what happens once.
        assert!(heard.gaps.len() <= 2 && heard.repeated_frames == 0, "client {client}: {:?}", heard.gaps);
        let spread = heard.delay_from(30.0, 1.0) - heard.delay_from(30.0, 0.0);
        assert!(spread < 2.0, "client {client}: {spread:.2} ms");
    }
}

#[test]
fn a_card_that_becomes_slower_than_any_crystal_is_followed() {
    // As the null sink of a sound server does on a machine that is ever busier.
    let mut world = World::new(Server::new().auto(Profile::Talk));
    let id = world.add(Client::l16(), Netem::ideal());
    world.run(seconds(10.0));
    for step in 1..=200 {
        let now = world.now();
        world.server().set_ppm(now, f64::from(step) * -40.0);
        world.run(seconds(2.0));
    }
    let before = world.played(id);
    world.run(seconds(60.0));
    let played = world.played(id);
    assert!(played.delay < Duration::from_millis(20), "{played:?}");
    assert_eq!(played.concealed_samples, before.concealed_samples, "{played:?}");
}

#[test]
fn what_no_clock_explains_is_heard_again_and_again() {
    // Three per cent too fast, for ever.
    let mut world = World::new(Server::new().auto(Profile::Talk).card(Card::new(2).ppm(30_000.0)));
    let id = world.add(Client::l16(), Netem::ideal());
    let mut silent = 0;
    for _ in 0..90 {
        world.run(seconds(10.0));
        silent = if world.played(id).playing { 0 } else { silent + 1 };
        assert!(silent < 2, "{:?}", world.played(id));
    }
}
