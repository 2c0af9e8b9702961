//! The wire is plain RTP: ffmpeg and GStreamer are heard by our server and hear our client.

mod harness;

use std::path::Path;

use harness::audio::Audio;
use harness::compare::compare;
use harness::every;
use harness::program::{Program, installed, other};
use harness::server::{Input, Server};
use harness::{port, signal, wait};

const RATE: u32 = 48_000;

/// What either program needs to get going is not heard.
const START: f64 = 1.0;

fn melody() -> Audio {
    signal::melody(100, 3.8, RATE, 2).in_silence(0.1)
}

fn noise() -> Audio {
    signal::noise(101, 2.5, 44_100, 2, 16).in_silence(0.05)
}

/// Runs a sender to its end; what our server has played of it.
fn played(options: &[&str], sender: impl FnOnce(u16) -> Program) -> Audio {
    let server = Server::start(&[&["--plain"], options].concat());
    let ended = sender(server.port).wait();
    ended.assert_code(0);
    server.play_out();
    server.stop()
}

/// Panics unless our server plays the melody from a sender whole.
fn assert_melody_is_played(options: &[&str], sender: impl FnOnce(u16, &str) -> Program) {
    let melody = melody();
    let input = Input::wav(&melody, 16);
    let recording = played(options, |port| sender(port, input.path.to_str().expect("it is plain")));
    compare(&melody, &recording).assert_whole(0.95);
}

/// Panics unless our server plays every sample of a 44.1 kHz noise from a sender.
fn assert_noise_is_played(sender: impl FnOnce(u16, &str) -> Program) {
    let noise = noise();
    let input = Input::wav(&noise, 16);
    let options = ["--output-format=wav:s16le,44100,2"];
    let recording = played(&options, |port| sender(port, input.path.to_str().expect("it is plain")));
    every::find(&noise, &recording).assert_whole();
}

/// Panics unless a receiver hears the melody to its end, in one piece, from `START` on at the latest.
#[track_caller]
fn assert_hears_melody(receiver: &Program) {
    let melody = melody();
    // Programs hold back what they have received for a while, so the end tells that it is all.
    let heard = wait::until("the end of the melody at the receiver", || {
        let recording = Audio::from_f32le(&receiver.stdout_so_far(), RATE, 2);
        Some(compare(&melody, &recording)).filter(|heard| heard.part.end > heard.sound.end - 0.05)
    });
    heard.assert_unbroken(0.95);
    assert!(heard.part.start < START, "{heard:?}");
}

// ffmpeg

fn ffmpeg_to_rtp(port: u16, path: &str, codec: &[&str]) -> Program {
    let target = format!("rtp://127.0.0.1:{port}");
    let input = ["-v", "error", "-re", "-i", path];
    other("ffmpeg", input.iter().chain(codec)).args(["-f", "rtp", &target]).start()
}

#[test]
fn opus_from_ffmpeg_is_played() {
    if !installed(&["ffmpeg"]) {
        return;
    }
    let codec = ["-c:a", "libopus", "-b:a", "96k", "-payload_type", "96"];
    assert_melody_is_played(&[], |port, path| ffmpeg_to_rtp(port, path, &codec));
}

#[test]
fn opus_from_ffmpeg_is_played_by_the_sdp_that_it_writes() {
    if !installed(&["ffmpeg"]) {
        return;
    }
    // As ffmpeg does without being told: payload type 97, which means L16 to us otherwise.
    let sdp = Input::new("ffmpeg.sdp", |path| {
        let text = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=No Name\nc=IN IP4 127.0.0.1\nt=0 0\na=tool:libavformat\n\
                    m=audio 5004 RTP/AVP 97\nb=AS:96\na=rtpmap:97 opus/48000/2\na=fmtp:97 sprop-stereo=1\n";
        std::fs::write(path, text).expect("there is room");
    });
    let option = format!("--sdp={}", sdp.path.display());
    let codec = ["-c:a", "libopus", "-b:a", "96k"];
    assert_melody_is_played(&[&option], |port, path| ffmpeg_to_rtp(port, path, &codec));
}

#[test]
fn l16_from_ffmpeg_is_played_sample_by_sample() {
    if installed(&["ffmpeg"]) {
        assert_noise_is_played(|port, path| ffmpeg_to_rtp(port, path, &["-c:a", "pcm_s16be"]));
    }
}

/// Starts our client, and ffmpeg with the SDP that it writes.
fn assert_ffmpeg_receives(codec: &str) {
    if !installed(&["ffmpeg"]) {
        return;
    }
    let input = Input::wav(&melody(), 16);
    let sdp = input.path.with_extension("sdp");
    let address = format!("127.0.0.1:{}", port::free());
    let client = input.stream_to(&address, &["--codec", codec, "--sdp", sdp.to_str().expect("it is plain")]);
    let receiver = ffmpeg_from_sdp(&sdp);
    client.wait().assert_code(0);
    assert_hears_melody(&receiver);
}

