//! What runs in the capture callback never allocates and never frees, whatever happens.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

#[path = "../../core/tests/no_alloc/allocator.rs"]
mod allocator;

use allocator::real_time;
use audiostreamer::capture::tap;
use audiostreamer::clock;
use audiostreamer::device::{Shape, Xruns};
use audiostreamer::recording::{Config, Recording};

#[test]
fn a_capture_callback_only_copies() {
    let shape = Shape { rate: 48_000, channels: 2, period: 128 };
    let (mut tap, mut captured) = tap(shape, Xruns::default(), std::thread::current(), 240);
    let block = [0.5; 2 * 128];
    clock::now();
    // Far more than the ring holds: a send thread that has stopped is part of it, and so are
    // crumbs and a block that is larger than any before.
    for round in 0..1000 {
        real_time(|| {
            tap.handle(clock::now(), &block);
            tap.handle(clock::now(), &block[..2 * 24]);
        });
        if round > 500 {
            while captured.next_block().is_some() {}
        }
    }
    let large = vec![0.0; 2 * 48_000];
    real_time(|| tap.handle(clock::now(), &large));
}

#[test]
fn a_recorder_only_copies_however_slow_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { path: folder.path().join("out.wav"), split: None };
    let recording = Recording::start(&config, drop).unwrap();
    let mut recorder = recording.recorders().of_card(&Shape { rate: 8_000, channels: 2, period: 128 }).unwrap();
    let block = [0.5; 2 * 128];
    (0..5_000).for_each(|n| real_time(|| recorder.record(&block, n % 3 == 0)));
}
