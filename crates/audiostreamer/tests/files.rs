//! Files, pipes and tones as sources and sinks, in real time and with real pipes.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use audiostreamer::clock;
use audiostreamer::device::pcm_format::PcmFormat;
use audiostreamer::device::sink_format::SinkFormat;
use audiostreamer::device::{
    Capture, Gap, Notice, Render, Shape, Wanted, file_sink, file_source, null, pipe, stdout, tone,
};
use audiostreamer_core::duration_of;
use tempfile::TempDir;

#[test]
fn a_tone_comes_in_blocks_and_never_ahead_of_time() {
    let (blocks, make) = captured();
    let (notices, notify) = told();
    let wanted = Wanted { rate: Some(44_100), channels: Some(1), period: Some(100) };
    let began = clock::now();
    let running = tone::start(440.0, wanted, make, notify).unwrap();
    assert_eq!(opened(&notices), Shape { rate: 44_100, channels: 1, period: 100 });
    let hundred: Vec<Vec<f32>> = blocks.iter().take(100).collect();
    assert!(clock::now() - began >= duration_of(99 * 100, 44_100));
    assert!(hundred.iter().all(|block| block.len() == 100));
    drop(running);
    blocks.iter().count(); // comes to an end: it is stopped
}

#[test]
fn a_file_plays_to_its_end_in_real_time() {
    let dir = TempDir::new().unwrap();
    let path = wav(&dir, 44_100, 2, &ramp(2 * 9_000));
    let (blocks, make) = captured();
    let (notices, notify) = told();
    let began = clock::now();
    let _running = file_source::start(&path, Wanted::default(), make, notify).unwrap();
    assert_eq!(opened(&notices), Shape { rate: 44_100, channels: 2, period: 220 });
    assert!(matches!(last(&notices), Notice::Ended));
    assert!(clock::now() - began >= duration_of(9_000, 44_100));
    assert_eq!(blocks.iter().flatten().collect::<Vec<f32>>(), ramp(2 * 9_000));
}

#[test]
fn songs_of_different_shape_are_opened_one_after_the_other() {
    let (_blocks, make) = captured();
    let (notices, notify) = told();
    let songs = fixture("songs-48000-22050.ogg");
    let _running = file_source::start(&songs, Wanted::default(), make, notify).unwrap();
    assert_eq!(opened(&notices), Shape { rate: 48_000, channels: 1, period: 240 });
    assert_eq!(opened(&notices), Shape { rate: 22_050, channels: 2, period: 110 });
    assert!(matches!(last(&notices), Notice::Ended));
}

#[test]
fn a_stopped_file_is_released() {
    let dir = TempDir::new().unwrap();
    let path = wav(&dir, 48_000, 1, &ramp(48_000 * 100));
    let (blocks, make) = captured();
    let (notices, notify) = told();
    let running = file_source::start(&path, Wanted::default(), make, notify).unwrap();
    blocks.recv().unwrap();
    drop(running);
    assert!(blocks.iter().count() < 10_000, "its threads are gone, and with them the capture");
    assert!(!notices.iter().any(|notice| matches!(notice, Notice::Ended)));
}

#[test]
fn wav_in_a_pipe_says_itself_what_it_is() {
    let dir = TempDir::new().unwrap();
    let bytes = fs::read(wav(&dir, 32_000, 2, &ramp(2 * 1_000))).unwrap();
    let (shape, samples, end) = piped(&bytes, None);
    assert_eq!(shape, Some(Shape { rate: 32_000, channels: 2, period: 160 }));
    assert_eq!(samples, ramp(2 * 1_000));
    assert!(matches!(end, Notice::Ended));
}

#[test]
fn wav_of_unknown_length_plays_until_the_pipe_ends() {
    for unknown in [0_u32, u32::MAX] {
        let dir = TempDir::new().unwrap();
        let mut bytes = fs::read(wav(&dir, 48_000, 1, &ramp(1_000))).unwrap();
        bytes[4..8].copy_from_slice(&unknown.to_le_bytes());
        bytes[40..44].copy_from_slice(&unknown.to_le_bytes());
        let (_, samples, end) = piped(&bytes, None);
        assert_eq!(samples, ramp(1_000));
        assert!(matches!(end, Notice::Ended));
    }
}

