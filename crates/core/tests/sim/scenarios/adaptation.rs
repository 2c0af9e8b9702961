//! The delay that is found without being told: what the link allows, soon, and again after
//! whatever happened.

use audiostreamer_core::codec::opus;

use super::*;

/// What the device takes for itself, in milliseconds, besides path and packet: a period that the
/// capture fills, one that waits and one that is heard.
const DEVICE: f64 = 3.0 * 128.0 / 48.0;
const PACKET: f64 = 5.0;

fn auto() -> World {
    World::new(Server::new().auto(Profile::Live))
}

#[test]
fn a_wired_link_is_settled_within_two_seconds_at_three_milliseconds_and_nothing_is_missed_in_ten_minutes() {
    for ppm in [0.0, 100.0, -100.0, 300.0] {
        let mut world = World::new(Server::new().auto(Profile::Talk).card(Card::new(2).ppm(-ppm / 2.0)));
        let client = world.add(Client::l24().card(Card::new(2).ppm(ppm / 2.0)), paths::wired_lan());
        world.run(seconds(600.0));
        let (heard, played) = (world.heard(client), world.played(client));
        let beyond = heard.delay_from(2.0, 0.5) - 0.15 - PACKET - DEVICE;
        assert!(beyond <= 3.0, "{ppm} ppm: {beyond:.2} ms");
        let settled = heard.settled().expect("it settles");
        assert!(settled <= 2.0, "{ppm} ppm: after {settled:.2} s");
        assert_eq!(played.concealed_samples, 0, "{ppm} ppm");
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0), "{ppm} ppm: {:?}", heard.gaps);
    }
}

#[test]
fn a_longer_route_is_followed_at_once_and_a_shorter_one_soon() {
    let mut world = auto();
    // Without the spikes of a wired LAN, each of which may be an event of its own.
    let route = |millis: f64| Netem::ideal().exponential(0.05).delay(millis);
    let client = world.add(Client::l24(), route(20.0));
    world.run(seconds(20.0));
    let near = world.heard(client).delay_from(15.0, 0.5);
    world.reroute(client, route(60.0));
    world.run(seconds(20.0));
    world.reroute(client, route(20.0));
    world.run(seconds(30.0));
    let heard = world.heard(client);
    let up = heard.returns(20.0, 1.0, near + 40.0, 3.0);
    assert!(up.is_some_and(|after| after < 1.0), "longer after {up:?} s, at {near} ms before");
    let down = heard.returns(40.0, 1.0, near, 3.0);
    assert!(down.is_some_and(|after| after < 15.0), "shorter after {down:?} s, at {near} ms before");
    assert_eq!(heard.repeated_frames, 0);
    assert!(heard.events_from(19.0, 48_000) <= 1, "{:?}", heard.gaps);
}

#[test]
fn nothing_is_learnt_from_an_outage() {
    // Without the spikes of a LAN, which may come at any time.
    let calm = || Netem::ideal().delay(0.15).exponential(0.05);
    for stall in [false, true] {
        let mut world = auto();
        let client = world.add(Client::l24(), calm());
        world.run(seconds(10.0));
        let before = world.heard(client).delay_from(5.0, 0.5);
        if stall {
            world.stall(client, seconds(2.0));
            world.run(seconds(2.0));
        } else {
            world.reroute(client, Netem::outage());
            world.run(seconds(2.0));
            world.reroute(client, calm());
        }
        world.run(seconds(10.0));
        let heard = world.heard(client);
        let after = heard.returns(12.0, 1.0, before, 1.0);
        assert!(after.is_some_and(|after| after < 3.0), "after {after:?} s at {before} ms again; stalled: {stall}");
        assert_eq!(heard.repeated_frames, 0);
        assert!(heard.gaps_from(13.0).count() == 0, "{:?}", heard.gaps);
    }
}

#[test]
fn a_talker_who_pauses_is_heard_at_the_same_delay_from_the_first_word() {
    let mut world = auto();
    let client = world.add(Client::l24(), paths::wired_lan());
    world.run(seconds(10.0));
    let before = world.heard(client).delay_from(5.0, 0.5);
    let concealed_before = world.played(client).concealment_events;
    for pause in [0.1, 0.5, 3.0, 20.0] {
        world.client(client).mute(true);
        world.run(seconds(pause));
        let from = world.seconds();
        world.client(client).mute(false);
        world.run(seconds(5.0));
        let heard = world.heard(client);
        let worst = heard.delay_between(from, from + 5.0, 1.0) - before;
        assert!(worst < 4.0, "{worst:.1} ms more after {pause} s");
        let again =
            heard.gaps_from(from - pause - 0.1).map(|gap| gap.at + gap.frames as f64 / 48e3).fold(0.0, f64::max);
        assert!(again - from < 0.04, "heard {:.3} s after a pause of {pause} s", again - from);
        assert_eq!(heard.repeated_frames, 0);
    }
    let concealed = world.played(client).concealment_events;
    assert_eq!((world.received(client).packets_lost, concealed), (0, concealed_before), "a pause is no loss");
}

