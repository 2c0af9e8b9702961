//! Clients that come, go, change and speak together.

use super::*;

#[test]
fn a_restart_is_heard_again_at_the_same_delay_as_a_new_source_and_as_the_old_one() {
    for same_source in [false, true] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::l24(), paths::wired_lan());
        world.run(seconds(5.0));
        let ssrc = world.client(client).ssrc().expect("it runs");
        world.kill(client);
        world.run(seconds(0.5));
        match same_source {
            true => world.client(client).restart_as(ssrc),
            false => world.client(client).restart(),
        }
        world.run(seconds(5.0));
        let heard = world.heard(client);
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (1, 0), "{:?}", heard.gaps);
        assert!(heard.gaps[0].frames < 48 * 560, "{:?}", heard.gaps);
        assert!((heard.delay_from(5.6, 1.0) - heard.delay(0.0)).abs() < 6.0);
        assert_eq!(world.counts().voices_begun, 2);
    }
}

#[test]
fn who_joins_late_hears_the_present() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24(), Netem::outage());
    world.run(seconds(60.0));
    world.reroute(client, paths::wired_lan());
    world.run(seconds(2.0));
    let heard = world.heard(client);
    let first = heard.first.expect("it is heard") - 60.0;
    assert!(first < 0.035, "after {first} s");
    assert!(heard.delay(1.0) < 35.0);
    assert_eq!(heard.gaps.len(), 0);
}

#[test]
fn several_clients_are_mixed_and_each_keeps_every_sample() {
    let four = Format::l24(48_000, 4);
    let mut world = World::new(Server::new().card(Card::new(4)).payload_type(110, four));
    let clients: Vec<Id> = (0..4)
        .map(|channel| {
            let client = Client { payload_type: 110, format: four, ..Client::l24() };
            let id = world.add(client.card(Card::new(4)).channel(channel), paths::wired_lan());
            world.run(seconds(0.7));
            id
        })
        .collect();
    world.run(seconds(5.0));
    world.finish(clients[1]);
    world.kill(clients[2]);
    world.run(seconds(5.0));
    for &client in &clients {
        let heard = world.heard(client);
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0), "client {client}");
        let moved = heard.delay_from(5.0, 1.0) - heard.delay_from(5.0, 0.0);
        assert!(moved < 0.1, "client {client}: {moved} ms");
        let ends = [12.8, 7.8, 7.8, 12.8][client];
        assert!((heard.last - ends).abs() < 0.05, "client {client}: {}", heard.last);
    }
    assert_eq!(world.counts().voices_freed, 1, "the one that said so");
}

#[test]
fn one_too_many_is_refused_and_disturbs_nobody() {
    let server = Server { voices_max: 1, ..Server::new() };
    let mut world = World::new(server);
    let first = world.add(Client::l24(), paths::wired_lan());
    world.run(seconds(1.0));
    world.add(Client::l24().channel(1), paths::wired_lan());
    world.run(seconds(2.0));
    let heard = world.heard(first);
    assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0));
    assert_eq!((world.counts().voices_begun, world.counts().voices_refused), (1, 1));
}

#[test]
fn the_format_may_change_in_mid_stream() {
    let mut world = World::new(Server::new());
    // What 16 bits hold, 24 hold too.
    let client = world.add(Client::l24().signal(Signal::Code(TimeCode::L16)), paths::wired_lan());
    world.run(seconds(3.0));
    world.client(client).set_format(97, Format::l16(48_000, 2), 120);
    world.run(seconds(3.0));
    world.client(client).set_format(98, Format::l24(48_000, 2), 480);
    world.run(seconds(3.0));
    let heard = world.heard(client);
    assert_eq!(world.counts().voices_begun, 3);
    assert_eq!(heard.repeated_frames, 0);
    assert_eq!(heard.gaps.len(), 2, "{:?}", heard.gaps);
    assert!(heard.longest_gap() < 48 * 20, "{:?}", heard.gaps);
    assert!(heard.delay_from(6.1, 1.0) < 36.0, "{} ms", heard.delay_from(6.1, 1.0));
}

#[test]
fn opus_and_pcm_may_take_turns() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24().signal(Signal::Chirp), paths::wired_lan());
    world.run(seconds(4.0));
    world.client(client).set_format(96, Format::OPUS, 240);
    world.run(seconds(4.0));
    world.client(client).set_format(98, Format::l24(48_000, 2), 240);
    world.run(seconds(4.0));
    for (second, delay, correlation) in [(3.4, 29.0, 0.99), (7.4, 31.5, 0.93), (11.4, 29.0, 0.99)] {
        let heard = world.align(client, second);
        assert!((heard.delay_millis - delay).abs() < 3.0, "at {second} s: {heard:?}");
        assert!(heard.correlation > correlation, "at {second} s: {heard:?}");
    }
    assert_eq!(world.recording(client).silences(20.0), []);
}

#[test]
fn sequence_numbers_and_timestamps_wrap_unheard() {
    let mut world = World::new(Server::new().latency(30));
    let netem = Netem::ideal().delay(5.0).reorder(0.1);
    let client = world.add(Client::l24().first(65_000, u32::MAX - 48_000), netem);
    // The timestamp wraps after 1 s, the sequence after 2.7 s.
    world.run(seconds(5.0));
    world.reroute(client, Netem::ideal().delay(5.0));
    world.run(seconds(0.1));
    let heard = world.heard(client);
    assert_eq!((heard.gaps_from(0.3).count(), heard.repeated_frames), (0, 0));
    assert_eq!((world.received(client).packets_lost, world.counts().voices_begun), (0, 1));
}

#[test]
fn an_end_that_is_said_is_played_to_the_last_packet_and_freed() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24(), paths::wired_lan());
    world.run(seconds(3.0));
    world.finish(client);
    world.run(seconds(0.1));
    let (counts, heard) = (world.counts(), world.heard(client));
    assert_eq!((counts.ends, counts.voices_freed), (1, 1));
    assert_eq!(heard.gaps.len(), 0);
    // What a packet had not filled when the end came is not sent.
    let spoken = world.received(client).packets_received * 240;
    assert!(heard.sound_frames + heard.faded_frames >= spoken, "{} of {spoken}", heard.sound_frames);
    assert_eq!(world.played(client).concealment_events, 0);
}

#[test]
fn a_client_that_vanishes_leaves_silence_and_may_come_back() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::opus(), paths::wired_lan());
    world.run(seconds(2.0));
    world.kill(client);
    world.run(seconds(3.0));
    world.client(client).restart();
    world.run(seconds(2.0));
    let silences = world.recording(client).silences(20.0);
    assert_eq!(silences.len(), 1, "{silences:?}");
    assert!((2_900.0..3_050.0).contains(&silences[0].millis), "{silences:?}");
}
