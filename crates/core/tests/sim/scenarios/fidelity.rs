//! What is heard is what was said: voices, strings and a pure tone.

use super::*;

/// Every 300 ms that are no pause.
fn loud(world: &World, client: Id, from: f64, to: f64) -> impl Iterator<Item = f64> {
    let all = (0..).map(move |n| from + 0.3 * f64::from(n)).take_while(move |second| second + 0.2 < to);
    all.filter(move |&second| world.recording(client).is_loud(second))
}

#[test]
fn voices_and_strings_come_through_a_clean_link_as_they_are() {
    for signal in [Signal::Speech, Signal::Music] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::l16().signal(signal), paths::wired_lan());
        world.run(seconds(6.0));
        for second in loud(&world, client, 1.0, 6.0) {
            let fit = world.fit(client, second);
            assert!(fit.residual < 0.05 && fit.step < 0.02, "{signal:?} at {second} s: {fit:?}");
            assert!(
                (fit.gain - 1.0).abs() < 0.01 && (fit.speed - 1.0).abs() < 1e-3,
                "{signal:?} at {second} s: {fit:?}"
            );
        }
    }
}

#[test]
fn voices_and_strings_are_still_themselves_after_opus() {
    for signal in [Signal::Speech, Signal::Music] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::opus().card(Card::new(2)).signal(signal), paths::wired_lan());
        world.run(seconds(6.0));
        for second in loud(&world, client, 1.0, 6.0) {
            let heard = world.align(client, second);
            assert!(heard.correlation > 0.9, "{signal:?} at {second} s: {heard:?}");
            assert!((27.0..36.0).contains(&heard.delay_millis), "{signal:?} at {second} s: {heard:?}");
        }
    }
}

/// The last of twelve seconds of a sine, in dB.
fn distortion(server: Server, ppm: f64) -> f64 {
    let mut world = World::new(server);
    // Without repairs, which a wired link never needs: one that is asked for changes all jitter after it.
    let client = Client::l24().fragile().signal(Signal::Sine).card(Card::new(2).ppm(ppm));
    let client = world.add(client, paths::wired_lan());
    world.run(seconds(22.0));
    world.recording(client).distortion(20.9)
}

#[test]
fn a_sine_is_a_sine_to_a_hundred_decibels() {
    let distortion = distortion(Server::new(), 0.0);
    assert!(distortion <= -100.0, "{distortion:.1} dB");
}

#[test]
fn a_sine_whose_clock_is_followed_is_one_to_a_hundred_decibels() {
    for ppm in [0.0, 100.0, -300.0] {
        let distortion = distortion(Server::new().auto(Profile::Hifi), ppm);
        assert!(distortion <= -100.0, "{ppm} ppm: {distortion:.1} dB");
    }
}

/// The largest step that the output of PCM makes besides those of the signal itself, where what
/// was heard is found again.
fn step(world: &World, client: Id, from: f64, to: f64) -> f64 {
    let fits = loud(world, client, from, to).map(|second| world.fit(client, second)).filter(|fit| fit.residual < 0.3);
    fits.map(|fit| fit.step).fold(0.0, f64::max)
}

#[test]
fn a_delay_that_comes_down_is_not_heard_as_clicks() {
    for signal in [Signal::Speech, Signal::Music] {
        for profile in Profile::ALL {
            let mut world = World::new(Server::new().auto(profile));
            let client = world.add(Client::l16().signal(signal), paths::bad_wifi().lossless());
            world.run(seconds(5.0));
            world.reroute(client, paths::wired_lan());
            world.run(seconds(31.0));
            let step = step(&world, client, 6.0, 36.0);
            assert!(step < 0.06, "{signal:?}, {profile:?}: {step}");
            if profile > Profile::Talk {
                continue; // they remember for minutes
            }
            world.run(seconds(90.0));
            let end =
                loud(&world, client, 120.0, 125.0).map(|second| world.align(client, second)).next().expect("it speaks");
            assert!(end.correlation > 0.99 && end.delay_millis < 20.0, "{signal:?}, {profile:?}: {end:?}");
        }
    }
}
