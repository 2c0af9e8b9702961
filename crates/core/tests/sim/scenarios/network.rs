//! What links do to one stream.

use super::*;

#[test]
fn a_clean_link_plays_every_sample_once_at_one_delay() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24(), paths::wired_lan());
    world.run(seconds(10.0));
    let heard = world.heard(client);
    assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0));
    assert!(heard.faded_frames < 200, "the first 2.5 ms rise: {}", heard.faded_frames);
    // A packet is 5 ms, a capture period at most 2.7, the latency 20, a playback period 2.7.
    assert!((27.0..31.0).contains(&heard.delay(0.5)), "{} ms", heard.delay(0.5));
    let moved = heard.delay_from(4.0, 1.0) - heard.delay_from(4.0, 0.0);
    assert!(moved < 0.02, "{moved} ms");
    assert_eq!((world.played(client).concealment_events, world.played(client).moves), (0, 0));
}

#[test]
fn a_loss_leaves_a_hole_of_its_own_length_and_the_timeline_stands() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24().fragile(), Netem::ideal().delay(10.0).loss(0.05));
    world.run(seconds(20.0));
    world.reroute(client, Netem::ideal().delay(10.0));
    world.run(seconds(1.0));
    let (heard, played) = (world.heard(client), world.played(client));
    assert!(heard.gaps.len() > 100, "{}", heard.gaps.len());
    let moved = heard.delay_from(4.0, 1.0) - heard.delay_from(4.0, 0.0);
    assert!(moved < 0.1, "{moved} ms");
    let moved = heard.gaps_from(4.0).map(|gap| (gap.frames as f64 - gap.passed).abs()).fold(0.0, f64::max);
    assert!(moved < 1.0, "{moved} frames");
    assert_eq!(played.concealed_samples, 240 * world.received(client).packets_lost);
    assert!(played.concealment_events.abs_diff(heard.gaps.len() as u64) < 10, "{}", heard.gaps.len());
}

#[test]
fn reports_tell_the_sender_what_was_lost_and_how_long_the_way_is() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24().fragile(), Netem::ideal().delay(30.0).loss(0.1));
    world.run(seconds(30.0));
    world.reroute(client, Netem::ideal().delay(30.0));
    world.run(seconds(2.0));
    let sent = world.sent(client);
    assert_eq!(u64::from(sent.packets_lost), world.received(client).packets_lost);
    assert_eq!(sent.fraction_lost, 0.0);
    let trip = sent.round_trip_time.expect("a report").as_secs_f64() * 1000.0;
    assert!((trip - 60.0).abs() < 0.1, "{trip} ms");
}

#[test]
fn packets_that_are_overtaken_within_the_latency_are_not_missed() {
    let mut world = World::new(Server::new().latency(30));
    let client = world.add(Client::l24().fragile(), Netem::ideal().delay(5.0).reorder(0.2));
    world.run(seconds(10.0));
    let heard = world.heard(client);
    assert!(world.carried(client).reordered > 100);
    // A stream is believed when two packets follow each other; what came before them may be lost.
    assert_eq!((heard.gaps_from(0.3).count(), heard.repeated_frames), (0, 0), "{:?}", heard.gaps);
    assert_eq!(world.played(client).units_late, 0);
}

#[test]
fn packets_that_come_twice_are_played_once() {
    for after in [0.0, 8.0, 60.0] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::l24(), Netem::ideal().delay(5.0).duplicate(0.5, after));
        world.run(seconds(10.0));
        world.reroute(client, Netem::ideal().delay(5.0));
        world.run(seconds(0.2));
        let (heard, played) = (world.heard(client), world.played(client));
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0), "{after} ms later");
        assert!(played.units_duplicate + played.units_late > 800, "{after} ms later: {played:?}");
    }
}

#[test]
fn late_copies_of_what_was_played_are_not_played_again() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24(), Netem::ideal().duplicate(1.0, 150.0));
    world.run(seconds(5.0));
    world.kill(client);
    world.run(seconds(2.0));
    assert_eq!(world.heard(client).repeated_frames, 0);
    assert_eq!(world.played(client).moves, 0);
}