#[test]
fn raw_samples_in_a_pipe_are_what_was_declared() {
    let format: PcmFormat = "f32be,8000,1".parse().unwrap();
    let bytes: Vec<u8> = ramp(500).iter().flat_map(|sample| sample.to_be_bytes()).collect();
    let (shape, samples, end) = piped(&bytes, Some(format));
    assert_eq!(shape, Some(Shape { rate: 8_000, channels: 1, period: 40 }));
    assert_eq!(samples, ramp(500));
    assert!(matches!(end, Notice::Ended));
}

#[test]
fn undeclared_samples_and_empty_pipes_are_refused() {
    let message = |bytes: &[u8], declared: Option<&str>| {
        let declared = declared.map(|text| text.parse().unwrap());
        let (shape, _, Notice::Failed(error)) = piped(bytes, declared) else { panic!() };
        assert_eq!(shape, None);
        error.to_string()
    };
    assert!(message(&[0; 100], None).contains("--input-format s16le,44100,2"));
    assert!(message(&[], None).contains("before any sound"));
    assert!(message(&[], Some("s16le,44100,2")).contains("before any sound"));
    assert!(message(b"RIFF....WAVEfmt ", None).contains("cut off"));
}

#[test]
fn a_silent_pipe_does_not_hold_up_a_stop() {
    let (reader, mut writer) = io::pipe().unwrap();
    let (blocks, make) = captured();
    let (notices, notify) = told();
    let declared = "s16le,44100,1".parse().unwrap();
    let running = pipe::start_from(reader, Some(declared), Wanted::default(), make, notify);
    writer.write_all(&[0; 882]).unwrap();
    blocks.recv().unwrap();
    drop(running);
    let error = writer.write_all(&[0; 882]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "the thread is gone");
    assert!(!notices.iter().any(|notice| matches!(notice, Notice::Ended)));
}

#[test]
fn what_a_live_pipe_holds_at_the_start_is_old() {
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(&[0; 3_200]).unwrap(); // 0.2 s
    let (sender, lateness) = channel();
    let make = move |_: &Shape| {
        let sender = sender.clone();
        Box::new(move |_: &[f32], late: Duration| {
            let _ = sender.send(late);
        }) as Capture
    };
    let declared = Some("s16le,8000,1".parse().unwrap());
    let _running = pipe::start_from(reader, declared, Wanted::default(), make, |_| {}).unwrap();
    assert!(lateness.recv().unwrap() >= Duration::from_millis(200));
}

#[test]
fn a_file_sink_holds_what_was_rendered() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("out.wav");
    fs::write(&path, "an existing file is replaced").unwrap();
    let (rendered, make) = rendering();
    let (notices, notify) = told();
    let wanted = Wanted { channels: Some(1), ..Wanted::default() };
    let running = file_sink::start(&path, SinkFormat::default(), wanted, make, notify).unwrap();
    assert_eq!(opened(&notices), Shape { rate: 48_000, channels: 1, period: 240 });
    rendered.iter().take(20).count();
    drop(running);
    let frames = 240 * (20 + rendered.iter().count());
    let mut wav = hound::WavReader::open(&path).unwrap();
    assert_eq!((wav.spec().bits_per_sample, wav.spec().channels), (24, 1));
    let samples: Vec<i32> = wav.samples().map(Result::unwrap).collect();
    assert_eq!(samples.len(), frames);
    assert!(samples.iter().enumerate().all(|(n, sample)| *sample == n as i32 % 1000));
}

#[test]
fn a_file_sink_is_valid_at_every_moment() {
    for format in ["wav:s24le,48000,1", "wav:f32le,44100,2", "wav:s16le,48000,6"] {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("out.wav");
        let (_rendered, make) = rendering();
        let (_notices, notify) = told();
        let format = format.parse().unwrap();
        let _running = file_sink::start(&path, format, Wanted::default(), make, notify).unwrap();
        let (mut before, mut growths) = (0, 0);
        while growths < 4 {
            let copy = fs::read(&path).unwrap();
            let frames = hound::WavReader::new(&copy[..]).unwrap().duration();
            assert!(frames >= before, "what is counted stays");
            growths += u32::from(frames > before);
            before = frames;
        }
    }
}

