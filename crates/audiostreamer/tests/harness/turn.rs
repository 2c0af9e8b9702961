//! One sound server at a time on this machine.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};

/// Whoever has it may start a sound server, whatever test or process it is in; dropped, the next has
/// it. What a sound server moves has to be there in time: several of them, each with programs at both
/// ends, would make a small machine drop what the tests then miss.
pub struct Turn {
    _locked: File,
}

impl Turn {
    /// Waits for it as long as others take.
    pub fn take() -> Self {
        let file = std::env::temp_dir().join("audiostreamer-test-sound-server");
        let file = File::create(file).expect("the folder for temporary files takes one more");
        flock(&file, FlockOperation::LockExclusive).expect("files can be locked");
        Self { _locked: file }
    }
}
