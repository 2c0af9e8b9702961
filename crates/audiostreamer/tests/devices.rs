//! Sound cards as PulseAudio, JACK and ALSA present them, with servers that come and go.

mod harness;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use audiostreamer::clock;
use audiostreamer::device::card_error::CardError;
use audiostreamer::device::host::{Direction, Host};
use audiostreamer::device::list::devices;
use audiostreamer::device::running::Running;
use audiostreamer::device::spec::DeviceSpec;
use audiostreamer::device::supervisor::{start_sink, start_source};
use audiostreamer::device::{Notice, Shape, Wanted, Xruns};
use harness::jack::{self, Jack};
use harness::private::{Sound, in_private_environment};
use harness::pulse::Pulse;
use harness::wait;

#[test]
fn pulse_moves_sound_at_its_pace_in_both_directions() {
    let name = "pulse_moves_sound_at_its_pace_in_both_directions";
    in_private_environment(name, Sound::Pulse, |home| {
        let _server = pulse(home);
        let speaker = Card::play("").unwrap();
        let microphone = Card::capture("monitor").unwrap();
        assert_eq!(speaker.opened().0, "Room");
        assert_eq!(microphone.opened().0, "Monitor of Room (what is played there, no microphone)");
        speaker.keeps_the_pace();
        microphone.keeps_the_pace();
        microphone.hears_what_is_played();
    });
}

#[test]
fn jack_moves_sound_at_its_pace_in_both_directions() {
    let name = "jack_moves_sound_at_its_pace_in_both_directions";
    in_private_environment(name, Sound::Jack, |_| {
        let _server = Jack::start();
        let speaker = Card::play("jack:").unwrap();
        let microphone = Card::capture("jack:audiostreamer-server").unwrap();
        let (name, shape) = speaker.opened();
        assert_eq!(name, "JACK as audiostreamer-server");
        assert_eq!((shape.rate, shape.period), (jack::RATE, jack::PERIOD));
        speaker.keeps_the_pace();
        microphone.keeps_the_pace();
        microphone.hears_what_is_played();
    });
}

#[test]
fn alsa_opens_a_name_that_no_list_has() {
    let name = "alsa_opens_a_name_that_no_list_has";
    in_private_environment(name, Sound::Pulse, |home| {
        let _server = pulse(home);
        let speaker = match Card::play("alsa:plug:pulse") {
            Err(CardError::NotFound { .. }) => {
                return eprintln!("skipped: no ALSA plugin for Pulse");
            }
            speaker => speaker.unwrap(),
        };
        let microphone = Card::capture("alsa:plug:pulse").unwrap();
        assert_eq!(speaker.opened().0, "alsa:plug:pulse");
        speaker.keeps_the_pace();
        microphone.keeps_the_pace();
        microphone.hears_what_is_played();
    });
}

#[test]
fn a_pulse_server_that_crashes_is_reported_and_found_again() {
    let name = "a_pulse_server_that_crashes_is_reported_and_found_again";
    in_private_environment(name, Sound::Pulse, |home| {
        survives_a_crash(Server::Pulse(pulse(home)), "pulse:room", "pulse:room.monitor");
    });
}

#[test]
fn a_jack_server_that_crashes_is_reported_and_found_again() {
    let name = "a_jack_server_that_crashes_is_reported_and_found_again";
    in_private_environment(name, Sound::Jack, |_| {
        survives_a_crash(Server::Jack(Jack::start()), "jack:", "jack:");
    });
}

#[test]
fn alsa_survives_the_crash_of_the_server_behind_it() {
    let name = "alsa_survives_the_crash_of_the_server_behind_it";
    in_private_environment(name, Sound::Pulse, |home| {
        let server = pulse(home);
        if let Err(CardError::NotFound { .. }) = Card::play("alsa:pulse") {
            return eprintln!("skipped: no ALSA plugin for Pulse");
        }
        survives_a_crash(Server::Pulse(server), "alsa:pulse", "alsa:pulse");
    });
}

