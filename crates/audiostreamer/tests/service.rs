//! What a service manager is told.

mod harness;

use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use harness::machine::Machine;
use harness::port;
use harness::wait;
use rustix::process::Signal;

/// What systemd would read.
struct Manager {
    socket: UnixDatagram,
    environment: Vec<(&'static str, String)>,
    heard: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("it can be bound");
        socket.set_nonblocking(true).expect("it can be set");
        let environment = vec![("NOTIFY_SOCKET", path.display().to_string()), ("WATCHDOG_USEC", "60000".into())];
        Self { socket, environment, heard: Vec::new(), _folder: folder }
    }

    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.heard.extend(text.lines().map(str::to_owned));
        }
    }

    fn count(&self, word: &str) -> usize {
        self.heard.iter().filter(|line| line.starts_with(word)).count()
    }

    #[track_caller]
    fn wait_for(&mut self, word: &str, count: usize) {
        wait::until(format!("{count} times {word}"), || {
            self.hear();
            (self.count(word) >= count).then_some(())
        });
    }
}

#[test]
fn a_service_says_that_it_is_there_that_it_lives_and_that_it_ends() {
    let (machine, mut manager) = (Machine::new(), Manager::new());
    let listen = format!("--listen=127.0.0.1:{}", port::free());
    let server = machine.ours(&["server", &listen, "--output=null"]).environment(&manager.environment).start();
    manager.wait_for("READY=1", 1);
    manager.wait_for("STATUS=listening on", 1);
    let before = manager.count("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1", before + 3);
    // One that hangs says nothing any more.
    server.signal(Signal::STOP);
    thread::sleep(Duration::from_millis(50)); // what it has said before
    manager.hear();
    let silent = manager.count("WATCHDOG=1");
    thread::sleep(Duration::from_millis(200)); // nothing happens that could be waited for
    manager.hear();
    assert_eq!(manager.count("WATCHDOG=1"), silent);
    server.signal(Signal::CONT);
    server.interrupt().assert_code(0);
    manager.wait_for("STOPPING=1", 1);
}

#[test]
fn a_client_is_there_while_it_waits_for_its_server() {
    let (machine, mut manager) = (Machine::new(), Manager::new());
    let server = format!("127.0.0.1:{}", port::free());
    let client = machine.ours(&["client", &server, "--input=tone:440"]).environment(&manager.environment).start();
    manager.wait_for("READY=1", 1);
    manager.wait_for("STATUS=waiting for", 1);
    client.interrupt().assert_code(0);
}
