//! Everything sent twice, over two paths.

use super::*;

/// Half a minute over two paths, of which either is out for a second.
fn outages(profile: Profile, one: Netem, other: Netem) -> (World, Id) {
    let mut world = World::new(Server::new().auto(profile));
    let client = world.add(Client::l24_mono().fragile(), one.clone());
    world.send_also(client, other.clone());
    world.run(seconds(15.0));
    world.reroute(client, Netem::outage());
    world.run(seconds(1.0));
    world.reroute(client, one);
    world.run(seconds(8.0));
    world.reroute_also(client, Netem::outage());
    world.run(seconds(1.0));
    world.reroute_also(client, other);
    world.run(seconds(5.0));
    (world, client)
}

#[test]
fn an_outage_of_one_of_two_paths_is_not_heard() {
    let path = |delay| paths::wired_lan().delay(delay);
    // Noise is never spliced, and so the delay follows by a thousandth of the time at the most.
    let cases =
        [(Profile::Live, 1.0, 1.0), (Profile::Live, 1.0, 9.0), (Profile::Live, 9.0, 1.0), (Profile::Talk, 1.0, 9.0)];
    for (profile, one, other) in cases {
        let (world, client) = outages(profile, path(one), path(other));
        let (heard, played) = (world.heard(client), world.played(client));
        let case = format!("{profile:?}, {one} and {other} ms");
        assert_eq!(heard.gaps_from(1.0).count(), 0, "{case}: {:?}", heard.gaps);
        assert_eq!((heard.repeated_frames, played.concealed_samples), (0, 0), "{case}");
        assert_eq!(world.received(client).packets_lost, 0, "{case}");
        let delay = heard.delay_from(14.0, 0.5);
        assert!(delay < f64::max(one, other) + 25.0, "no more than the slower path needs: {case}, {delay} ms");
        assert!(played.clock_offset_ppm.abs() < 20.0, "{case}: {} ppm", played.clock_offset_ppm);
    }
}

#[test]
fn what_one_path_loses_comes_the_other_way() {
    let mut world = World::new(Server::new().auto(Profile::Listen));
    let client = world.add(Client::l24_mono().fragile(), Netem::ideal().delay(5.0).loss(0.05));
    world.send_also(client, Netem::ideal().delay(12.0).loss(0.05));
    world.run(seconds(20.0));
    let lost = world.received(client).packets_lost as f64 / 4_000.0;
    assert!((0.0005..0.005).contains(&lost), "5 % of 5 %, not {lost}");
}