#[test]
fn a_killed_writer_leaves_a_valid_file() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("out.wav");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "the_writer_that_is_killed"])
        .env(KILLED, &path)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let frames = || hound::WavReader::open(&path).map_or(0, |wav| wav.duration());
    while frames() < 10_000 {
        assert!(child.try_wait().unwrap().is_none(), "the child has died by itself");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut wav = hound::WavReader::open(&path).unwrap();
    let samples: Vec<i32> = wav.samples().map(Result::unwrap).collect();
    assert!(samples.len() >= 10_000);
    assert!(samples.iter().enumerate().all(|(n, sample)| *sample == n as i32 % 1000));
}

#[test]
#[ignore = "runs in a process of its own, for a_killed_writer_leaves_a_valid_file"]
fn the_writer_that_is_killed() {
    let Some(path) = std::env::var_os(KILLED) else {
        return;
    };
    let (_rendered, make) = rendering();
    let (_notices, notify) = told();
    let format = "wav:s24le,48000,1".parse().unwrap();
    let _running = file_sink::start(Path::new(&path), format, Wanted::default(), make, notify).unwrap();
    loop {
        std::thread::park();
    }
}

const KILLED: &str = "AUDIOSTREAMER_TEST_KILLED_WRITER";

#[test]
fn a_file_that_can_not_be_written_is_refused() {
    let message = |path: &str| {
        let (_, make) = rendering();
        let format = SinkFormat::default();
        let started = file_sink::start(Path::new(path), format, Wanted::default(), make, |_| {});
        started.err().unwrap().to_string()
    };
    assert!(message("/nowhere/out.wav").starts_with("can't create /nowhere/out.wav: no such"));
    assert!(message("/").contains("irectory"));
    assert!(message("/dev/full").contains("--output - > /dev/full"));
}

#[test]
fn standard_output_is_wav_that_never_ends() {
    let (mut reader, writer) = io::pipe().unwrap();
    let (_rendered, make) = rendering();
    let (notices, notify) = told();
    let format = "s16le,44100,2".parse().unwrap();
    let running = stdout::start_to(writer, format, Wanted::default(), make, notify).unwrap();
    assert_eq!(opened(&notices), Shape { rate: 44_100, channels: 2, period: 220 });
    let mut bytes = vec![0; 44 + 4 * 5_000];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!((&bytes[..4], &bytes[40..44]), (&b"RIFF"[..], &[0xFF; 4][..]));
    drop(running);
    reader.read_to_end(&mut bytes).unwrap();
    assert_eq!((bytes.len() - 44) % 4, 0, "whole frames");
    for (n, sample) in bytes[44..].chunks_exact(2).enumerate() {
        let expected = (n % 1000) as f32 / 256.0; // of 24 bits
        assert_eq!(i16::from_le_bytes([sample[0], sample[1]]), expected.round() as i16);
    }
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let (mut reader, writer) = io::pipe().unwrap();
    let (rendered, make) = rendering();
    let (notices, notify) = told();
    let format = "raw:s24le".parse().unwrap();
    let _running = stdout::start_to(writer, format, Wanted::default(), make, notify).unwrap();
    reader.read_exact(&mut [0; 6 * 240]).unwrap();
    drop(reader);
    opened(&notices);
    assert!(matches!(last(&notices), Notice::Ended));
    rendered.iter().count(); // comes to an end: nothing is rendered any more
}

