//! Busy loops at normal priority: what a compile or a browser does to audio beside it.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::os;

/// Busy loops in processes of their own, ended on drop.
pub struct Hogs(Vec<Child>);

impl Hogs {
    pub fn start(count: usize) -> Result<Self> {
        let mut hogs = Self(Vec::new());
        for _ in 0..count {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            os::die_with_parent(&mut command);
            hogs.0.push(command.spawn().context("cannot start sh")?);
        }
        Ok(hogs)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
