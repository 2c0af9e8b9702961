//! Two machines and a router between them, as far as network namespaces make machines: what a packet
//! meets there is the kernel's own routing, and not a program of ours.

use std::path::Path;
use std::process::Command;

use super::program::Launch;

/// A client's and a server's network, joined by a router; gone when dropped.
pub struct Networks {
    client: Namespace,
    router: Namespace,
    server: Namespace,
}

/// What becomes of datagrams at the router.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// They vanish.
    Blackhole,
    /// They come to nothing, and their sender is told (ICMP).
    Prohibit,
}

/// What a second cable is called.
pub const SECOND: &str = "second";

/// Where the client reaches the server.
pub const SERVER: &str = "10.78.2.1";

/// Where the client reaches the router.
pub const ROUTER: &str = "10.78.1.254";

impl Networks {
    /// `None` where we may not have namespaces, which is said; where `CI` is set and it is anything else
    /// that is missing, that is a failure.
    pub fn new() -> Option<Self> {
        match Self::build() {
            Ok(networks) => Some(networks),
            Err(why) => {
                let may_not = why.contains("not permitted") || why.contains("Permission denied");
                assert!(may_not || std::env::var_os("CI").is_none(), "no network namespaces: {why}");
                eprintln!("skipped, as there are no network namespaces: {why}");
                None
            }
        }
    }

    fn build() -> Result<Self, String> {
        let [client, router, server] = ["c", "r", "s"].map(Namespace::new);
        let (client, router, server) = (client?, router?, server?);
        client.join(&router, "near", "10.78.1.1/24", "10.78.1.254/24")?;
        server.join(&router, "far", "10.78.2.1/24", "10.78.2.254/24")?;
        client.ip(&["route", "add", "default", "via", "10.78.1.254"])?;
        server.ip(&["route", "add", "default", "via", "10.78.2.254"])?;
        router.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
        Ok(Self { client, router, server })
    }

    /// Lays a second cable between both machines, past the router: the client's interface [`SECOND`].
    pub fn add_second_path(&self) {
        let joined = self.client.join(&self.server, SECOND, "10.78.3.1/24", "10.78.3.2/24");
        joined.unwrap_or_else(|why| panic!("{why}"));
        self.client.must(&["route", "add", "default", "via", "10.78.3.2", "metric", "200"]);
    }

    /// From now on nothing passes the router ...
    pub fn block_everything(&self) {
        self.router.must(&["rule", "add", "pref", "90", "blackhole"]);
    }

    /// ... and from now on everything does again.
    pub fn unblock_everything(&self) {
        self.router.must(&["rule", "del", "pref", "90"]);
    }

    /// Nothing passes the second cable any more ...
    pub fn cut_second_path(&self) {
        self.server.must(&["link", "set", SECOND, "down"]);
    }

    /// ... and from now on everything does again.
    pub fn mend_second_path(&self) {
        self.server.must(&["link", "set", SECOND, "up"]);
    }

    /// Has `launch` run on the client's machine.
    pub fn on_client(&self, launch: Launch) -> Launch {
        launch.within(&["ip", "netns", "exec", &self.client.name])
    }

    /// Has `launch` run on the server's machine.
    pub fn on_server(&self, launch: Launch) -> Launch {
        launch.within(&["ip", "netns", "exec", &self.server.name])
    }

    /// Has `launch` run on the router, which is on the same network as the client.
    pub fn on_router(&self, launch: Launch) -> Launch {
        launch.within(&["ip", "netns", "exec", &self.router.name])
    }

    /// From now on the router lets no UDP pass.
    pub fn block_udp(&self, fate: Fate) {
        let action = match fate {
            Fate::Blackhole => "blackhole",
            Fate::Prohibit => "prohibit",
        };
        self.router.must(&["rule", "add", "pref", "100", "ipproto", "udp", action]);
    }

    /// From now on it does again.
    pub fn unblock_udp(&self) {
        self.router.must(&["rule", "del", "pref", "100"]);
    }

    /// From now on the router lets nothing pass, without a word, or everything again.
    pub fn block(&self, blocked: bool) {
        match blocked {
            true => self.router.must(&["rule", "add", "pref", "99", "blackhole"]),
            false => self.router.must(&["rule", "del", "pref", "99"]),
        }
    }

    /// Gives the client another address and takes the one that it had, as when it changes its network.
    pub fn move_client(&self) {
        self.client.must(&["addr", "add", "10.78.1.2/24", "dev", "near"]);
        self.client.must(&["route", "replace", "default", "via", "10.78.1.254", "src", "10.78.1.2"]);
        self.client.must(&["addr", "del", "10.78.1.1/24", "dev", "near"]);
        // With the first address went what depended on it.
        let _ = self.client.ip(&["addr", "add", "10.78.1.2/24", "dev", "near"]);
        let _ = self.client.ip(&["route", "add", "default", "via", "10.78.1.254"]);
    }

    /// Takes the client's network away.
    pub fn unplug_client(&self) {
        self.client.must(&["link", "set", "near", "down"]);
    }

    /// Gives it back.
    pub fn plug_client(&self) {
        self.client.must(&["link", "set", "near", "up"]);
        self.client.must(&["route", "add", "default", "via", "10.78.1.254"]);
    }
}

struct Namespace {
    name: String,
}

impl Namespace {
    fn new(role: &str) -> Result<Self, String> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("astest-{}-{number}-{role}", std::process::id());
        command("ip", &["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    /// Lays a cable that is called `cable` at both ends.
    fn join(&self, router: &Namespace, cable: &str, ours: &str, theirs: &str) -> Result<(), String> {
        let cable_to = ["link", "add", cable, "type", "veth", "peer", "name", cable, "netns", &router.name];
        self.ip(&cable_to)?;
        for (end, address) in [(self, ours), (router, theirs)] {
            end.ip(&["addr", "add", address, "dev", cable])?;
            end.ip(&["link", "set", cable, "up"])?;
        }
        Ok(())
    }

    #[track_caller]
    fn must(&self, arguments: &[&str]) {
        self.ip(arguments).unwrap_or_else(|why| panic!("{why}"));
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), String> {
        command("ip", &[&["-n", &self.name], arguments].concat())
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        command("ip", &[&["netns", "exec", &self.name], arguments].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = command("ip", &["netns", "del", &self.name]);
    }
}

fn command(program: &str, arguments: &[&str]) -> Result<(), String> {
    if !Path::new("/proc/self/ns/net").exists() {
        return Err("this system has none".into());
    }
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
    }
}
