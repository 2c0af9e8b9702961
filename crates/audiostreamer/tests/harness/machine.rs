//! Machines that do not know each other, as far as a folder of its own makes a machine.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::port;
use super::program::{Ended, Launch, Program, ours};
use super::server::Server;

/// A machine of its own: it has its own key, and knows nobody.
pub struct Machine {
    home: TempDir,
}

impl Machine {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().expect("there is room") }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Of those in which it keeps who it is and whom it knows.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join("audiostreamer").join(name)
    }

    pub fn server(&self, options: &[&str]) -> Server {
        self.server_at(port::free(), options)
    }

    pub fn server_at(&self, port: u16, options: &[&str]) -> Server {
        Server::start_at_home(Some(self.home.path()), port, options)
    }

    /// Our program, as its user.
    pub fn ours(&self, arguments: &[&str]) -> Launch {
        ours(arguments).at_home(self.home())
    }

    /// Starts a client that plays a tone until it is ended.
    pub fn client(&self, to: &str, options: &[&str]) -> Program {
        ours(["client", to, "--input=tone:440"].iter().chain(options)).at_home(self.home.path()).start()
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        ours(arguments).at_home(self.home.path()).keeping_stdout().start().wait()
    }

    /// Makes an invite to a server at that port.
    pub fn invite(&self, port: u16, options: &[&str]) -> String {
        let host = format!("127.0.0.1:{port}");
        let ended = self.run(&[&["invite", "--host", &host], options].concat());
        ended.assert_code(0);
        String::from_utf8(ended.stdout).expect("it is text").trim().to_owned()
    }

    pub fn fingerprint(&self) -> String {
        let ended = self.run(&["identity"]);
        ended.assert_code(0);
        String::from_utf8(ended.stdout).expect("it is text").trim().to_owned()
    }
}
