//! What nobody should send.

use super::*;
use crate::rng::Rng;

/// Runs a stream for `count` times 10 ms, each time with some bytes beside it; nothing of that may
/// be heard.
fn disturb(client: Client, count: usize, mut bytes: impl FnMut(&mut Rng, u32) -> Vec<u8>) -> World {
    let mut world = World::new(Server::new());
    let mut rng = Rng::new(world.seed());
    let client = world.add(client, paths::wired_lan());
    world.run(seconds(1.0));
    let ssrc = world.client(client).ssrc().expect("it runs");
    for _ in 0..count {
        let bytes = bytes(&mut rng, ssrc);
        world.inject(client, &bytes);
        world.run(millis(10.0));
    }
    let heard = world.heard(client);
    assert_eq!((heard.gaps.len(), heard.repeated_frames), (0, 0));
    world
}

#[test]
fn random_bytes_are_weather() {
    let mut world = disturb(Client::l24(), 1_000, |rng, _| {
        let length = rng.below(1_500);
        rng.bytes(length)
    });
    assert!(world.counts().unreadable > 500);
    assert!(world.server().sources() <= 32);
}

#[test]
fn random_packets_of_a_known_source_are_refused() {
    let world = disturb(Client::l24(), 1_000, |rng, ssrc| {
        let payload = rng.bytes(6 * 240);
        let rtp = Rtp {
            ssrc,
            payload_type: [96, 97, 98, 99][rng.below(4)],
            sequence: rng.number() as u16,
            timestamp: rng.number() as u32,
            marker: rng.below(2) == 0,
            payload: &payload,
        };
        let mut bytes = Vec::new();
        rtp.write(&mut bytes);
        bytes
    });
    assert!(world.received(0).packets_refused > 900);
}

#[test]
fn packets_of_countless_sources_take_no_room_from_the_one_that_plays() {
    let mut world = disturb(Client::l24(), 1_000, |rng, _| {
        let payload = rng.bytes(6 * 240);
        let mut bytes = Vec::new();
        let (ssrc, sequence) = (rng.number() as u32, rng.number() as u16);
        Rtp { ssrc, payload_type: 98, sequence, timestamp: 0, marker: false, payload: &payload }.write(&mut bytes);
        bytes
    });
    assert_eq!(world.counts().voices_begun, 1);
    assert!(world.server().sources() <= 32);
}

#[test]
fn reports_that_are_none_are_weather() {
    disturb(Client::l24(), 1_000, |rng, ssrc| {
        let mut bytes = vec![0x80 | rng.below(32) as u8, 200 + rng.below(8) as u8, 0, rng.below(8) as u8];
        bytes.extend((!ssrc).to_be_bytes());
        let length = rng.below(64);
        bytes.extend(rng.bytes(length));
        bytes
    });
}

#[test]
fn empty_records_in_a_connection_are_skipped() {
    let mut world = World::new(Server::new());
    let client = world.add(Client::l24().tcp(), Netem::ideal());
    for _ in 0..100 {
        world.run(millis(20.0));
        world.inject(client, &[0, 0]); // all records that have begun are whole at this moment
    }
    assert_eq!(world.heard(client).gaps.len(), 0);
}
