//! Whose turn it is to come to a JACK server, or to leave it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::clock;

/// While it is held, nobody else in this process becomes a client or ceases to be one, and no other
/// program of ours: JACK's library keeps what it knows of the server once for all clients of a process,
/// and has crashed where one came while another went; a server that two programs join at the same
/// moment, as after its restart, has held up both for seconds.
pub(super) struct Turn {
    other_programs: Option<File>,
    _process: MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits for it.
    pub fn take() -> Self {
        static PROCESS: Mutex<()> = Mutex::new(());
        let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut turn = Self { other_programs: None, _process: process };
        turn.take_from_other_programs();
        turn
    }

    /// Waits for other programs, too. Not for long: one that hangs must not keep all others out.
    pub fn take_from_other_programs(&mut self) {
        let Some(file) = open() else { return };
        let deadline = clock::now() + PATIENCE;
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() && clock::now() < deadline {
            thread::sleep(LOOK);
        }
        self.other_programs = Some(file);
    }

    /// Lets other programs have their turn, and nobody in this process.
    pub fn let_other_programs(&mut self) {
        self.other_programs = None;
    }
}

/// The file that stands for the turn; it is never read or written. `None` where there is no place for it:
/// then nobody is waited for.
fn open() -> Option<File> {
    let name = format!("audiostreamer-jack-{}.lock", rustix::process::getuid().as_raw());
    let folder = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let flags = OFlags::NOFOLLOW.bits() as i32; // of a link that somebody else has made nothing is opened
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(folder.join(name))
        .ok()
}

/// Longer than it takes a busy server to take somebody in, and shorter than a listener would wait.
const PATIENCE: Duration = Duration::from_millis(400);

const LOOK: Duration = Duration::from_millis(5);
