//! What the judges of the other tests are worth: they are shown known faults, and sound that went
//! through programs that are not ours.

mod harness;

use harness::audio::Audio;
use harness::compare::compare;
use harness::every;
use harness::exact::{self, Fault};
use harness::jack::{self, Jack};
use harness::program::{installed, other};
use harness::pulse::{self, Pulse};
use harness::server::Input;
use harness::{port, python, signal, wait};

const RATE: u32 = 48_000;

/// Some silence, the parts in their order, some silence.
fn recording(parts: &[Audio]) -> Audio {
    let silence = Audio::silence(0.2, parts[0].rate, parts[0].channels);
    parts.iter().fold(silence.clone(), Audio::then).then(&silence)
}

#[test]
fn a_perfect_recording_is_found_whole() {
    let noise = signal::noise(1, 1.0, RATE, 2, 24).in_silence(0.05);
    let found = exact::find(&noise, &recording(std::slice::from_ref(&noise)));
    found.assert_whole();
    assert_eq!((found.frames, found.start), (48_000, 9_600 + 2_400));
}

#[test]
fn a_missing_a_repeated_and_a_replaced_sample_are_told_apart() {
    let noise = signal::noise(2, 1.0, RATE, 2, 16);
    let missing = recording(&[noise.part(0..10_000), noise.part(10_001..48_000)]);
    assert_eq!(exact::find(&noise, &missing).faults, [Fault { at: 10_001, missing: 1, instead: 0 }]);

    let repeated = exact::find(&noise, &recording(&[noise.part(0..10_000), noise.part(9_760..48_000)]));
    assert_eq!(repeated.faults, [Fault { at: 10_000, missing: 0, instead: 240 }]);
    assert!(repeated.repeated >= 200, "{repeated:?}");

    let silence = Audio::silence(0.005, RATE, 2);
    let replaced = recording(&[noise.part(0..10_000), silence, noise.part(10_240..48_000)]);
    assert_eq!(exact::find(&noise, &replaced).faults, [Fault { at: 10_240, missing: 240, instead: 240 }]);

    let late = exact::find(&noise, &recording(&[noise.part(480..48_000)]));
    assert_eq!(late.faults, [Fault { at: 480, missing: 480, instead: 0 }]);
    late.assert_whole_from(480);
    exact::find(&noise, &recording(&[noise.part(0..47_000)])).assert_whole_until(47_000);
}

#[test]
fn a_sample_that_is_off_by_one_bit_is_not_a_match() {
    let noise = signal::noise(3, 0.5, RATE, 1, 24);
    let mut changed = recording(std::slice::from_ref(&noise));
    changed.samples[9_600 + 5_000] += 2f32.powi(-23);
    assert_eq!(exact::find(&noise, &changed).faults, [Fault { at: 5_001, missing: 1, instead: 1 }]);
}

#[test]
fn between_the_samples_every_part_is_found_and_none_too_many() {
    let noise = signal::noise(4, 1.0, RATE, 2, 24);
    // Half a frame beside its place, as after a resampler.
    let mut beside = recording(std::slice::from_ref(&noise));
    let samples = beside.samples.clone();
    beside.samples.iter_mut().zip(&samples[2..]).for_each(|(sample, next)| *sample = (*sample + next) / 2.0);
    every::find(&noise, &beside).assert_whole();

    let missing = every::find(&noise, &recording(&[noise.part(0..9_600), noise.part(9_840..48_000)]));
    assert_eq!(missing.faults, [every::Fault { at: 9_840, missing: 240, instead: 0 }]);
    let repeated = every::find(&noise, &recording(&[noise.part(0..9_600), noise.part(9_360..48_000)]));
    assert_eq!(repeated.faults, [every::Fault { at: 9_600, missing: 0, instead: 240 }]);
    let silence = Audio::silence(0.01, RATE, 2);
    let replaced = every::find(&noise, &recording(&[noise.part(0..9_600), silence, noise.part(10_080..48_000)]));
    assert_eq!(replaced.faults, [every::Fault { at: 10_080, missing: 480, instead: 480 }]);
    every::find(&noise, &recording(&[noise.part(0..47_040)])).assert_whole_until(47_000);

    let long = signal::noise(4, 4.0, RATE, 1, 24);
    let (begin, rest) = (long.part(0..120_000), long.part(120_000..192_000));
    let far = every::find(&long, &recording(&[begin, Audio::silence(0.5, RATE, 1), rest]));
    assert_eq!(far.faults, [every::Fault { at: 192_000, missing: 72_000, instead: 0 }], "what has moved too far");
}

#[test]
fn a_gap_and_a_jump_are_found_where_they_are() {
    let melody = signal::melody(4, 2.0, RATE, 2);
    let whole = compare(&melody, &recording(std::slice::from_ref(&melody)));
    whole.assert_whole(0.9999);
    assert_eq!(whole.delay, 9_600);
    assert!(whole.gain_db.abs() < 0.01);

    let silence = Audio::silence(0.02, RATE, 2);
    let holed = recording(&[melody.part(0..48_000), silence.clone(), melody.part(48_960..96_000)]);
    let holed = compare(&melody, &holed);
    assert!(holed.jumps.is_empty() && holed.gaps.len() == 1, "{holed:?}");
    assert!((holed.gaps[0].at - 1.0).abs() < 0.003 && (holed.gaps[0].millis - 20.0).abs() < 2.6, "{holed:?}");

    let held = compare(&melody, &recording(&[melody.part(0..48_000), silence, melody.part(48_000..96_000)]));
    assert!(held.jumps.len() == 1 && (held.jumps[0].millis - 20.0).abs() < 0.1, "{held:?}");

    let cut = compare(&melody, &recording(&[melody.part(24_000..90_000)]));
    assert!((cut.part.start - 0.5).abs() < 0.003 && (cut.part.end - 1.875).abs() < 0.003, "{cut:?}");
    assert!(cut.gaps.is_empty() && cut.jumps.is_empty(), "{cut:?}");
}

