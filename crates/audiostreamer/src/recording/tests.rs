use std::sync::Mutex;

use audiostreamer_core::codec::{Encoder, opus};
use audiostreamer_core::{Format, MediaTime};

use super::*;
use crate::clock;

const STEREO: Shape = Shape { rate: 48_000, channels: 2, period: 128 };

/// Records, and returns what was told.
fn record(path: &Path, split: Option<Split>, feed: impl FnOnce(&Recorders)) -> Vec<Event> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let told_by = told.clone();
    let report = move |report| match report {
        Report::Event(event) => told_by.lock().unwrap().push(event),
        other => panic!("{other:?}"),
    };
    let recording = Recording::start(&Config { path: path.into(), split }, report).unwrap();
    feed(&recording.recorders());
    drop(recording);
    std::mem::take(&mut told.lock().unwrap())
}

fn read(path: &Path) -> (hound::WavSpec, Vec<i32>) {
    let mut reader = hound::WavReader::open(path).unwrap();
    (reader.spec(), reader.samples().map(Result::unwrap).collect())
}

fn labels(path: &Path) -> Vec<(f64, f64, String)> {
    let text = std::fs::read_to_string(format!("{}.labels.txt", path.display())).unwrap();
    let label = |line: &str| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [begin, end, text] = fields[..] else { panic!("{line:?}") };
        (begin.parse().unwrap(), end.parse().unwrap(), text.to_owned())
    };
    text.lines().map(label).collect()
}

#[test]
fn a_card_that_comes_back_goes_on_and_another_one_begins_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("take.wav");
    let mono = Shape { rate: 44_100, channels: 1, period: 64 };
    let told = record(&path, None, |recorders| {
        assert!(recorders.of_packets(Format::OPUS, None).is_none(), "samples are recorded");
        for (shape, level) in [(STEREO, 0.5), (STEREO, 0.25), (mono, -0.5)] {
            recorders.of_card(&shape).unwrap().record(&[level; 8], false);
        }
    });
    let full = 1 << 23;
    let (spec, samples) = read(&path);
    assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (48_000, 2, 24));
    assert_eq!(samples, [[full / 2; 8], [full / 4; 8]].concat());
    let (spec, samples) = read(&folder.path().join("take-2.wav"));
    assert_eq!((spec.sample_rate, spec.channels), (44_100, 1));
    assert_eq!(samples, [-full / 2; 8]);
    let begun = |told: &Event| matches!(told, Event::Recording { whose: None, .. });
    assert!(told.len() == 2 && told.iter().all(begun), "{told:?}");
}

#[test]
fn a_long_recording_is_split_and_nothing_is_missing() {
    let ramp = |n: usize| (n % 1_000) as f32 / 2_000.0;
    for (name, split, limit) in
        [("t.wav", Split::Time(Duration::from_secs(1)), 0), ("b.wav", Split::Bytes(200_000), 200_000)]
    {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let told = record(&path, Some(split), |recorders| {
            let mut recorder = recorders.of_card(&STEREO).unwrap();
            // In blocks of 10 ms, as much as may wait.
            (0..300).for_each(|n| recorder.record(&std::array::from_fn::<f32, 960, _>(|k| ramp(n * 960 + k)), false));
        });
        let files: Vec<&Path> = told
            .iter()
            .map(|event| match event {
                Event::Recording { path, .. } => path.as_path(),
                other => panic!("{other}"),
            })
            .collect();
        let samples: Vec<i32> = files.iter().flat_map(|path| read(path).1).collect();
        assert_eq!(samples.len(), 300 * 960, "{name}");
        assert!(samples.iter().enumerate().all(|(n, sample)| *sample == (ramp(n) * 8_388_608.0).round() as i32));
        match limit {
            0 => assert!(files.len() == 3 && files.iter().all(|path| read(path).1.len() == 96_000), "{files:?}"),
            limit => assert!(files.iter().all(|path| path.metadata().unwrap().len() <= limit), "{files:?}"),
        }
    }
}

#[test]
fn flac_is_the_same_samples() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("take.flac");
    let sample = |n: usize| (n as f32 * 0.05).sin() * 0.8;
    record(&path, None, |recorders| {
        let mut recorder = recorders.of_card(&STEREO).unwrap();
        (0..100).for_each(|n| recorder.record(&std::array::from_fn::<f32, 960, _>(|k| sample(n * 960 + k)), false));
    });
    let mut reader = flac_codec::decode::FlacSampleReader::open(&path).unwrap();
    let mut samples = Vec::new();
    reader.read_to_end(&mut samples).unwrap();
    assert_eq!(samples.len(), 100 * 960);
    assert!(samples.iter().enumerate().all(|(n, found)| *found == (sample(n) * 8_388_608.0).round() as i32));
}

