//! `audiostreamer identity` and `audiostreamer invite`.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::values;
use crate::clock;
use crate::error::Error;
use crate::link::DEFAULT_PORT;
use crate::server::Encryption;
use crate::trust::{AccessList, Identity, Invite, Listed, Pairing, State, own_address, qr_code};

/// How long an invite holds when nothing is said: long enough to be sent to somebody.
pub const EXPIRES: &str = "24h";

/// `audiostreamer identity`.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// As JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// `audiostreamer invite`.
#[derive(Debug, Args)]
pub struct InviteArgs {
    /// What it is called in the list
    #[arg(long, value_name = "NAME", default_value = "guest", value_parser = values::name)]
    pub name: String,
    /// How long it holds: 30m, 24h, 7d or never. Who has come with it stays on the list
    #[arg(long, value_name = "TIME", default_value = EXPIRES, value_parser = values::expiry)]
    pub expires: Validity,
    /// Where clients find this server [default: this machine's address, port 5004]
    #[arg(long, value_name = "HOST[:PORT]", value_parser = |text: &str| values::host_port(text, DEFAULT_PORT))]
    pub host: Option<(String, u16)>,
    /// Show who may play here
    #[arg(long, conflicts_with_all = ["revoke", "name", "expires", "host"])]
    pub list: bool,
    /// Take back the invites of that name, and shut out who came with them
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "expires", "host"])]
    pub revoke: Option<String>,
}

/// `audiostreamer pair`.
#[derive(Debug, Args)]
pub struct PairArgs {
    /// What the client is called in the list
    #[arg(long, value_name = "NAME", default_value = "paired", value_parser = values::name)]
    pub name: String,
}

impl PairArgs {
    /// Makes a code.
    pub fn run(&self) -> Result<(), Error> {
        let code = Pairing::of(&State::open()?).begin(&self.name)?;
        eprintln!("audiostreamer: for ten minutes and three tries, at the other machine:");
        eprintln!("audiostreamer:   audiostreamer client {} --code {code}", own_host());
        print(&format!("{code}\n"))
    }
}

/// How long an invite holds, if not for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity(pub Option<Duration>);

impl IdentityArgs {
    /// Shows this machine's key.
    pub fn run(&self) -> Result<(), Error> {
        let fingerprint = Identity::load_or_make(&State::open()?)?.fingerprint();
        let text = match self.json {
            true => serde_json::json!({ "fingerprint": fingerprint.to_string() }).to_string(),
            false => fingerprint.to_string(),
        };
        print(&format!("{text}\n"))
    }
}

impl InviteArgs {
    /// Makes an invite, or does what was asked for instead.
    pub fn run(&self) -> Result<(), Error> {
        let state = State::open()?;
        let list = AccessList::of(&state);
        if self.list {
            let entries = list.entries()?;
            if entries.is_empty() {
                eprintln!("audiostreamer: nobody is on the list, and no invite is open");
            }
            return print(&table(&entries, clock::unix_seconds()));
        }
        if let Some(name) = &self.revoke {
            let (invites, clients) = list.revoke(name)?;
            let (invites, clients) = (count(invites, "invite", "invites"), count(clients, "client", "clients"));
            eprintln!("audiostreamer: {name}: {invites} revoked, {clients} shut out");
            return Ok(());
        }
        let (host, port) = self.host.clone().unwrap_or_else(|| (own_host(), DEFAULT_PORT));
        let key = Identity::load_or_make(&state)?.fingerprint();
        let token = list.invite(&self.name, self.expires.0)?;
        let invite = Invite { host, port, key, token };
        print(&format!("{invite}\n{}", picture(&invite, &io::stdout())))
    }
}

/// Tells the user of a server that is about to start who may play. Where nobody may yet and
/// somebody reads it, that is an invite; never in a log, where a token has no business. Returns whether
/// there is one to be read.
pub fn welcome(encryption: &Encryption, listen: SocketAddr) -> Result<bool, Error> {
    let Encryption { gate, .. } = encryption;
    if gate.open {
        eprintln!("audiostreamer: open to everybody who reaches this port (--open)");
        return Ok(false);
    }
    let Some(list) = &gate.list else { return Ok(false) };
    let entries = list.entries()?;
    let now = clock::unix_seconds();
    let clients = entries.iter().filter(|entry| matches!(entry, Listed::Client { .. })).count();
    let invites = entries.iter().filter(|entry| entry.is_valid(now)).count() - clients;
    // Where any free port will do, it is not known yet.
    let invites_somebody = clients == 0 && io::stderr().is_terminal() && listen.port() != 0;
    if invites_somebody {
        let host = if listen.ip().is_unspecified() { own_host() } else { listen.ip().to_string() };
        let token = list.invite("first", Some(FIRST_HOLDS))?;
        let invite = Invite { host, port: listen.port(), key: gate.own, token };
        eprintln!("{}", picture(&invite, &io::stderr())); // which is higher than many a terminal
        eprintln!("Whoever is to play here says, within a day (`audiostreamer invite` makes more of these):");
        eprintln!("\n  audiostreamer client \"{invite}\"\n");
    } else {
        eprintln!(
            "audiostreamer: may play here: this user, {}, {} (`audiostreamer invite` lets somebody in)",
            count(clients, "client on the list", "clients on the list"),
            count(invites, "open invite", "open invites"),
        );
    }
    Ok(invites_somebody)
}

const FIRST_HOLDS: Duration = Duration::from_secs(24 * 3600);

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// For a terminal, and nothing for anything else.
fn picture(invite: &Invite, out: &impl IsTerminal) -> String {
    out.is_terminal().then(|| qr_code(&invite.to_string())).flatten().unwrap_or_default()
}

/// This machine's address, or that of its own inside where it has no other.
fn own_host() -> String {
    own_address().map_or("127.0.0.1".into(), |address| address.to_string())
}

fn table(entries: &[Listed], now: u64) -> String {
    let line = |entry: &Listed| {
        let what = match entry {
            Listed::Client { key, .. } => format!("client, key {key}"),
            Listed::Invite { expires: None, .. } => "invite without end".into(),
            Listed::Invite { expires: Some(end), .. } if *end <= now => "invite, expired".into(),
            Listed::Invite { expires: Some(end), .. } => format!("invite, {} left", roughly(end - now)),
            Listed::Revoked { .. } => "invite, revoked".into(),
        };
        format!("{:<16} {what}\n", entry.name())
    };
    entries.iter().map(line).collect()
}

fn roughly(seconds: u64) -> String {
    match seconds {
        0..7_200 => format!("{} min", seconds.div_ceil(60)),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn print(text: &str) -> Result<(), Error> {
    io::stdout().write_all(text.as_bytes()).map_err(Error::Stdout)
}