fn survives_a_crash(mut server: Server, output: &str, input: &str) {
    let cards = [Card::play(output).unwrap(), Card::capture(input).unwrap()];
    cards.iter().for_each(|card| drop(card.opened()));

    server.crash();
    cards.iter().for_each(Card::is_lost);
    let before = cpu_time();
    thread::sleep(Duration::from_secs(1)); // there is nothing to wait for while nothing happens
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?} in a second without a server");

    server.revive();
    cards.iter().for_each(|card| drop(card.opened()));
    cards.iter().for_each(Card::keeps_the_pace);
    drop(cards); // JACK keeps a server on its list that ends while it has clients
}

#[test]
fn a_pulse_server_that_hangs_is_lost_until_it_goes_on() {
    let name = "a_pulse_server_that_hangs_is_lost_until_it_goes_on";
    in_private_environment(name, Sound::Pulse, |home| {
        let server = pulse(home);
        let speaker = Card::play("").unwrap();
        speaker.opened();
        server.freeze();
        speaker.is_lost();
        server.thaw();
        speaker.opened();
        speaker.keeps_the_pace();
    });
}

#[test]
fn a_stopped_card_holds_on_to_nothing() {
    let name = "a_stopped_card_holds_on_to_nothing";
    in_private_environment(name, Sound::Pulse, |home| {
        let _server = pulse(home);
        for card in [Card::play("").unwrap(), Card::capture("").unwrap()] {
            card.opened();
            let Card { running, heard, .. } = card;
            drop(running);
            assert_eq!(Arc::strong_count(&heard), 1);
        }
    });
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_names_those_that_are() {
    let name = "a_device_that_is_not_there_is_an_error_that_names_those_that_are";
    in_private_environment(name, Sound::Pulse, |home| {
        let _server = pulse(home);
        let error = Card::play("Kitchen").err().unwrap();
        let text = error.to_string();
        assert!(text.contains("no output device \"Kitchen\""), "{text}");
        assert!(text.contains("pulse:room (Room)"), "{text}");
        assert!(!text.contains("monitor"), "{text}");
    });
}

#[test]
fn a_server_that_does_not_run_is_an_error_at_once() {
    let name = "a_server_that_does_not_run_is_an_error_at_once";
    in_private_environment(name, Sound::None, |_| {
        let pulse = Card::capture("pulse:").err().unwrap();
        assert!(matches!(pulse, CardError::NoHost { host: Host::Pulse, .. }), "{pulse}");
        let jack = Card::capture("jack:").err().unwrap();
        assert!(matches!(jack, CardError::NoHost { host: Host::Jack, .. }), "{jack}");
    });
}

#[test]
fn a_device_faster_than_real_time_is_an_error_that_says_so() {
    let name = "a_device_faster_than_real_time_is_an_error_that_says_so";
    in_private_environment(name, Sound::None, |_| {
        for error in [Card::play("alsa:null"), Card::capture("alsa:null")] {
            let text = error.err().unwrap().to_string();
            assert!(text.contains("alsa:null runs much faster than real time"), "{text}");
        }
    });
}

#[test]
fn the_list_has_the_servers_devices_and_marks_the_defaults() {
    let name = "the_list_has_the_servers_devices_and_marks_the_defaults";
    in_private_environment(name, Sound::Pulse, |home| {
        let _server = pulse(home);
        let all = devices();
        let room = all.iter().find(|device| device.id == "pulse:room").unwrap();
        assert_eq!(room.name, "Room");
        assert_eq!(room.directions, [Direction::Output]);
        assert!(room.is_default_for(Direction::Output));
        let monitor = all.iter().find(|device| device.id == "pulse:room.monitor");
        assert!(monitor.unwrap().is_default_for(Direction::Input));
        let indices = all.iter().map(|device| device.index);
        assert!(indices.eq(0..all.len()));
    });
}

/// A sound server that comes and goes.
enum Server {
    Pulse(Pulse),
    Jack(Jack),
}

impl Server {
    fn crash(&mut self) {
        match self {
            Self::Pulse(pulse) => pulse.crash(),
            Self::Jack(jack) => jack.crash(),
        }
    }

    fn revive(&mut self) {
        match self {
            Self::Pulse(pulse) => pulse.revive(),
            Self::Jack(jack) => jack.revive(),
        }
    }
}

/// PulseAudio with one sink, that swallows what it plays.
fn pulse(home: &Path) -> Pulse {
    Pulse::start_in(home, &["room"])
}

/// A device that plays a constant or listens, and what has become of it.
struct Card {
    running: Running,
    heard: Arc<Heard>,
    notices: Mutex<Receiver<Notice>>,
}

#[derive(Default)]
struct Heard {
    frames: AtomicU64,
    /// The last sample, as bits.
    level: AtomicU64,
}

impl Card {
    fn play(spec: &str) -> Result<Self, CardError> {
        let heard = Arc::new(Heard::default());
        let (notify, notices) = mpsc::channel();
        let played = heard.clone();
        let make = move |shape: &Shape| {
            let (channels, played) = (u64::from(shape.channels), played.clone());
            Box::new(move |block: &mut [f32], _| {
                block.fill(LEVEL);
                played.frames.fetch_add(block.len() as u64 / channels, Ordering::Relaxed);
            }) as _
        };
        let notify = move |notice| drop(notify.send(notice));
        let running = start_sink(&meant(spec), Wanted::default(), Xruns::default(), make, notify)?;
        Ok(Self { running, heard, notices: Mutex::new(notices) })
    }

    fn capture(spec: &str) -> Result<Self, CardError> {
        let heard = Arc::new(Heard::default());
        let (notify, notices) = mpsc::channel();
        let captured = heard.clone();
        let make = move |shape: &Shape| {
            let (channels, captured) = (u64::from(shape.channels), captured.clone());
            Box::new(move |block: &[f32], _| {
                let last = block.last().map_or(0, |sample| sample.to_bits());
                captured.level.store(last.into(), Ordering::Relaxed);
                captured.frames.fetch_add(block.len() as u64 / channels, Ordering::Relaxed);
            }) as _
        };
        let notify = move |notice| drop(notify.send(notice));
        let running = start_source(&meant(spec), Wanted::default(), Xruns::default(), make, notify)?;
        Ok(Self { running, heard, notices: Mutex::new(notices) })
    }

    /// Waits until it is open, and returns its name and shape.
    fn opened(&self) -> (String, Shape) {
        match self.next_notice() {
            Notice::Opened { name, shape } => (name, shape),
            other => panic!("{other:?} where it should open"),
        }
    }

    /// Waits until it is lost.
    fn is_lost(&self) {
        let notice = self.next_notice();
        assert!(matches!(notice, Notice::Lost { .. }), "{notice:?}");
    }

    fn next_notice(&self) -> Notice {
        let notices = self.notices.lock().unwrap();
        notices.recv_timeout(Duration::from_secs(60)).expect("a notice")
    }

    /// Half a second of sound takes about that: clearly more than no time. How much longer it
    /// takes is up to the machine.
    fn keeps_the_pace(&self) {
        let frames = || self.heard.frames.load(Ordering::Relaxed);
        let first = frames();
        wait::until("sound that moves", || (frames() > first).then_some(()));
        let (begin, before) = (clock::now(), frames());
        wait::until("half a second of sound", || (frames() >= before + 24_000).then_some(()));
        let took = clock::now() - begin;
        assert!(took > Duration::from_millis(300), "half a second took {took:?}");
    }

    fn hears_what_is_played(&self) {
        wait::until("the constant", || {
            let bits = self.heard.level.load(Ordering::Relaxed) as u32;
            ((f32::from_bits(bits) - LEVEL).abs() < 0.001).then_some(())
        });
    }
}

fn meant(spec: &str) -> DeviceSpec {
    spec.into()
}

/// What this process has used so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// What is played: half as loud as can be, and not what silence or noise looks like.
const LEVEL: f32 = 0.5;