#[test]
fn a_reader_that_does_not_read_loses_whole_frames_and_does_not_hold_up_a_stop() {
    let (mut reader, writer) = io::pipe().unwrap();
    let (_rendered, make) = rendering();
    let (notices, notify) = told();
    let format = "raw:s24le,192000,8".parse().unwrap(); // fills pipe and queue at once
    let running = stdout::start_to(writer, format, Wanted::default(), make, notify).unwrap();
    opened(&notices);
    let Notice::Gap(Gap::Dropped { frames }) = next(&notices) else { panic!() };
    assert!(frames > 0);
    drop(running);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap(); // comes to an end: the writer is gone
    assert_eq!(bytes.len() % 24, 0, "whole frames");
}

#[test]
fn the_null_sink_asks_for_sound_and_never_ahead_of_time() {
    let (rendered, make) = rendering();
    let (notices, notify) = told();
    let began = clock::now();
    let running = null::start(Wanted::default(), make, notify).unwrap();
    assert_eq!(opened(&notices), Shape { rate: 48_000, channels: 2, period: 240 });
    rendered.iter().take(50).count();
    assert!(clock::now() - began >= duration_of(49 * 240, 48_000));
    drop(running);
}

/// Plays `bytes` through a pipe: the shape if it was opened, all samples, the last notice.
fn piped(bytes: &[u8], declared: Option<PcmFormat>) -> (Option<Shape>, Vec<f32>, Notice) {
    let (reader, mut writer) = io::pipe().unwrap();
    let (blocks, make) = captured();
    let (notices, notify) = told();
    let _running = pipe::start_from(reader, declared, Wanted::default(), make, notify).unwrap();
    writer.write_all(bytes).unwrap();
    drop(writer);
    let mut shape = None;
    loop {
        match next(&notices) {
            Notice::Opened { shape: opened, .. } => shape = Some(opened),
            end => return (shape, blocks.iter().flatten().collect(), end),
        }
    }
}

/// The blocks that a source captures, until its capture is dropped.
fn captured() -> (Receiver<Vec<f32>>, impl FnMut(&Shape) -> Capture + Send + 'static) {
    let (sender, blocks) = channel();
    let mut sender = Some(sender);
    let make = move |_: &Shape| {
        let sender = sender.take();
        Box::new(move |block: &[f32], _: Duration| {
            if let Some(sender) = &sender {
                let _ = sender.send(block.to_vec());
            }
        }) as Capture
    };
    (blocks, make)
}

/// A sink is given 0, 1, 2, ... 999, 0, ... as 24-bit samples; one message for each block.
fn rendering() -> (Receiver<usize>, impl FnMut(&Shape) -> Render + Send + 'static) {
    let (sender, blocks) = channel();
    let mut sender: Option<Sender<usize>> = Some(sender);
    let make = move |_: &Shape| {
        let sender = sender.take().unwrap();
        let mut next = 0;
        Box::new(move |block: &mut [f32], _: Duration| {
            for sample in block.iter_mut() {
                *sample = (next % 1000) as f32 / 8_388_608.0;
                next += 1;
            }
            let _ = sender.send(block.len());
        }) as Render
    };
    (blocks, make)
}

fn told() -> (Receiver<Notice>, impl Fn(Notice) + Send + 'static) {
    let (sender, notices) = channel();
    (notices, move |notice| {
        let _ = sender.send(notice);
    })
}

fn opened(notices: &Receiver<Notice>) -> Shape {
    match next(notices) {
        Notice::Opened { shape, .. } => shape,
        other => panic!("{other:?}"),
    }
}

fn last(notices: &Receiver<Notice>) -> Notice {
    let notice = next(notices);
    assert!(!matches!(notice, Notice::Opened { .. }), "{notice:?}");
    notice
}

/// The next notice but for stalls: other processes may keep this one waiting.
fn next(notices: &Receiver<Notice>) -> Notice {
    let mut others = notices.iter().filter(|it| !matches!(it, Notice::Gap(Gap::Stalled(_))));
    others.next().unwrap()
}

fn ramp(samples: usize) -> Vec<f32> {
    (0..samples).map(|n| (n % 30_000) as f32 / 32_768.0).collect()
}

fn wav(dir: &TempDir, rate: u32, channels: u16, samples: &[f32]) -> PathBuf {
    let path = dir.path().join("in.wav");
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for sample in samples {
        writer.write_sample((sample * 32_768.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    path
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}
