//! Streams that are not kept sample by sample.

use super::*;

#[test]
fn opus_is_heard_its_look_ahead_later_than_pcm() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::opus(), paths::wired_lan());
    world.run(seconds(10.0));
    for second in [4.4, 5.7, 6.3, 7.6, 8.5] {
        let heard = world.align(client, second);
        assert!(heard.correlation > 0.95, "at {second} s: {heard:?}");
        assert!((29.5..33.5).contains(&heard.delay_millis), "at {second} s: {heard:?}");
    }
    assert_eq!(world.recording(client).silences(2.0), []);
}

#[test]
fn every_packet_length_is_heard() {
    for frames in [120, 240, 480, 960] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::opus().frames(frames), paths::wired_lan());
        world.run(seconds(5.0));
        let heard = world.align(client, 3.4);
        let packet = frames as f64 / 48.0;
        assert!((heard.delay_millis - packet - 26.5).abs() < 2.5, "{frames} frames: {heard:?}");
        assert!(heard.correlation > 0.93, "{frames} frames: {heard:?}");
    }
}

#[test]
fn short_losses_are_no_silence() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::opus().fragile(), Netem::ideal().delay(5.0).loss(0.05));
    world.run(seconds(20.0));
    assert!(world.played(client).concealment_events > 100);
    assert_eq!(world.recording(client).silences(25.0), []);
}

#[test]
fn long_losses_are_silence_and_not_a_drone() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::opus(), paths::wired_lan());
    world.run(seconds(2.0));
    world.reroute(client, Netem::outage());
    world.run(seconds(0.5));
    world.reroute(client, paths::wired_lan());
    world.run(seconds(2.0));
    let silences = world.recording(client).silences(20.0);
    assert_eq!(silences.len(), 1, "{silences:?}");
    assert!((420.0..480.0).contains(&silences[0].millis), "{silences:?}");
    assert!(world.align(client, 3.5).correlation > 0.95);
}
