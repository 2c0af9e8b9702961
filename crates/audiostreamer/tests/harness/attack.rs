//! A stream that goes on while somebody does harm beside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::audio::Audio;
use super::every;
use super::program::{Ended, Program};
use super::server::Server;

/// Lets `client` stream `noise` as L24 while `attack` is called again and again with the server's
/// port. Panics unless all of it is played all the same, and the server's memory has grown by less
/// than `growth_kib_max`. Returns how the server ended.
#[track_caller]
pub fn assert_stream_is_unharmed(
    noise: &Audio,
    server: Server,
    client: Program,
    growth_kib_max: usize,
    mut attack: impl FnMut(u16) + Send,
) -> Ended {
    server.program.wait_for_line(": l24,");
    let before = server.program.resident_kib();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                attack(server.port);
            }
        });
        let ended = client.wait();
        over.store(true, Ordering::Relaxed);
        ended.assert_code(0);
    });
    server.play_out();
    let after = server.program.resident_kib();
    println!("memory: {before} KiB before, {after} KiB after");
    assert!(after < before + growth_kib_max, "memory grew from {before} to {after} KiB");
    let (recording, ended) = server.stop_and_tell();
    every::find(noise, &recording).assert_whole();
    ended
}
