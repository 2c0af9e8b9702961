//! The one place that reads the clock.

use std::sync::LazyLock;

use audiostreamer_core::Instant;

static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(read);

/// The present moment on the program's monotonic clock, counted from its first call.
///
/// Safe in a device callback once it has been called before: it then takes no lock.
pub fn now() -> Instant {
    let epoch = *EPOCH; // before `read`, or the first call would go backwards
    Instant::from_nanos(read().duration_since(epoch).as_nanos() as u64)
}

#[expect(clippy::disallowed_methods, reason = "the engine's clock is this function")]
fn read() -> std::time::Instant {
    std::time::Instant::now()
}
