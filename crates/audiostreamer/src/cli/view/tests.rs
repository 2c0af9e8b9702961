use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::{Format, mixer, playout, receiver, sender};
use crossterm::event::{KeyCode, KeyModifiers};
use ratatui::backend::TestBackend;

use super::*;
use crate::client::{self, FeedStatus, State};
use crate::device::Shape;
use crate::link::Transport;
use crate::server::{Command, Refusals, Remote, Status, StreamStatus};
use crate::volume::Volume;

const PLAIN: Theme = Theme { colour: false, unicode: false };

fn stream(id: u64) -> StreamStatus {
    StreamStatus {
        id: StreamId(id),
        peer: format!("192.168.1.{id}:5004").parse().unwrap(),
        transport: Transport::Udp,
        encrypted: true,
        format: Format::OPUS,
        volume: Volume::default(),
        peak: 0.5,
        received: receiver::Stats {
            packets_lost: 7,
            round_trip_time: Some(Duration::from_millis(4)),
            network_delay: Some(Duration::from_millis(4) / 2),
            capture_delay: Some(Duration::from_millis(3)),
            ..Default::default()
        },
        playout: playout::Stats {
            delay: Duration::from_millis(15),
            frame: Duration::from_millis(5),
            target_delay: Duration::from_millis(14),
            clock_offset_ppm: 23.4,
            playing: true,
            ..Default::default()
        },
        concealed: Duration::from_millis(20),
    }
}

fn status(streams: u64) -> Report {
    Report::Server(Status {
        levels: Some(mixer::Levels { peak: 1.2, clipped_samples: 3, limiter_gain: 0.5, ..Default::default() }),
        shape: Some(Shape { rate: 48_000, channels: 2, period: 128 }),
        latency: Latency::Auto,
        profile: Profile::Talk,
        xruns: 2,
        streams: (1..=streams).map(stream).collect(),
        refusals: Refusals::default(),
        talkback: None,
    })
}

/// A server's view after some seconds with so many clients.
fn picture(streams: u64) -> Picture {
    let mut picture = Picture::new(Instant::default());
    let address = "[::]:5004".parse().unwrap();
    let listening = crate::report::Event::Listening { address, transports: "udp, tcp" };
    picture.handle_report(Instant::default(), Report::Event(listening));
    for tenth in 1..50 {
        picture.handle_report(Instant::from_nanos(tenth * 100_000_000), status(streams));
    }
    picture
}

fn drawn(picture: &Picture, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, picture, PLAIN, None)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_server_with_two_clients_fits_eighty_by_twenty_four() {
    let screen = drawn(&picture(2), 80, 24);
    for wanted in [
        "audiostreamer server  [::]:5004 (udp, tcp)",
        "profile talk",
        "CLIP limited -6 dB",
        "2 xruns",
        "> 192.168.1.1:5004      opus  udp encrypted",
        "  192.168.1.2:5004      opus  udp encrypted #########.  +0 dB  20.0 ms     7",
        "20.0 ms   c capture 3.0 ms  f frame 5.0 ms  n network 2.0 ms",
        "j jitter buffer 10.0 ms  r resampling 0.0 ms  p playback 0.0 ms",
        "delay 15.0 ms  target 14.0 ms  clock +23.4 ppm",
        "opus, 48000 Hz, 2 channels  0 kbit/s  round trip 4.0 ms",
        "7 packets",
        "20 ms",
        "listening on [::]:5004",
        "k kick",
    ] {
        assert!(screen.contains(wanted), "{wanted:?} is missing in\n{screen}");
    }
    // The stages by their letters, in proportion.
    assert!(screen.contains("cccccccccc") && screen.contains("jjjjjjjjjjjjjjjjjjjjjjjjjjj"), "{screen}");
}

#[test]
fn a_long_event_is_read_to_its_end() {
    let mut picture = picture(1);
    let why = "nobody listens at the other end of the link, on this port or on any other".into();
    picture
        .handle_report(Instant::default(), Report::Event(crate::report::Event::Waiting { peer: "attic".into(), why }));
    let screen = drawn(&picture, 80, 24);
    let rows: Vec<&str> =
        screen.lines().filter(|row| row.contains("nobody listens") || row.contains("any other")).collect();
    let [begin, rest] = rows[..] else { panic!("{screen}") };
    assert!(begin.contains("  0:00 waiting for attic: nobody listens") && !rest.contains("0:00"), "{screen}");
}