#[test]
fn labels_say_where_something_is_missing_and_how_loud_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("take.flac");
    record(&path, None, |recorders| {
        let mut recorder = recorders.of_card(&STEREO).unwrap();
        for n in 0..200 {
            recorder.record(&[0.5; 960], (100..110).contains(&n) || (130..160).contains(&n));
        }
    });
    let labels = labels(&path);
    let missing = labels.iter().find(|(_, _, text)| text.contains("did not come")).unwrap();
    assert_eq!((missing.0, missing.1), (1.0, 1.1));
    assert!(missing.2.ends_with("100 ms"), "{labels:?}");
    assert!(labels.contains(&(1.3, 1.6, "nothing came, 300 ms".into())), "{labels:?}");
    let level = labels.iter().find(|(_, _, text)| text.contains("peak -6.0 dBFS, RMS -6.0 dBFS")).unwrap();
    assert_eq!((level.0, level.1), (0.0, 2.0));
}

#[test]
fn a_disk_that_is_too_slow_costs_whole_blocks() {
    let (sources, inbox) = channel();
    let shape = Shape { rate: 8_000, channels: 2, period: 16 };
    let mut recorder = Recorders { kind: Kind::Wav, sources }.of_card(&shape).unwrap();
    (0..10_000).for_each(|_| recorder.record(&[0.1; 32], false));
    let Ok(Source::Samples(take)) = inbox.recv() else { panic!() };
    assert_eq!(take.waiting(), 64_000, "four seconds, and no half frame");
    assert_eq!(take.missing(), Some(Duration::from_secs(16)), "the rest is told");
}

#[test]
fn a_file_that_can_not_be_made_is_told_at_once() {
    let start = |path: &str| Recording::start(&Config { path: path.into(), split: None }, drop);
    assert!(start("/nowhere/take.wav").is_err());
    let error = start("take.mp3").unwrap_err().to_string();
    assert!(error.contains("take.mp3") && error.contains(".flac"), "{error}");
}

/// Packets of a sine, 5 ms each, without those that `lost` says.
fn sine_packets(count: i64, lost: impl Fn(i64) -> bool) -> Vec<Packet> {
    let mut encoder = Encoder::new(Format::OPUS, 2, opus::Settings::default()).unwrap();
    let mut packets = Vec::new();
    for n in 0..count {
        let sample = |k: usize| ((n * 240 + k as i64 / 2) as f32 * 0.06).sin() * 0.5;
        let mut payload = Vec::new();
        encoder.encode(&std::array::from_fn::<f32, 480, _>(sample), &mut payload).unwrap();
        if !lost(n) {
            packets.push(Packet { time: MediaTime(7_000 + n * 240), frames: 240, at: clock::now(), payload });
        }
    }
    packets
}

/// What is in an Ogg Opus file: each packet, and the position that its page says.
fn ogg(path: &Path) -> Vec<(Vec<u8>, u64)> {
    let mut reader = ogg::PacketReader::new(std::fs::File::open(path).unwrap());
    let mut packets = Vec::new();
    while let Some(packet) = reader.read_packet().unwrap() {
        packets.push((packet.data.clone(), packet.absgp_page()));
    }
    packets
}

#[test]
fn opus_is_kept_as_it_came_and_a_loss_keeps_its_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("take.opus");
    let mut packets = sine_packets(200, |n| (50..53).contains(&n));
    let payloads: Vec<Vec<u8>> = packets.iter().map(|packet| packet.payload.clone()).collect();
    packets.swap(10, 12); // overtaken
    record(&path, None, |recorders| {
        let recorder = recorders.of_packets(Format::OPUS, Some("client".into())).unwrap();
        packets.into_iter().for_each(|packet| recorder.record(packet));
        assert!(recorders.of_card(&STEREO).is_none(), "packets are recorded");
    });
    let found = ogg(&path);
    assert_eq!(&found[0].0[..8], b"OpusHead");
    assert_eq!(found[0].0[10..12], 120_u16.to_le_bytes(), "the look-ahead of low delay");
    let sound: Vec<&Vec<u8>> = found[2..].iter().map(|(data, _)| data).filter(|data| data.len() > 2).collect();
    assert!(sound.iter().copied().eq(payloads.iter()), "each as it was, in order");
    assert_eq!(found.len(), 2 + 197 + 1, "three lost ones are asked of the decoder in one packet");
    assert_eq!(found.last().unwrap().1, 200 * 240, "and take their time");
    let labels = labels(&path);
    assert_eq!(labels, [(0.2475, 0.2625, "lost, 15 ms".to_owned())]);
}

#[test]
fn a_split_opus_recording_goes_on_to_the_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("take.opus");
    record(&path, Some(Split::Time(Duration::from_secs(1))), |recorders| {
        let recorder = recorders.of_packets(Format::OPUS, None).unwrap();
        sine_packets(500, |_| false).into_iter().for_each(|packet| recorder.record(packet));
    });
    let mut heard = 0;
    for (name, pre_skip) in [("take.opus", 120), ("take-2.opus", 3_840), ("take-3.opus", 3_840)] {
        let found = ogg(&folder.path().join(name));
        assert_eq!(found[0].0[10..12], u16::to_le_bytes(pre_skip), "{name}");
        heard += found.last().unwrap().1 - u64::from(pre_skip);
    }
    assert_eq!(heard, 500 * 240 - 120);
}
