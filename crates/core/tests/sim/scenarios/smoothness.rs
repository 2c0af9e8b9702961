//! No join clicks: a slow tone stays slow whatever happens to it.

use super::*;

/// How far a 100 Hz tone of half scale may move from one frame to the next: 0.0065 by itself, and
/// 0.0083 by a crossfade of 2.5 ms between two places of it.
const STEEPEST: f32 = 0.0148;

/// Opus conceals a loss that comes soon after another by noise, which has edges of its own.
const STEEPEST_OPUS: f32 = 0.04;

/// The largest step in 20 s; not counting the start, where the tone itself begins with one.
fn steepest(client: Client, netem: Netem) -> f32 {
    let mut world = World::new(Server::new());
    let client = world.add(client.signal(Signal::Tone), netem);
    world.run(seconds(20.0));
    let recording = world.recording(client);
    assert!(recording.loudest() > 0.4, "it is heard");
    recording.steepest_from(0.2)
}

#[test]
fn losses_do_not_click() {
    for (client, limit) in [(Client::l24(), STEEPEST), (Client::opus(), STEEPEST_OPUS)] {
        for frames in [120, 240, 480] {
            let steepest = steepest(client.frames(frames).fragile(), Netem::ideal().delay(5.0).loss(0.05));
            assert!(steepest < limit, "{}, {frames} frames: {steepest}", client.format);
        }
    }
}

#[test]
fn losses_shorter_than_a_fade_do_not_click() {
    for loss in [0.05, 0.3] {
        let steepest = steepest(Client::l24().frames(64).fragile(), Netem::ideal().delay(5.0).loss(loss));
        assert!(steepest < STEEPEST, "{loss}: {steepest}");
    }
}

#[test]
fn stalls_and_late_units_do_not_click() {
    let short = Client::l24().frames(64);
    for (client, limit) in [(Client::l24(), STEEPEST), (short, STEEPEST), (Client::opus(), STEEPEST_OPUS)] {
        let steepest = steepest(client, paths::bad_wifi());
        assert!(steepest < limit, "{}: {steepest}", client.format);
    }
}

#[test]
fn a_timeline_that_is_moved_does_not_click() {
    for (client, limit) in [(Client::l24(), STEEPEST), (Client::opus(), STEEPEST_OPUS)] {
        for ppm in [1_000.0, -1_000.0] {
            let card = client.card.ppm(ppm);
            let steepest = steepest(client.card(card), paths::wired_lan());
            assert!(steepest < limit, "{}, {ppm} ppm: {steepest}", client.format);
        }
    }
}

#[test]
fn starts_and_ends_do_not_click() {
    for client in [Client::l24(), Client::l24().frames(64), Client::l24().tcp()] {
        let mut world = World::new(Server::new());
        let id = world.add(client.signal(Signal::Tone), paths::wired_lan());
        for _ in 0..5 {
            world.run(seconds(0.511));
            world.kill(id);
            world.run(seconds(0.207));
            world.client(id).restart();
            world.run(seconds(0.313));
            world.finish(id);
            world.run(seconds(0.1));
            world.client(id).restart();
        }
        let steepest = world.recording(id).steepest_from(0.0);
        assert!(steepest < STEEPEST, "{steepest}");
    }
}

#[test]
fn the_end_of_opus_does_not_click() {
    for end in [0.5, 0.501, 0.502, 0.503, 0.504] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::opus().signal(Signal::Tone), paths::wired_lan());
        world.run(seconds(end));
        world.finish(client);
        world.run(seconds(0.5));
        let steepest = world.recording(client).steepest_from(0.2);
        assert!(steepest < STEEPEST, "after {end} s: {steepest}");
    }
}
