//! `audiostreamer discover`, and the client that was not told its server.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use clap::Args;

use super::{ServerArg, values};
use crate::discovery::{Browser, Found, Standing};
use crate::error::Error;
use crate::trust::{Fingerprint, Identity, KnownHosts, State};

/// `audiostreamer discover`.
#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// How long to listen
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = values::duration)]
    pub wait: Duration,
    /// As JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Answers take up to half a second, and questions are repeated after one.
const LISTEN: Duration = Duration::from_millis(1500);

/// A server, and what it is to us.
type Server = (Found, Standing);

impl DiscoverArgs {
    /// Listens, and lists what is there.
    pub fn run(&self) -> Result<(), Error> {
        let trust = Trust::open()?;
        let mut browser = Browser::start()?;
        browser.listen(self.wait);
        let servers = trust.judge(browser.found())?;
        let text = match self.json {
            true => format!("{:#}\n", serde_json::Value::from_iter(servers.iter().map(json))),
            false => table(&servers),
        };
        io::stdout().write_all(text.as_bytes()).map_err(Error::Stdout)?;
        if servers.is_empty() {
            eprintln!("audiostreamer: {NONE}");
        }
        Ok(())
    }
}

const NONE: &str = "no server announces itself on this network. One is announced where `audiostreamer server` runs \
                    with encryption and without --no-announce, and where nothing on the way (a guest network, a \
                    firewall for UDP port 5353, another subnet) keeps multicast DNS from it";

/// Finds a server for a client that was not told one, and waits for it unless it must not.
pub fn choose(no_wait: bool, may_ask: bool, has_code: bool) -> Result<ServerArg, Error> {
    let trust = Trust::open()?;
    let mut browser = Browser::start()?;
    let mut told = false;
    loop {
        browser.listen(LISTEN);
        let servers = trust.judge(browser.found())?;
        match decide(&servers, may_ask, has_code) {
            Decision::Take(index) => {
                eprintln!("audiostreamer: found {}", in_words(&servers[index]));
                return Ok(chosen(&servers[index]));
            }
            Decision::Ask => {
                if let Some(index) = ask(&servers)? {
                    return Ok(chosen(&servers[index]));
                }
            }
            Decision::Name => return Err(Error::Usage(which(&servers))),
            Decision::Wait if no_wait => return Err(Error::NobodyFound(NONE.into())),
            Decision::Wait => {
                if !std::mem::replace(&mut told, true) {
                    eprintln!("audiostreamer: waiting for a server: none announces itself on this network yet");
                }
            }
        }
    }
}

/// What to do about what has been found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Take(usize),
    Ask,
    /// The user has to name one.
    Name,
    Wait,
}

/// Connects by itself only to whom it knows: anybody can call himself anything. Where nobody can be
/// asked, a stranger's announcement does not keep it from the one that it knows.
fn decide(servers: &[Server], may_ask: bool, has_code: bool) -> Decision {
    let vouched = |(_, (_, standing)): &(usize, &Server)| *standing != Standing::New || has_code;
    let mut known = servers.iter().enumerate().filter(vouched);
    match (known.next(), known.next()) {
        _ if servers.is_empty() => Decision::Wait,
        (Some((index, _)), None) if servers.len() == 1 || !may_ask => Decision::Take(index),
        _ if may_ask => Decision::Ask,
        _ => Decision::Name,
    }
}

/// Has the user choose; `None` where he wants to look again.
fn ask(servers: &[Server]) -> Result<Option<usize>, Error> {
    let mut terminal = io::stderr();
    let _ = write!(terminal, "{}Which one? A number, or Enter to look again: ", table(servers));
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(1..) => {}
        _ => return Err(Error::Usage(which(servers))),
    }
    let number: Option<usize> = line.trim().parse().ok();
    Ok(number.filter(|number| (1..=servers.len()).contains(number)).map(|number| number - 1))
}

/// Whether somebody sits there who can be asked.
pub fn somebody_is_there() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn which(servers: &[Server]) -> String {
    let lines: Vec<String> = servers.iter().map(|server| format!("\n  {}", in_words(server))).collect();
    format!(
        "say which server, as in `audiostreamer client {}`; these announce themselves:{}",
        servers.first().map(|(found, _)| found.address()).unwrap_or_default(),
        lines.concat()
    )
}