#[test]
fn a_voice_that_pauses_where_packets_are_lost_is_told_of_the_network_alone() {
    // The same losses with pauses and without: whoever speaks half of the time misses half as much.
    let missed = |pause: f64| {
        let mut world = World::new(Server::new().auto(Profile::Talk).card(Card::new(2).ppm(60.0)));
        let client = world
            .add(Client { application: opus::Application::Voice, frames: 960, ..Client::opus() }, paths::good_wifi());
        for _ in 0..30 {
            world.run(seconds(2.0));
            world.client(client).mute(pause > 0.0);
            world.run(seconds(pause));
            world.client(client).mute(false);
        }
        world.run(seconds(2.0));
        assert_eq!(world.counts().voices_begun, 1, "it stays the same stream");
        let budget = world.budget(client);
        (world.played(client), budget)
    };
    let (speaking, _) = missed(0.0);
    for pause in [0.3, 2.0, 12.0] {
        let (pausing, budget) = missed(pause);
        let (less, more) = (speaking.concealed_samples, pausing.concealed_samples);
        assert!(more < less + 30 * 960, "{more} frames concealed with pauses of {pause} s, {less} without");
        let [delay, before] = [&pausing, &speaking].map(|stats| stats.target_delay.as_secs_f64() * 1e3);
        assert!((delay - before).abs() < 15.0, "{delay:.1} ms with pauses of {pause} s, {before:.1} without");
        assert!(budget.capture.is_none_or(|capture| capture < millis(60.0)), "{budget:?}");
    }
}

#[test]
fn a_backlog_at_the_start_does_not_stay_as_delay() {
    for backlog in [0.05, 0.3, 1.0] {
        let mut world = auto();
        let client = world.add(Client::l24(), paths::wired_lan());
        world.stall(client, seconds(backlog));
        world.run(seconds(backlog + 5.0));
        let heard = world.heard(client);
        let delay = heard.delay_between(backlog + 2.0, backlog + 5.0, 1.0);
        assert!(delay < PACKET + DEVICE + 4.0, "{delay:.1} ms after a backlog of {backlog} s");
        let first = heard.first.expect("it is heard");
        assert!(first < backlog + 0.05, "first heard at {first:.3} s after a backlog of {backlog} s");
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0), "{:?}", heard.gaps);
    }
}

#[test]
fn cards_that_change_their_period_or_crumble_cost_what_they_must() {
    for (period, crumb) in [(64, 64), (256, 256), (512, 341), (480, 24)] {
        let mut world = World::new(Server::new().auto(Profile::Talk).card(Card::new(2).period(512).crumbs(crumb)));
        let client = world.add(Client::l24(), paths::wired_lan());
        world.run(seconds(5.0));
        world.server().set_period(period);
        world.run(seconds(10.0));
        let heard = world.heard(client);
        // A card of several periods' memory never forgets the longest.
        let most = PACKET + 2.67 + 10.67 + (period as f64 / 48.0) + 5.0;
        let delay = heard.delay_from(10.0, 0.5);
        assert!(delay < most, "{delay:.1} ms with {period}, crumbs of {crumb}");
        assert!(heard.events_from(1.0, 48_000) <= 1, "{period}, crumbs of {crumb}: {:?}", heard.gaps);
        assert_eq!(heard.gaps_from(7.0).count(), 0, "{period}, crumbs of {crumb}: {:?}", heard.gaps);
    }
}

#[test]
fn a_card_that_loses_time_is_one_event_and_the_delay_comes_back() {
    for (capture, told) in [(true, true), (true, false), (false, false)] {
        let mut world = auto();
        let client = world.add(Client::l24(), paths::wired_lan());
        world.run(seconds(10.0));
        let before = world.heard(client).delay_from(5.0, 0.5);
        let now = world.now();
        match capture {
            true => world.client(client).lose(now, 1_440, told),
            false => world.server().lose(now, 1_440),
        }
        world.run(seconds(20.0));
        let heard = world.heard(client);
        let what = format!("capture: {capture}, told: {told}");
        // How packets fall between the periods has changed with the loss.
        let after = heard.returns(10.0, 1.0, before, 3.0);
        assert!(after.is_some_and(|after| after < 10.0), "{what}: after {after:?} s at {before} ms again");
        assert!(heard.events_from(9.9, 48_000) <= 3, "{what}: {:?}", heard.gaps);
        assert!(heard.repeated_frames < 10, "{what}: {}", heard.repeated_frames); // a fifth of a millisecond
    }
}
