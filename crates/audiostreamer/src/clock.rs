//! The one place that reads the clock.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use audiostreamer_core::Instant;
use audiostreamer_core::rtcp::Ntp;

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

/// The wall-clock time of the moment that [`now`] counts from, for RTCP.
pub fn wall_epoch() -> Ntp {
    /// Seconds from NTP's era in 1900 to Unix's in 1970 (RFC 868).
    const UNIX_IN_NTP: u64 = 2_208_988_800;
    let elapsed = Duration::from_nanos(now().as_nanos());
    let unix = read_wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_sub(elapsed);
    Ntp((UNIX_IN_NTP + unix.as_secs()) << 32).plus_nanos(unix.subsec_nanos().into())
}

#[expect(clippy::disallowed_methods, reason = "the engine's wall clock is this function")]
fn read_wall() -> SystemTime {
    SystemTime::now()
}

/// The wall clock in seconds since 1970, for what has to hold beyond one run of the program.
pub fn unix_seconds() -> u64 {
    unix_time().as_secs()
}

/// The wall clock since 1970, for what is compared with other machines.
pub fn unix_time() -> Duration {
    read_wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
