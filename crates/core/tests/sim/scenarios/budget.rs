//! What is told of the latency is what it is.

use super::*;

/// How much longer the stages are together than it took from the microphone to the ear, in
/// milliseconds: the worst of five seconds.
fn error(mut world: World, client: Id) -> f64 {
    world.run(seconds(15.0));
    let errors = (0..5).map(|_| {
        world.run(seconds(1.0));
        let told = world.budget(client).sum().as_secs_f64() * 1e3;
        told - world.heard(client).delay_from(world.seconds() - 0.2, 0.5)
    });
    errors.fold(0.0, |worst: f64, error| if error.abs() > worst.abs() { error } else { worst })
}

#[test]
fn the_stages_add_up_to_the_truth_whatever_the_cards() {
    let card = Card::new(2);
    for playback in [card, card.period(480), card.period(512).crumbs(342), card.ppm(100.0)] {
        for sender in [Client::l24(), Client::l16().frames(128), Client::l24().frames(960)] {
            for capture in [card, card.period(480), card.crumbs(24)] {
                let what = format!("{} frames from {capture:?} to {playback:?}", sender.frames);
                let mut world = World::new(Server::new().auto(Profile::Talk).card(playback));
                let client = world.add(sender.card(capture), paths::wired_lan());
                let error = error(world, client);
                assert!(error.abs() < 1.0, "{error:.2} ms too long with {what}");
            }
        }
    }
}

/// The way back has no jitter, and the shortest of eight round trips has some: hence the paths on
/// which most packets come at about the same time.
#[test]
fn the_stages_add_up_to_the_truth_whatever_the_path() {
    for (name, path) in paths::all().into_iter().take(6) {
        let mut world = World::new(Server::new().auto(Profile::Talk));
        let client = world.add(Client::l24(), path);
        let error = error(world, client);
        println!("{error:.2} ms too long on {name}");
        assert!(error.abs() < 1.0, "{error:.2} ms too long on {name}");
    }
}

#[test]
fn the_look_ahead_of_a_codec_is_a_stage() {
    let mut world = World::new(Server::new().auto(Profile::Talk));
    let client = world.add(Client::opus(), paths::wired_lan());
    world.run(seconds(20.0));
    let told = world.budget(client).sum().as_secs_f64() * 1e3;
    let heard = world.align(client, 19.5).delay_millis;
    assert!((told - heard).abs() < 1.0, "{told:.2} ms told, {heard:.2} heard");
}