#[test]
fn a_stall_is_silence_and_the_delay_is_the_same_after_it() {
    for stall in [0.1, 0.5, 0.9, 2.0, 4.0] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::l24(), paths::wired_lan());
        world.run(seconds(5.0));
        world.stall(client, seconds(stall));
        world.run(seconds(stall + 5.0));
        let heard = world.heard(client);
        assert_eq!(heard.repeated_frames, 0, "stalled for {stall} s");
        assert_eq!(world.counts().units_refused, 0, "stalled for {stall} s");
        let (before, after) = (heard.delay(0.0), heard.delay_from(5.0 + stall + 0.3, 1.0));
        assert!((after - before).abs() < 6.0, "stalled for {stall} s: {before} ms, then {after} ms");
        let gaps: Vec<_> = heard.gaps_from(4.9).collect();
        assert!(gaps.iter().map(|gap| gap.frames).sum::<u64>() < (48_000.0 * (stall + 0.05)) as u64, "{gaps:?}");
    }
}

#[test]
fn an_outage_is_silence_and_the_delay_is_the_same_after_it() {
    for outage in [0.05, 0.5, 2.0, 10.0] {
        let mut world = World::new(Server::new());
        let client = world.add(Client::l24(), paths::wired_lan());
        world.run(seconds(5.0));
        world.reroute(client, Netem::outage());
        world.run(seconds(outage));
        world.reroute(client, paths::wired_lan());
        world.run(seconds(5.0));
        let heard = world.heard(client);
        assert_eq!((heard.gaps.len(), heard.repeated_frames), (1, 0), "out for {outage} s: {:?}", heard.gaps);
        let (before, after) = (heard.delay(0.0), heard.delay_from(5.0 + outage + 0.1, 1.0));
        assert!((after - before).abs() < 6.0, "out for {outage} s: {before} ms, then {after} ms");
        assert!(heard.gaps[0].frames < (48_000.0 * (outage + 0.05)) as u64, "{:?}", heard.gaps);
    }
}

#[test]
fn a_path_that_becomes_longer_or_shorter_moves_the_delay_with_it() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24(), Netem::ideal().delay(20.0));
    world.run(seconds(5.0));
    world.reroute(client, Netem::ideal().delay(80.0));
    world.run(seconds(5.0));
    let far = world.heard(client).delay_from(9.0, 0.5);
    world.reroute(client, Netem::ideal().delay(20.0));
    world.run(seconds(5.0));
    let heard = world.heard(client);
    let near = heard.delay_between(4.0, 5.0, 0.5);
    // As much later as keeps it from being late; the rest of the 60 ms comes at leisure.
    assert!((45.0..63.0).contains(&(far - near)), "{near} ms, then {far} ms");
    // Less than what calls for a splice is left to the speed.
    assert!((heard.delay_from(13.0, 1.0) - near).abs() < 5.5, "{near} ms, then {} ms", heard.delay_from(13.0, 1.0));
    assert_eq!(heard.repeated_frames, 0);
}

#[test]
fn every_known_path_keeps_the_invariants() {
    for (name, netem) in paths::all() {
        for client in [Client::l24(), Client::l24().frames(64), Client::opus()] {
            let mut world = World::new(Server::new());
            let chirp = client.signal == Signal::Chirp;
            let client = world.add(client, netem.clone());
            world.run(seconds(15.0));
            if !chirp && world.heard(client).sound_frames > 48_000 {
                let heard = world.heard(client);
                assert_eq!(heard.repeated_frames, 0, "{name}");
                assert!(heard.delay(1.0) < 1_000.0, "{name}");
            }
        }
    }
}

#[test]
fn a_path_that_becomes_longer_where_much_was_lost_is_heard_again() {
    // After such a loss what is overdue is asked for at once, so that all that comes had been asked for.
    for (outage, pause, longer) in [(0.56, 2.3, 149.0), (0.56, 1.0, 149.0), (0.56, 2.3, 110.0), (0.5, 2.0, 160.0)] {
        let path = |delay: f64| Netem::ideal().delay(delay);
        let mut world = World::new(Server::new().latency(100));
        let client = world.add(Client::l16(), path(1.0));
        world.run(seconds(2.5));
        world.reroute(client, Netem::outage());
        world.run(seconds(outage));
        world.reroute(client, path(1.0));
        world.run(seconds(pause));
        world.reroute(client, path(1.0 + longer));
        let changed = 2.5 + outage + pause;
        world.run(seconds(20.0));
        let heard = world.heard(client);
        println!("{:?}, then {:.1} ms", heard.gaps, heard.delay_from(changed + 15.0, 0.5));
        assert_eq!(heard.gaps_from(changed + 1.5).count(), 0, "{:?}", heard.gaps);
        assert!(heard.last > changed + 19.0, "heard until {} s", heard.last);
    }
}
