//! One client, several servers: what happens to one is nothing to the others.

mod harness;

use harness::every;
use harness::machine::Machine;
use harness::port;
use harness::program::ours;
use harness::relay::Relay;
use harness::server::{Input, Server};
use harness::signal;
use harness::stats::wait_for_object;
use serde_json::Value;

const RATE: u32 = 48_000;

#[test]
fn one_that_dies_and_comes_back_is_nothing_to_the_other() {
    let (good, bad) = (Server::start(&[]), Server::start(&[]));
    let client = ours(["client", &good.address(), &bad.address(), "--input=tone:440"]).start();
    bad.wait_for_client(1);
    good.wait_for_client(1);
    let port = bad.port;
    bad.kill();
    client.wait_for_line(&format!("waiting for 127.0.0.1:{port}"));
    let back = Server::start_at(port, &[]);
    back.wait_for_client(1);
    back.play_on(0.2);
    let ended = client.interrupt();
    ended.assert_code(0);
    ended.assert_says(&format!("; to {} in ", good.address()));
    good.finish_client(1);
    let heard = good.stop();
    let (sound, part) = (heard.sound(), RATE as usize / 50);
    // But for its first moment and its last.
    for start in (sound.start + 5 * part..sound.end - 5 * part).step_by(part) {
        assert!(heard.part(start..start + part).rms_dbfs() > -30.0, "a hole at {start} in {sound:?}");
    }
    back.finish_client(1);
    assert!(back.stop().rms_dbfs() > -60.0, "it is heard again");
}

#[test]
fn one_behind_a_narrow_path_takes_no_bit_from_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let stats = folder.path().join("client.json");
    let (near, far) = (Server::start(&[]), Server::start(&[]));
    let relay = Relay::start(far.port);
    let behind = format!("127.0.0.1:{}", relay.port);
    let stats_option = format!("--stats=json:{}", stats.display());
    let servers = ["client", &near.address(), &behind, "--protocol=udp"];
    let client = ours(servers.iter().chain(&["--input=tone:440", &stats_option])).start();
    let bitrate = |object: &Value, server: usize| object["destinations"][server]["targetBitrate"].as_f64();
    wait_for_object(&stats, "both", |object| object["destinations"][1]["roundTripTime"].is_f64());
    relay.narrow(90_000);
    // A second in which a busy machine takes something from both is none of these.
    wait_for_object(&stats, "less for one and all for the other", |object| {
        bitrate(object, 1).is_some_and(|bitrate| bitrate < 80e3) && bitrate(object, 0) == Some(96e3)
    });
    client.interrupt().assert_code(0);
    relay.stop();
}

#[test]
fn one_that_refuses_is_told_of_and_the_others_hear() {
    let (studio, stranger, guest) = (Machine::new(), Machine::new(), Machine::new());
    let [known, unknown] = [&studio, &stranger].map(|machine| machine.server(&[]));
    let invite = studio.invite(known.port, &[]);
    let noise = signal::noise(602, 2.0, RATE, 2, 16).in_silence(0.05);
    let input = Input::wav(&noise, 16);
    let path = format!("--input={}", input.path.display());
    let ended = guest.ours(&["client", &invite, &unknown.address(), &path, "--codec=l16"]).start().wait();
    ended.assert_no_panic();
    ended.assert_code(0);
    ended.assert_says(&format!("{} gets no sound: ", unknown.address()));
    ended.assert_says("key is not on the server's list");
    known.finish_client(1);
    every::find(&noise, &known.stop()).assert_whole();

    // Where nobody is left, the last reason is that of the whole.
    let ended = guest.ours(&["client", &unknown.address(), "nowhere.invalid", "--no-wait", &path]).start().wait();
    ended.assert_no_panic();
    assert!([4, 5].contains(&ended.status.code().unwrap_or_default()), "{ended:?}");
}

#[test]
fn what_can_not_be_meant_is_refused_at_once() {
    let address = format!("127.0.0.1:{}", port::free());
    let machine = Machine::new();
    for (arguments, says) in [
        (vec!["client", &address, &address], "is named twice"),
        (vec!["client", &address, "studio", "--code=123456"], "name one"),
        (vec!["client", &address, "studio", "--plain", "--sdp=out.sdp"], "name one"),
    ] {
        let ended = machine.run(&arguments);
        ended.assert_code(2);
        ended.assert_says(says);
    }
}