/// Whom we know has to be who he says.
fn chosen((found, standing): &Server) -> ServerArg {
    let (host, port) = (found.host().to_owned(), found.port);
    match standing {
        Standing::New => ServerArg::Host(host, port),
        Standing::Own | Standing::Known(_) => ServerArg::Found(host, port, found.key),
    }
}

fn in_words((found, standing): &Server) -> String {
    format!("{} at {}, {}", found.name, found.address(), relation(found, standing))
}

fn relation(found: &Found, standing: &Standing) -> String {
    match standing {
        Standing::Own => "this user's own".into(),
        Standing::Known(name) => format!("known as {name}"),
        Standing::New => format!("new here, with the key {}", found.key),
    }
}

fn table(servers: &[Server]) -> String {
    let mut text = String::new();
    for (number, (found, standing)) in servers.iter().enumerate() {
        let (name, address) = (&found.name, found.address());
        let _ = writeln!(text, "{:>3}  {name:<16} {address:<22} {}", number + 1, relation(found, standing));
    }
    text
}

fn json((found, standing): &Server) -> serde_json::Value {
    let known_as = if let Standing::Known(name) = standing { Some(name) } else { None };
    let transports: Vec<&str> =
        [("udp", found.udp), ("tcp", found.tcp)].iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    serde_json::json!({
        "name": found.name, "addresses": found.addresses, "port": found.port, "transports": transports,
        "key": found.key.to_string(), "own": *standing == Standing::Own, "knownAs": known_as,
    })
}

/// Whom this machine knows.
struct Trust {
    own: Fingerprint,
    known: KnownHosts,
}

impl Trust {
    fn open() -> Result<Self, Error> {
        let state = State::open()?;
        Ok(Self { own: Identity::load_or_make(&state)?.fingerprint(), known: KnownHosts::of(&state) })
    }

    fn judge(&self, found: Vec<Found>) -> Result<Vec<Server>, Error> {
        let judged = |found: Found| Ok((found.standing(self.own, &self.known)?, found));
        found.into_iter().map(|found| judged(found).map(|(standing, found)| (found, standing))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Transport;

    fn server(name: &str, standing: Standing) -> Server {
        let key = Fingerprint::of(name.as_bytes()).compact();
        let fullname = format!("{name}._audiostreamer._udp.local.");
        let found = Found::new(&fullname, vec!["10.0.0.1".into()], 5004, Some(key.as_bytes()), Transport::Udp);
        (found.unwrap(), standing)
    }

    fn known(name: &str) -> Server {
        server(name, Standing::Known(format!("{name}:5004")))
    }

    fn stranger(name: &str) -> Server {
        server(name, Standing::New)
    }

    #[test]
    fn only_a_server_that_is_known_is_connected_to_without_a_word() {
        let alone = |servers: &[Server]| decide(servers, false, false);
        assert_eq!(alone(&[]), Decision::Wait);
        assert_eq!(alone(&[known("a")]), Decision::Take(0));
        assert_eq!(alone(&[stranger("a")]), Decision::Name);
        assert_eq!(alone(&[stranger("b"), known("a")]), Decision::Take(1), "a stranger is in nobody's way");
        assert_eq!(alone(&[known("a"), known("b")]), Decision::Name);
        let asked = |servers: &[Server]| decide(servers, true, false);
        assert_eq!(asked(&[known("a")]), Decision::Take(0));
        assert_eq!(asked(&[stranger("a")]), Decision::Ask);
        assert_eq!(asked(&[stranger("b"), known("a")]), Decision::Ask);
        assert_eq!(decide(&[stranger("a")], false, true), Decision::Take(0), "the code will tell who it is");
    }

    #[test]
    fn a_known_server_must_have_the_key_that_it_announces() {
        assert_eq!(chosen(&known("a")), ServerArg::Found("10.0.0.1".into(), 5004, known("a").0.key));
        let new = ServerArg::Host("10.0.0.1".into(), 5004);
        assert_eq!(chosen(&stranger("a")), new, "it is met as any server is for the first time");
    }
}