#[test]
fn any_size_can_be_drawn_and_the_keys_are_always_there() {
    for picture in [0, 1, 20].into_iter().flat_map(|count| [picture(count), sending(count)]) {
        for width in [1, 2, 10, 40, 80, 300] {
            for height in [1, 2, 5, 10, 24, 100] {
                let screen = drawn(&picture, width, height);
                assert!(width < 80 || screen.contains("q quit"), "{width}x{height}\n{screen}");
            }
        }
    }
}

/// A client's view with so many destinations.
fn sending(destinations: u64) -> Picture {
    let mut picture = Picture::new(Instant::default());
    let feed = |number: u64| FeedStatus {
        state: if number == 1 { State::Heard } else { State::Waiting },
        peer: format!("room-{number}:5004"),
        transport: (number == 1).then_some(Transport::Udp),
        encrypted: number == 1,
        stats: sender::Stats {
            packets_sent: 9_000,
            packets_lost: 10 + number as u32,
            round_trip_time: Some(Duration::from_millis(4)),
            ..Default::default()
        },
        packets_dropped: number,
        target_bps: 96_000.0,
    };
    for tenth in 1..50 {
        let status = client::Status {
            format: Some(Format::OPUS),
            volume: Volume::default(),
            peak: 0.5,
            xruns: 0,
            send_delay: Duration::from_millis(6),
            destinations: (1..=destinations).map(feed).collect(),
            talkback: None,
        };
        picture.handle_report(Instant::from_nanos(tenth * 100_000_000), Report::Client(status));
    }
    picture
}

#[test]
fn a_client_has_a_row_for_each_destination() {
    let mut picture = sending(3);
    picture.select(1);
    let screen = drawn(&picture, 85, 24);
    for wanted in [
        "audiostreamer client  3 destinations",
        "6.0 ms from the card to the wire",
        "  room-1:5004           udp encrypted streaming               9000    11      4.0 ms",
        "> room-2:5004           no link       waiting                 9000    12      4.0 ms",
        "2 packets not sent",
        "12 packets",
    ] {
        assert!(screen.contains(wanted), "{wanted:?} is missing in\n{screen}");
    }
    picture.select(1);
    picture.select(1);
    assert_eq!(picture.chosen, 2, "the last");
}

#[test]
fn keys_change_the_chosen_stream() {
    let (remote, mut commands) = Remote::new();
    let (mut picture, controls) = (picture(3), Controls::Server(remote));
    let mut press = |code| keys::handle_key(&KeyEvent::new(code, KeyModifiers::NONE), &mut picture, &controls);
    press(KeyCode::Down);
    press(KeyCode::Char('m'));
    press(KeyCode::Char('+'));
    press(KeyCode::Char('+'));
    press(KeyCode::Char('p'));
    assert_eq!(press(KeyCode::Char('k')), Meaning::Ask(StreamId(2)));
    assert_eq!(press(KeyCode::Char('q')), Meaning::Quit);
    let volume = |gain, muted| Command::Volume { stream: StreamId(2), volume: Volume { gain, muted } };
    let said: Vec<_> = std::iter::from_fn(|| commands.try_next()).collect();
    assert_eq!(said[..3], [volume(0.0, true), volume(1.0, true), volume(2.0, true)]);
    assert_eq!(said[3], Command::Profile(Profile::Listen));
}

#[test]
fn a_client_turns_its_own_volume() {
    let (volume, heard) = tokio::sync::watch::channel(Volume::default());
    let mut picture = Picture::new(Instant::default());
    let controls = Controls::Client(volume);
    for code in [KeyCode::Char('-'), KeyCode::Char('m')] {
        keys::handle_key(&KeyEvent::new(code, KeyModifiers::NONE), &mut picture, &controls);
    }
    assert_eq!(*heard.borrow(), Volume { gain: -1.0, muted: true });
    let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(keys::handle_key(&key, &mut picture, &controls), Meaning::Quit, "there is no other Ctrl-C in raw mode");
}
