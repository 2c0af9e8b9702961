//! The terminal view, on a real terminal: what is seen, what keys do, and how it is left.

mod harness;

use std::path::Path;
use std::process::Command;

use harness::program::{installed, ours};
use harness::server::Server;
use harness::{port, wait};
use tempfile::TempDir;

/// A terminal of tmux with a shell in it.
struct Terminal {
    socket: String,
    home: TempDir,
}

impl Terminal {
    /// `None` where tmux is not installed.
    fn open(width: u16, height: u16) -> Option<Self> {
        installed(&["tmux"]).then(|| {
            let home = tempfile::tempdir().expect("there is room");
            let socket = home.path().join("tmux").display().to_string();
            let terminal = Self { socket, home };
            let size = [format!("-x{width}"), format!("-y{height}")];
            terminal.tmux(&[
                "-f",
                "/dev/null",
                "new-session",
                "-d",
                &size[0],
                &size[1],
                "env LC_ALL=C.UTF-8 PS1='$ ' sh",
            ]);
            terminal.wait_for("$");
            terminal
        })
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux").args(["-S", &self.socket]).args(arguments).output().expect("it is installed");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Types a command line of ours.
    fn run(&self, before: &str, arguments: &str) {
        let program = env!("CARGO_BIN_EXE_audiostreamer");
        let home = self.home.path().display();
        self.press(&[&format!("{before} XDG_STATE_HOME={home} XDG_CONFIG_HOME={home} {program} {arguments}"), "Enter"]);
    }

    fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen shows it; what else it shows then.
    #[track_caller]
    fn wait_for(&self, wanted: &str) -> String {
        wait::until(format!("{wanted:?} on the screen"), || {
            Some(self.screen()).filter(|screen| screen.contains(wanted))
        })
    }

    #[track_caller]
    fn wait_for_all(&self, wanted: &[&str]) -> String {
        wanted.iter().map(|wanted| self.wait_for(wanted)).next_back().unwrap_or_default()
    }

    /// What the terminal is set to: `stty -a` from the shell. Its line comes after `mark`.
    #[track_caller]
    fn assert_is_restored(&self) {
        self.press(&["stty -a | grep -o '.icanon.* .echo ' ; echo cooked$((1+1))", "Enter"]);
        let screen = self.wait_for("cooked2");
        assert!(!screen.contains("-icanon") && !screen.contains(" -echo "), "{screen}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the screen at the end:\n{}", self.screen());
        }
        self.tmux(&["kill-server"]);
    }
}

fn tone(home: &Path, port: u16) -> harness::program::Program {
    ours(["client", &format!("127.0.0.1:{port}"), "--input=tone:440"]).at_home(home).start()
}

#[test]
fn a_server_is_seen_and_commanded_in_eighty_by_twenty_four() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    let port = port::free();
    terminal.run("", &format!("server --listen 127.0.0.1:{port} --output null"));
    // The invite can be read until somebody has come.
    let screen = terminal.wait_for_all(&["audiostreamer://127.0.0.1:", "listening on", "waiting for a client"]);
    assert!(!screen.contains("q quit"), "{screen}");
    let client = tone(terminal.home.path(), port);
    terminal.wait_for_all(&[
        "audiostreamer server  127.0.0.1:",
        "profile talk",
        "q quit",
        "> 127.0.0.1:",
        "opus  udp encrypted",
        "+0 dB",
        "jitter buffer",
        "target",
        "ppm",
        "kbit/s",
        "lost",
        "concealed",
    ]);
    // The meter shows the tone.
    terminal.wait_for("██████");
    terminal.press(&["m"]);
    terminal.wait_for_all(&["muted", "-60 dBFS"]);
    terminal.press(&["m"]);
    terminal.press(&["-"]);
    terminal.wait_for("-1 dB");
    terminal.press(&["p"]);
    terminal.wait_for("profile listen");
    terminal.tmux(&["resize-window", "-x", "60", "-y", "12"]);
    terminal.wait_for("+ - gain");
    terminal.tmux(&["resize-window", "-x", "120", "-y", "40"]);
    terminal.wait_for("q quit");
    terminal.press(&["k"]);
    terminal.wait_for("away? y/n");
    terminal.press(&["y"]);
    terminal.wait_for("has been sent away");
    client.wait().assert_code(5);
    terminal.press(&["q"]);
    // What has happened stands on the screen as lines, and the shell is itself again.
    terminal.wait_for_all(&["audiostreamer: listening on", "audiostreamer: played"]);
    terminal.assert_is_restored();
}

#[test]
fn a_client_is_seen_without_colour_and_ends_by_ctrl_c() {
    let Some(terminal) = Terminal::open(90, 30) else { return };
    let server = Server::start(&["--open"]);
    terminal.run("NO_COLOR=1", &format!("client {} --input tone:440", server.address()));
    terminal.wait_for_all(&[
        "audiostreamer client",
        "streaming",
        "udp, encrypted",
        "kbit/s",
        "from the card to the wire",
    ]);
    terminal.press(&["-"]);
    terminal.wait_for("-1 dB");
    let coloured = terminal.tmux(&["capture-pane", "-p", "-e"]);
    let colours = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[36m", "\u{1b}[90m"];
    assert!(!colours.iter().any(|colour| coloured.contains(colour)), "{coloured:?}");
    terminal.press(&["C-c"]);
    terminal.wait_for("audiostreamer: sent");
    terminal.assert_is_restored();
}

#[test]
fn a_signal_from_outside_gives_the_terminal_back() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    terminal.run("", &format!("server --plain --listen 127.0.0.1:{} --output null & sleep 0; fg", port::free()));
    terminal.wait_for("waiting for a client");
    terminal.press(&["l"]);
    terminal.wait_for("audiostreamer: listening on");
    terminal.press(&["C-c"]);
    terminal.wait_for("audiostreamer: played");
    let mark = terminal.home.path().join("pid");
    let listen = format!("server --plain --listen 127.0.0.1:{} --output null", port::free());
    terminal.press(&[
        &format!("sh -c 'echo $$ > {}; exec {} {listen}'", mark.display(), env!("CARGO_BIN_EXE_audiostreamer")),
        "Enter",
    ]);
    terminal.wait_for("waiting for a client");
    let pid = std::fs::read_to_string(mark).expect("it has begun");
    assert!(Command::new("kill").args(["-TERM", pid.trim()]).status().is_ok_and(|status| status.success()));
    terminal.wait_for("audiostreamer: played");
    terminal.assert_is_restored();
}

#[test]
fn who_wants_lines_has_lines() {
    let Some(terminal) = Terminal::open(80, 24) else { return };
    terminal.run("", &format!("server --no-tui --plain --listen 127.0.0.1:{} --output null", port::free()));
    let screen = terminal.wait_for("audiostreamer: listening on");
    assert!(!screen.contains("q quit"), "{screen}");
    terminal.wait_for("waiting for a client");
    terminal.press(&["C-c"]);
    terminal.wait_for("audiostreamer: played");
}

#[test]
fn a_terminal_that_is_none_is_a_mistake_of_usage() {
    let server = ours(["server", "--output=null", "--tui"]).start().wait();
    server.assert_code(2);
    server.assert_says("no terminal");
}
