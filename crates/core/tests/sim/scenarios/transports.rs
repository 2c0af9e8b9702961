//! Streams over TCP, and bytes without a header.

use super::*;

#[test]
fn a_connection_carries_every_sample_however_it_is_cut() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24().tcp(), paths::wired_lan());
    world.run(seconds(10.0));
    let heard = world.heard(client);
    assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0));
    assert!(heard.delay(1.0) < 31.0, "{} ms", heard.delay(1.0));
    assert!(world.sent(client).round_trip_time.is_some());
}

#[test]
fn what_a_stalled_connection_holds_back_does_not_stay_as_delay() {
    for stall in [0.1, 0.5, 2.0, 4.0] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::l24().tcp(), paths::wired_lan());
        world.run(seconds(3.0));
        world.stall(client, seconds(stall));
        world.run(seconds(stall + 5.0));
        let heard = world.heard(client);
        assert_eq!((heard.repeated_frames, world.counts().units_refused), (0, 0), "stalled for {stall} s");
        let late = heard.delay_from(3.0 + stall + 0.3, 1.0) - heard.delay(0.0);
        assert!(late.abs() < 6.0, "stalled for {stall} s: {late} ms");
    }
}

#[test]
fn losses_on_a_connection_are_waits_that_do_not_add_up() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24().tcp(), Netem::ideal().delay(17.0).loss(0.003));
    world.run(seconds(60.0));
    let heard = world.heard(client);
    assert!((20..60).contains(&heard.gaps.len()), "{}", heard.gaps.len());
    assert!(heard.delay(0.5) - heard.delay(0.0) < 21.0, "{} ms", heard.delay(0.5));
    assert!(heard.delay(1.0) < heard.delay(0.0) + 200.0, "{} ms", heard.delay(1.0));
    assert_eq!(heard.repeated_frames, 0);
}

#[test]
fn a_connection_that_closes_in_mid_record_leaves_nothing_behind() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24().tcp(), paths::wired_lan());
    world.run(seconds(2.0));
    world.inject(client, &[0xff, 0xff, 1, 2, 3]);
    world.kill(client);
    world.run(seconds(0.2));
    assert_eq!(world.counts().voices_freed, 1);
    world.client(client).restart();
    world.run(seconds(2.0));
    let heard = world.heard(client);
    assert_eq!((heard.gaps.len(), world.counts().voices_begun), (1, 2));
}

#[test]
fn bytes_without_a_header_are_played_over_both() {
    for client in [Client::raw(), Client::raw().tcp()] {
        let format = client.format;
        let mut world = World::new(Server::new().card(Card::new(1).rate(44_100)).raw(format));
        let client = world.add(client, paths::wired_lan());
        world.run(seconds(10.0));
        let heard = world.heard(client);
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0));
        assert!(heard.delay(1.0) < 46.0, "{} ms", heard.delay(1.0));
    }
}

#[test]
fn bytes_without_a_header_keep_their_delay_after_a_pause() {
    let mut world = World::new(Server::new().card(Card::new(1).rate(44_100)).raw(Client::raw().format));
    let client = world.add(Client::raw(), paths::wired_lan());
    world.run(seconds(3.0));
    world.kill(client);
    world.run(seconds(2.0));
    world.client(client).restart();
    world.run(seconds(3.0));
    let heard = world.heard(client);
    assert_eq!((heard.gaps.len(), heard.repeated_frames), (1, 0));
    assert!((heard.delay_from(5.2, 1.0) - heard.delay(0.0)).abs() < 11.0);
}