fn ffmpeg_from_sdp(sdp: &Path) -> Program {
    wait::until("the SDP", || std::fs::read_to_string(sdp).ok().filter(|text| text.contains("rtpmap")));
    let options = ["-v", "error", "-protocol_whitelist", "file,udp,rtp", "-analyzeduration", "200000", "-i"];
    let output = ["-flush_packets", "1", "-f", "f32le", "-ac", "2", "-ar", "48000", "-"];
    other("ffmpeg", options).args([sdp]).args(output).keeping_stdout().start()
}

#[test]
fn ffmpeg_receives_opus_by_the_sdp_that_our_client_writes() {
    assert_ffmpeg_receives("opus");
}

#[test]
fn ffmpeg_receives_l16_by_the_sdp_that_our_client_writes() {
    assert_ffmpeg_receives("l16");
}

// GStreamer

/// A pipeline, one element after the other, as on the command line.
fn gst(pipeline: &str) -> Program {
    other("gst-launch-1.0", ["-q"]).args(pipeline.split_whitespace()).keeping_stdout().start()
}

#[test]
fn opus_from_gstreamer_is_played() {
    if !installed(&["gst-launch-1.0"]) {
        return;
    }
    assert_melody_is_played(&[], |port, path| {
        gst(&format!(
            "filesrc location={path} ! wavparse ! audioconvert ! audioresample ! opusenc bitrate=96000 \
             ! rtpopuspay pt=96 ! udpsink host=127.0.0.1 port={port}"
        ))
    });
}

#[test]
fn l16_from_gstreamer_is_played_sample_by_sample() {
    if !installed(&["gst-launch-1.0"]) {
        return;
    }
    assert_noise_is_played(|port, path| {
        gst(&format!(
            "filesrc location={path} ! wavparse ! audioconvert dithering=none ! rtpL16pay pt=10 \
             ! udpsink host=127.0.0.1 port={port}"
        ))
    });
}

#[test]
fn l16_from_gstreamer_is_played_sample_by_sample_over_tcp() {
    if !installed(&["gst-launch-1.0"]) {
        return;
    }
    assert_noise_is_played(|port, path| {
        gst(&format!(
            "filesrc location={path} ! wavparse ! audioconvert dithering=none ! rtpL16pay pt=10 ! rtpstreampay \
             ! tcpclientsink sync=true host=127.0.0.1 port={port}"
        ))
    });
}

const TO_STDOUT: &str =
    "audioconvert ! audioresample ! audio/x-raw,format=F32LE,rate=48000,channels=2 ! fdsink sync=false";

fn assert_gstreamer_receives(codec: &str, caps: &str, depay: &str) {
    if !installed(&["gst-launch-1.0"]) {
        return;
    }
    let port = port::free();
    let receiver = gst(&format!(
        "udpsrc address=127.0.0.1 port={port} caps=application/x-rtp,media=audio,{caps} \
         ! rtpjitterbuffer latency=200 ! {depay} ! {TO_STDOUT}"
    ));
    port::wait_for_udp(port);
    let input = Input::wav(&melody(), 16);
    input.stream_all_to(&format!("127.0.0.1:{port}"), &["--plain", "--codec", codec]);
    assert_hears_melody(&receiver);
}

#[test]
fn gstreamer_receives_opus() {
    let caps = "encoding-name=OPUS,clock-rate=48000,payload=96";
    assert_gstreamer_receives("opus", caps, "rtpopusdepay ! opusdec");
}

#[test]
fn gstreamer_receives_l16() {
    let caps = "encoding-name=L16,clock-rate=48000,channels=2,payload=97";
    assert_gstreamer_receives("l16", caps, "rtpL16depay");
}

#[test]
fn gstreamer_receives_l24() {
    let caps = "encoding-name=L24,clock-rate=48000,channels=2,payload=98";
    assert_gstreamer_receives("l24", caps, "rtpL24depay");
}

#[test]
fn gstreamer_receives_l16_over_tcp() {
    if !installed(&["gst-launch-1.0"]) {
        return;
    }
    let port = port::free();
    let receiver = gst(&format!(
        "tcpserversrc host=127.0.0.1 port={port} do-timestamp=true \
         ! application/x-rtp-stream,media=audio,encoding-name=L16,clock-rate=48000,channels=2,payload=97 \
         ! rtpstreamdepay ! rtpL16depay ! {TO_STDOUT}"
    ));
    port::wait_for_tcp(port);
    let input = Input::wav(&melody(), 16);
    input.stream_all_to(&format!("127.0.0.1:{port}"), &["--plain", "--codec=l16", "--protocol=tcp"]);
    assert_hears_melody(&receiver);
}