#[test]
fn swapped_channels_and_foreign_sound_are_not_taken_for_the_reference() {
    let melody = signal::melody(5, 2.0, RATE, 2);
    let mut swapped = recording(std::slice::from_ref(&melody));
    swapped.samples.as_chunks_mut::<2>().0.iter_mut().for_each(|frame| frame.swap(0, 1));
    assert!(compare(&melody, &swapped).correlation < 0.5);
    let foreign = signal::melody(6, 2.4, RATE, 2);
    assert!(compare(&melody, &foreign).seconds() < 1.0, "{:?}", compare(&melody, &foreign));
}

#[test]
fn opus_at_its_shortest_frames_counts_as_heard() {
    if !installed(&["ffmpeg"]) {
        return;
    }
    let sounds = [signal::melody(7, 3.0, RATE, 2), signal::speech(8, 3.0, RATE).on_channels(2)];
    for sound in sounds {
        let input = Input::wav(&sound, 24);
        for frame in ["2.5", "5", "10", "20"] {
            let heard = compare(&sound, &through_opus(&input, frame));
            println!("{frame} ms: {heard:?}");
            heard.assert_whole(0.95);
        }
    }
}

fn through_opus(input: &Input, frame: &str) -> Audio {
    let path = input.path.to_str().expect("it is plain");
    let codec = ["-c:a", "libopus", "-b:a", "96k", "-frame_duration", frame, "-application", "lowdelay"];
    let packed = input.path.with_extension("ogg");
    let encode = ["-v", "error", "-y", "-i", path].into_iter().chain(codec);
    other("ffmpeg", encode).args([&packed]).start().wait().assert_code(0);
    let decode = ["-v", "error", "-i", packed.to_str().expect("it is plain"), "-f", "f32le", "-ac", "2", "-"];
    let decoded = other("ffmpeg", decode).keeping_stdout().start().wait();
    Audio::from_f32le(&decoded.stdout, RATE, 2)
}

#[test]
fn a_private_pulseaudio_carries_sound() {
    if !installed(&pulse::PROGRAMS) {
        return;
    }
    let melody = signal::melody(9, 2.0, RATE, 2);
    let pulse = Pulse::start(&["left", "right"]);
    let recorder = pulse.record("right.monitor");
    pulse.play(&melody, "right").wait().assert_code(0);
    let heard = compare(&melody, &pulse::recorded(recorder, 0.5));
    assert!(heard.seconds() > 1.5 && heard.correlation > 0.8, "{heard:?}");
}

#[test]
fn a_private_jack_carries_sound() {
    if !installed(&jack::PROGRAMS) {
        return;
    }
    let melody = signal::melody(10, 2.0, RATE, 2);
    let jack = Jack::start();
    let recorder = jack.record("nobody");
    jack.play(&melody, "recorder").wait().assert_code(0);
    let heard = compare(&melody, &recorder.recorded(1.0));
    assert!(heard.seconds() > 1.9 && heard.correlation > 0.95, "{heard:?}");
}

#[test]
fn the_python_pair_speaks_to_itself() {
    if !python::installed() {
        return;
    }
    for protocol in ["udp", "tcp"] {
        let noise = signal::noise(11, 1.0, python::RATE, 1, 16);
        let input = Input::wav(&noise, 16);
        let port = port::free();
        let output = input.path.with_extension(protocol);
        let server = python::server(port, protocol, &["--wav", output.to_str().expect("it is plain")]).start();
        if protocol == "udp" {
            port::wait_for_udp(port)
        } else {
            port::wait_for_tcp(port)
        }
        python::client(port, protocol, &["--wav", input.path.to_str().expect("it is plain")])
            .start()
            .wait()
            .assert_code(0);
        let received = || std::fs::metadata(&output).map_or(0, |file| file.len());
        wait::until("all bytes", || (received() >= 88_200).then_some(()));
        // Over TCP it ends with the connection; interrupted on its way out it would say that it was killed.
        let ended = if protocol == "udp" { server.interrupt() } else { server.wait() };
        ended.assert_code(0);
        exact::find(&noise, &Audio::read_wav(&output)).assert_whole();
    }
}

#[test]
fn the_python_pair_plays_through_pyaudio() {
    if !python::has_pyaudio() || !installed(&pulse::PROGRAMS) {
        return;
    }
    let melody = signal::melody(12, 3.0, RATE, 1).on_channels(2);
    let pulse = Pulse::start(&["microphone", "speaker"]);
    let port = port::free();
    let server = python::server(port, "udp", &[]).environment(&pulse.environment()).start();
    port::wait_for_udp(port);
    let client = python::client(port, "udp", &[]).environment(&pulse.environment()).keeping_stdout().start();
    client.wait_for_stdout("Streaming...".len());
    let recorder = pulse.record("speaker.monitor");
    pulse.play(&melody, "microphone").wait().assert_code(0);
    let heard = compare(&melody, &pulse::recorded(recorder, 1.0));
    // It has neither a buffer nor a clock to hold on to, so pieces may be missing.
    assert!(heard.seconds() > 2.0 && heard.correlation > 0.7, "{heard:?}");
    client.interrupt().assert_code(0);
    server.interrupt();
}
