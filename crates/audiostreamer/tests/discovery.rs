//! Servers that say on their network that they are there, and clients that were told no server: on two
//! machines that share a network, as far as network namespaces make machines.

mod harness;

use harness::machine::Machine;
use harness::netns::{Networks, ROUTER};
use harness::program::{Ended, Program};
use harness::wait;
use serde_json::Value;

/// A server on a guest's network.
struct Neighbours {
    networks: Networks,
    guest: Machine,
}

impl Neighbours {
    fn new() -> Option<Self> {
        Some(Self { networks: Networks::new()?, guest: Machine::new() })
    }

    fn serve(&self, studio: &Machine, options: &[&str]) -> Program {
        let server = studio.ours(&[&["server", "--output=null"], options].concat());
        let server = self.networks.on_router(server).start();
        server.wait_for_line("listening on");
        server
    }

    /// Runs a command of the guest to its end.
    fn run(&self, arguments: &[&str]) -> Ended {
        self.networks.on_client(self.guest.ours(arguments)).keeping_stdout().start().wait()
    }

    fn found(&self) -> Vec<Value> {
        let ended = self.run(&["discover", "--json", "--wait=1s"]);
        ended.assert_code(0);
        serde_json::from_slice(&ended.stdout).expect("it is JSON")
    }

    /// Listens until so many servers are there.
    fn find(&self, count: usize) -> Vec<Value> {
        wait::until(format!("{count} servers"), || Some(self.found()).filter(|found| found.len() == count))
    }

    /// A client that was told no server.
    fn client(&self) -> Program {
        self.networks.on_client(self.guest.ours(&["client", "--input=tone:440"])).start()
    }
}

#[test]
fn a_client_finds_the_server_that_it_knows_and_trusts_no_announcement() {
    let Some(neighbours) = Neighbours::new() else { return };
    let (studio, stranger) = (Machine::new(), Machine::new());
    let server = neighbours.serve(&studio, &[]);
    server.wait_for_line("announced on this network as");

    let found = neighbours.find(1);
    assert_eq!(found[0]["key"], studio.fingerprint().as_str());
    assert_eq!((&found[0]["port"], &found[0]["knownAs"]), (&5004.into(), &Value::Null));
    assert_eq!(found[0]["addresses"][0], ROUTER);
    assert_eq!(found[0]["transports"], serde_json::json!(["udp", "tcp"]));

    // A server that is new here is not connected to by a client that can't ask.
    let ended = neighbours.client().wait();
    ended.assert_code(2);
    ended.assert_says(&format!("new here, with the key {}", studio.fingerprint()));

    // Once it has been met, it is, also where a stranger calls himself something on the same network.
    let invite = studio.run(&["invite", "--host", ROUTER]);
    let invite = String::from_utf8(invite.stdout).expect("it is text");
    let client = neighbours.networks.on_client(neighbours.guest.ours(&["client", invite.trim(), "--input=tone:440"]));
    let client = client.start();
    server.wait_for_lines(", over ", 1);
    client.interrupt().assert_code(0);
    let other = neighbours.serve(&stranger, &["--listen=6000"]);
    let found = neighbours.find(2);
    let known: Vec<_> = found.iter().filter(|server| server["knownAs"] == format!("{ROUTER}:5004")).collect();
    assert_eq!(known.len(), 1, "{found:?}");
    let client = neighbours.client();
    client.wait_for_line(&format!("known as {ROUTER}:5004"));
    server.wait_for_lines(", over ", 2);
    client.interrupt().assert_code(0);
    other.interrupt().assert_code(0);

    // Who takes its place with another key is a stranger again.
    server.interrupt().assert_code(0);
    let _impostor = neighbours.serve(&stranger, &[]);
    neighbours.find(1);
    let ended = neighbours.client().wait();
    ended.assert_code(2);
    ended.assert_says("new here");
}

#[test]
fn a_server_that_is_to_say_nothing_is_not_found_and_one_that_ends_is_gone() {
    let Some(neighbours) = Neighbours::new() else { return };
    let studio = Machine::new();
    let silent = neighbours.serve(&studio, &["--no-announce", "--listen=6000"]);
    let plain = neighbours.serve(&studio, &["--plain", "--listen=6002"]);
    let heard = neighbours.serve(&studio, &[]);
    assert_eq!(neighbours.find(1)[0]["port"], 5004, "and nobody else is found");
    heard.interrupt().assert_code(0);
    assert_eq!(neighbours.find(0), Vec::<Value>::new());
    let ended = neighbours.run(&["client", "--input=tone:440", "--no-wait"]);
    ended.assert_code(4);
    ended.assert_says("no server announces itself");
    drop((silent, plain));
}
