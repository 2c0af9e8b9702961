//! The sink that nobody hears.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use super::file_error::FileError;
use super::running::Running;
use super::{Gap, Notice, Render, Shape, Wanted, paced_sink};

/// Renders in real time, at 48 kHz stereo unless `wanted` otherwise, and drops it.
pub fn start(
    wanted: Wanted,
    mut make: impl FnMut(&Shape) -> Render + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, FileError> {
    let shape = wanted.shape();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = thread::Builder::new()
        .name("null".into())
        .spawn(move || {
            let render = make(&shape);
            notify(Notice::Opened { name: "null".into(), shape });
            paced_sink::run(&shape, render, &stopped, |_, skipped| {
                Gap::stalled(skipped, &notify);
                ControlFlow::Continue(())
            });
        })
        .map_err(FileError::Thread)?;
    Ok(Running::new(stop, vec![thread]))
}
