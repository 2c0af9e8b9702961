//! Waiting for conditions.

use std::thread;
use std::time::Duration;

use audiostreamer::clock;

/// Only a hang takes this long, however busy the machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Between two looks at a condition.
const LOOK: Duration = Duration::from_millis(5);

/// Looks until `condition` gives something; panics with `what` when the deadline has passed.
pub fn until<T>(what: impl AsRef<str>, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(clock::now() < deadline, "waited {DEADLINE:?} in vain for {}", what.as_ref());
        thread::sleep(LOOK);
    }
}
