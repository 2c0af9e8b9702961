//! What programs are told of a running server and client: JSON lines and Prometheus.

mod harness;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::program::{Program, ours};
use harness::server::Server;
use harness::stats::wait_for_object;
use harness::{port, wait};
use serde_json::Value;

/// Starts a client with a tone.
fn tone(address: &str, options: &[&str]) -> Program {
    ours(["client", address, "--input=tone:440"].iter().chain(options)).start()
}

#[test]
fn each_second_is_an_object_that_says_what_is_true() {
    let folder = tempfile::tempdir().unwrap();
    let [served, sent] = ["server.json", "client.json"].map(|name| folder.path().join(name));
    let server = Server::start(&[&format!("--stats=json:{}", served.display()), "--profile=live"]);
    let streams = |object: &Value| object["streams"].as_array().map_or(0, Vec::len);
    let first = wait_for_object(&served, "a second without anybody", |object| streams(object) == 0);
    assert_eq!((&first["schema"], &first["side"]), (&"audiostreamer-stats/2".into(), &"server".into()));
    assert_eq!((&first["profile"], &first["wantedDelay"]), (&"live".into(), &0.5.into()));

    let client = tone(&server.address(), &[&format!("--stats=json:{}", sent.display()), "--bitrate=200k"]);
    let settled = |object: &Value| {
        object["streams"][0]["roundTripTime"].is_f64() && object["streams"][0]["latency"]["capture"].is_f64()
    };
    let object = wait_for_object(&served, "a stream with all its figures", settled);
    let stream = &object["streams"][0];
    assert_eq!(
        (&stream["codec"], &stream["clockRate"], &stream["channels"]),
        (&"opus".into(), &48_000.into(), &2.into())
    );
    assert_eq!((&stream["transport"], &stream["encrypted"]), (&"udp".into(), &true.into()));
    assert!(stream["peak"].as_f64().unwrap() > 0.01, "a tone is heard: {stream}");
    assert!(stream["packetsReceived"].as_u64().unwrap() > 100, "{stream}");
    let stages = ["capture", "frame", "network", "jitterBuffer", "resampling", "playback"];
    let sum: f64 = stages.iter().map(|stage| stream["latency"][stage].as_f64().unwrap()).sum();
    assert!((sum - stream["latency"]["sum"].as_f64().unwrap()).abs() < 1e-9, "{stream}");
    // Beside the length of a packet.
    let target = stream["targetDelay"].as_f64().unwrap();
    assert!((0.5..0.51).contains(&target), "--latency 500ms is wanted: {stream}");

    let to = |object: &Value| object["destinations"][0].clone();
    let heard = wait_for_object(&sent, "an answer", |object| to(object)["roundTripTime"].is_f64());
    assert_eq!((&heard["side"], &to(&heard)["state"]), (&"client".into(), &"streaming".into()));
    assert_eq!(to(&heard)["peer"], server.address());
    // Of 200 kbit/s, 200 packets take 115 for their headers.
    let whole_second = |object: &Value| (70e3..90e3).contains(&to(object)["bitrate"].as_f64().unwrap_or_default());
    wait_for_object(&sent, "a second of sound that takes 200 kbit/s with all", whole_second);
    client.interrupt().assert_code(0);
    wait_for_object(&served, "nobody again", |object| {
        streams(object) == 0 && object["timestamp"] != first["timestamp"]
    });
    server.program.interrupt().assert_code(0);
}

#[test]
fn sound_and_statistics_do_not_share_stdout() {
    let server = ours(["server", "--output=-", "--stats=json"]).start().wait();
    server.assert_code(2);
    server.assert_says("json:FILE");
}

#[test]
fn whoever_stops_reading_statistics_stops_nothing_else() {
    let listen = format!("--listen=127.0.0.1:{}", port::free());
    let mut reader = std::process::Command::new("head");
    let mut reader =
        reader.arg("-n1").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let server =
        ours(["server", &listen, "--output=null", "--stats=json"]).stdout_to(reader.stdin.take().unwrap()).start();
    assert!(reader.wait().unwrap().success(), "it has read a line");
    let address = listen.trim_start_matches("--listen=");
    let client = tone(address, &["--stats=json"]);
    // Two more seconds of statistics fall on the closed pipe.
    server.wait_for_lines("status:", 4);
    client.interrupt().assert_code(0);
    server.interrupt().assert_code(0);
}

/// What is answered to `request`.
fn ask(port: u16, request: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all(format!("{request} HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn prometheus_is_answered_in_its_own_language() {
    let (metrics, other) = (port::free(), port::free());
    let server = Server::start(&[&format!("--metrics={metrics}")]);
    server.program.wait_for_line(&format!("metrics at http://127.0.0.1:{metrics}/metrics"));
    let client = tone(&server.address(), &[&format!("--metrics=127.0.0.1:{other}")]);
    let value = |text: &str, name: &str| -> Option<f64> {
        let line = text.lines().find(|line| line.starts_with(name) && !line.starts_with('#'))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let text = wait::until("a stream", || {
        let text = ask(metrics, "GET /metrics");
        (value(&text, "audiostreamer_stream_packets_received_total{")? > 0.0).then_some(text)
    });
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("openmetrics-text"), "{text}");
    assert_eq!(value(&text, "audiostreamer_streams"), Some(1.0), "{text}");
    assert!(text.contains("audiostreamer_stream_latency_seconds{stream=\"1\""), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let sent =
        wait::until("a client", || value(&ask(other, "GET /metrics"), "audiostreamer_client_packets_sent_total"));
    assert!(sent > 0.0);
    assert!(ask(metrics, "GET /").starts_with("HTTP/1.1 404"));
    assert!(ask(metrics, "POST /metrics").starts_with("HTTP/1.1 404"));
    client.interrupt().assert_code(0);
    server.program.interrupt().assert_code(0);
}

#[test]
fn two_can_not_answer_on_one_port() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let server = ours(["server", "--output=null", "--metrics", &address]).start().wait();
    server.assert_code(4);
    server.assert_says("--metrics");
}
