//! What the service manager (systemd) is told: that we are there, what we do, and that we live.
//!
//! Nothing happens where nobody manages us: then there is no socket to tell it to.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::report::{Event, Report};

/// Tells what a report means to it: the first event at which an end stands makes it ready, and each is its
/// status, as `systemctl status` shows it.
pub fn tell(report: &Report) {
    let Report::Event(event) = report else { return };
    let text = event.to_string();
    let status = NotifyState::Status(&text);
    let _ = match event {
        Event::Listening { .. } | Event::Capturing { .. } | Event::Waiting { .. } => {
            sd_notify::notify(&[NotifyState::Ready, status])
        }
        Event::Sent(_) | Event::Played(_) => sd_notify::notify(&[NotifyState::Stopping, status]),
        _ => sd_notify::notify(&[status]),
    };
}

/// Says again and again that the runtime gets round, for as long as it is awaited on it; never ends.
///
/// What it watches is the thread that the sockets and the server's loop are on. A card that hangs has a
/// watch of its own.
pub async fn keep_alive() {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut due = interval((patience / 3).max(Duration::from_millis(10)));
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let _ = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}
