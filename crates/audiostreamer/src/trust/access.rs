//! Who may play on this server: tokens that were given away, and the keys that came with them.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use super::state::damaged;
use super::{Code, Error, Fingerprint, Pairing, State, Token};
use crate::clock;
use crate::link::control::Refusal;

const FILE: &str = "access";

const HEADER: &str = "# Who may play on this server; `audiostreamer invite --list` and --revoke are for it.\n\
                      # client NAME KEY | invite NAME HASH EXPIRES | revoked NAME HASH EXPIRES\n";

/// Invites that are kept at the most, used up ones among them; the oldest make room.
const INVITES_MAX: usize = 256;

/// How long an invite is remembered after its end, to be able to say why it is refused.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// The list, a file with a line for each entry. Other programs may change it at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessList {
    state: State,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Listed {
    /// This key is let in.
    Client { name: String, key: Fingerprint },
    /// Whoever shows the token of that hash is let in, and on the list from then on.
    Invite { name: String, hash: Fingerprint, expires: Expiry },
    /// An invite that holds no longer.
    Revoked { name: String, hash: Fingerprint, expires: Expiry },
}

/// What tells one state of the list from the next: two within a tick of the disk's clock are two
/// files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    modified: SystemTime,
    file: u64,
}

/// When an invite ends, in seconds since 1970; `None` is never.
pub type Expiry = Option<u64>;

/// Why somebody is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The server's own key: the same user on the same machine.
    Own,
    /// A key on the list, by its name there.
    Listed(String),
    /// A token, and so from now on a key on the list.
    Invited(String),
    /// Anybody is.
    Open,
}

impl AccessList {
    /// The one in that folder; it need not be there yet.
    pub fn of(state: &State) -> Self {
        Self { state: state.clone() }
    }

    /// All entries, in the order in which they came.
    pub fn entries(&self) -> Result<Vec<Listed>, Error> {
        self.parse(&self.state.read(FILE)?.unwrap_or_default())
    }

    /// Another one after each change; `None` while there is no list.
    pub fn version(&self) -> Option<Version> {
        let file = std::fs::metadata(self.state.path(FILE)).ok()?;
        Some(Version { modified: file.modified().ok()?, file: file.ino() })
    }

    /// Makes an invite.
    pub fn invite(&self, name: &str, valid: Option<Duration>) -> Result<Token, Error> {
        let token = Token::random()?;
        let expires = valid.map(|valid| clock::unix_seconds() + valid.as_secs());
        self.change(|entries| {
            entries.push(Listed::Invite { name: name.into(), hash: token.hash(), expires });
            Ok(())
        })?;
        Ok(token)
    }

    /// Takes back the invites of that name, and shuts out the clients that came with them. How many
    /// of each.
    pub fn revoke(&self, name: &str) -> Result<(usize, usize), Error> {
        self.change(|entries| {
            let before = entries.len();
            entries.retain(|entry| !matches!(entry, Listed::Client { name: theirs, .. } if theirs == name));
            let clients = before - entries.len();
            let mut invites = 0;
            for entry in entries {
                if let Listed::Invite { name: theirs, hash, expires } = entry
                    && theirs == name
                {
                    *entry = Listed::Revoked { name: name.into(), hash: *hash, expires: *expires };
                    invites += 1;
                }
            }
            match invites + clients {
                0 => Err(Error::NoSuchName { name: name.into() }),
                _ => Ok((invites, clients)),
            }
        })
    }

    /// The code for one guess of who wants to be paired, and what to call him.
    pub(crate) fn take_code(&self) -> Result<Option<(Code, String)>, Error> {
        Pairing::of(&self.state).take()
    }

    /// Puts the key of who knew the code on the list. The code is used up.
    pub(crate) fn pair(&self, name: &str, key: Fingerprint) -> Result<(), Error> {
        Pairing::of(&self.state).end()?;
        self.add_client(name, key)
    }

    /// Puts the key of who came with an invite on the list.
    fn add_client(&self, name: &str, key: Fingerprint) -> Result<(), Error> {
        self.change(|entries| {
            if !entries.iter().any(|entry| entry.is_key(key)) {
                entries.push(Listed::Client { name: name.into(), key });
            }
            Ok(())
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut Vec<Listed>) -> Result<T, Error>) -> Result<T, Error> {
        self.state.update(FILE, |text| {
            let mut entries = self.parse(&text.unwrap_or_default())?;
            let result = change(&mut entries)?;
            forget(&mut entries, clock::unix_seconds());
            let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
            Ok((format!("{HEADER}{lines}"), result))
        })
    }

    fn parse(&self, text: &str) -> Result<Vec<Listed>, Error> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let entry = |(index, line)| {
            let why = "neither client NAME KEY nor invite NAME HASH EXPIRES";
            Listed::parse(line).ok_or_else(|| damaged(&self.state.path(FILE), Some(index + 1), why))
        };
        lines.map(entry).collect()
    }
}

/// Lets go of invites that ended long ago, and of the oldest ones when there are too many.
fn forget(entries: &mut Vec<Listed>, now: u64) {
    let remembered = |expires: &Expiry| expires.is_none_or(|end| end + REMEMBERED.as_secs() > now);
    let mut spare = entries.iter().filter(|entry| !entry.is_client()).count().saturating_sub(INVITES_MAX);
    entries.retain(|entry| match entry {
        Listed::Client { .. } => true,
        Listed::Invite { expires, .. } | Listed::Revoked { expires, .. } => {
            let keep = remembered(expires) && spare == 0;
            spare = spare.saturating_sub(1);
            keep
        }
    });
}

impl Listed {
    /// What it is called.
    pub fn name(&self) -> &str {
        match self {
            Listed::Client { name, .. } | Listed::Invite { name, .. } | Listed::Revoked { name, .. } => name,
        }
    }

    /// Whether somebody may play because of it.
    pub fn is_valid(&self, now: u64) -> bool {
        match self {
            Listed::Client { .. } => true,
            Listed::Invite { expires, .. } => expires.is_none_or(|end| now < end),
            Listed::Revoked { .. } => false,
        }
    }

    fn is_client(&self) -> bool {
        matches!(self, Listed::Client { .. })
    }

    fn parse(line: &str) -> Option<Listed> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let expires = |text: &str| if text == "never" { Some(None) } else { text.parse().ok().map(Some) };
        match words[..] {
            ["client", name, key] => Some(Listed::Client { name: name.into(), key: key.parse().ok()? }),
            ["invite", name, hash, end] => {
                Some(Listed::Invite { name: name.into(), hash: hash.parse().ok()?, expires: expires(end)? })
            }
            ["revoked", name, hash, end] => {
                Some(Listed::Revoked { name: name.into(), hash: hash.parse().ok()?, expires: expires(end)? })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |expires: &Expiry| expires.map_or("never".into(), |end| end.to_string());
        match self {
            Listed::Client { name, key } => write!(f, "client {name} {}", key.compact()),
            Listed::Invite { name, hash, expires } => {
                write!(f, "invite {name} {} {}", hash.compact(), end(expires))
            }
            Listed::Revoked { name, hash, expires } => {
                write!(f, "revoked {name} {} {}", hash.compact(), end(expires))
            }
        }
    }
}

/// Decides who may play. It reads files: not for the runtime's own thread.
#[derive(Clone, Debug)]
pub struct Gate {
    /// The server's own key is always let in: whoever has it is the server's user.
    pub own: Fingerprint,
    /// Who else is.
    pub list: Option<AccessList>,
    /// Whether everybody is.
    pub open: bool,
}

impl Gate {
    /// Decides on a peer that has shown to have `key`. A valid token puts its key on the list.
    ///
    /// A list that can't be read lets nobody new in; the error says why.
    pub fn admit(&self, key: Fingerprint, token: Option<&Token>) -> Result<Result<Admission, Refusal>, Error> {
        if key == self.own {
            return Ok(Ok(Admission::Own));
        }
        let admission = match &self.list {
            Some(list) => admit_listed(list, key, token)?,
            None => Err(Refusal::UnknownKey),
        };
        Ok(match admission {
            Err(_) if self.open => Ok(Admission::Open),
            admission => admission,
        })
    }

    /// Whether a peer that was let in may stay.
    pub fn keeps(&self, key: Fingerprint, entries: &[Listed]) -> bool {
        self.open || key == self.own || entries.iter().any(|entry| entry.is_key(key))
    }
}

fn admit_listed(
    list: &AccessList,
    key: Fingerprint,
    token: Option<&Token>,
) -> Result<Result<Admission, Refusal>, Error> {
    let entries = list.entries()?;
    if let Some(listed) = entries.iter().find(|entry| entry.is_key(key)) {
        return Ok(Ok(Admission::Listed(listed.name().into())));
    }
    let Some(token) = token else { return Ok(Err(Refusal::UnknownKey)) };
    let name = match token_name(&entries, token, clock::unix_seconds()) {
        Ok(name) => name,
        Err(refusal) => return Ok(Err(refusal)),
    };
    list.add_client(&name, key)?;
    Ok(Ok(Admission::Invited(name)))
}

/// The name of a valid invite with that token, or why it is not valid.
fn token_name(entries: &[Listed], token: &Token, now: u64) -> Result<String, Refusal> {
    let wanted = token.hash();
    let found = entries.iter().find(|entry| match entry {
        Listed::Client { .. } => false,
        // Hashes of 128 random bits: how long a comparison takes tells nothing of use.
        Listed::Invite { hash, .. } | Listed::Revoked { hash, .. } => *hash == wanted,
    });
    match found {
        Some(Listed::Invite { name, expires: Some(end), .. }) if now >= *end => {
            tracing::debug!(name, "an invite that has expired");
            Err(Refusal::ExpiredToken)
        }
        Some(Listed::Invite { name, .. }) => Ok(name.clone()),
        Some(Listed::Revoked { .. }) => Err(Refusal::RevokedToken),
        _ => Err(Refusal::UnknownToken),
    }
}

impl Listed {
    fn is_key(&self, wanted: Fingerprint) -> bool {
        matches!(self, Listed::Client { key, .. } if *key == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::invite::token_of;
    use super::*;

    fn gate() -> (tempfile::TempDir, AccessList, Gate) {
        let home = tempfile::tempdir().unwrap();
        let list = AccessList::of(&State::at(home.path().into()).unwrap());
        let gate = Gate { own: Fingerprint::of(b"own"), list: Some(list.clone()), open: false };
        (home, list, gate)
    }

    fn key(name: &str) -> Fingerprint {
        Fingerprint::of(name.as_bytes())
    }

    #[test]
    fn a_token_lets_a_key_in_and_puts_it_on_the_list() {
        let (_home, list, gate) = gate();
        let token = list.invite("band", Some(Duration::from_secs(60))).unwrap();
        assert_eq!(gate.admit(key("drums"), None).unwrap(), Err(Refusal::UnknownKey));
        assert_eq!(gate.admit(key("drums"), Some(&token_of("other"))).unwrap(), Err(Refusal::UnknownToken));
        assert_eq!(gate.admit(key("drums"), Some(&token)).unwrap(), Ok(Admission::Invited("band".into())));
        assert_eq!(gate.admit(key("drums"), None).unwrap(), Ok(Admission::Listed("band".into())));
        assert_eq!(gate.admit(key("own"), None).unwrap(), Ok(Admission::Own));
    }

    #[test]
    fn an_invite_that_is_over_lets_nobody_in_but_those_who_came_with_it() {
        let (_home, list, gate) = gate();
        let token = list.invite("band", Some(Duration::ZERO)).unwrap();
        assert_eq!(gate.admit(key("drums"), Some(&token)).unwrap(), Err(Refusal::ExpiredToken));
    }

    #[test]
    fn revoking_shuts_out_the_token_and_the_keys_that_came_with_it() {
        let (_home, list, gate) = gate();
        let token = list.invite("band", None).unwrap();
        let other = list.invite("guests", None).unwrap();
        for (name, token) in [("drums", &token), ("bass", &token), ("guest", &other)] {
            gate.admit(key(name), Some(token)).unwrap().unwrap();
        }
        assert_eq!(list.revoke("band").unwrap(), (1, 2));
        assert_eq!(gate.admit(key("drums"), Some(&token)).unwrap(), Err(Refusal::RevokedToken));
        assert_eq!(gate.admit(key("bass"), None).unwrap(), Err(Refusal::UnknownKey));
        let entries = list.entries().unwrap();
        assert!(!gate.keeps(key("drums"), &entries) && gate.keeps(key("guest"), &entries));
        assert!(matches!(list.revoke("choir"), Err(Error::NoSuchName { .. })));
    }

    #[test]
    fn an_open_server_lets_everybody_in() {
        let (_home, _list, mut gate) = gate();
        gate.open = true;
        assert_eq!(gate.admit(key("anybody"), None).unwrap(), Ok(Admission::Open));
        gate.list = None;
        assert_eq!(gate.admit(key("anybody"), Some(&token_of("any"))).unwrap(), Ok(Admission::Open));
    }

    #[test]
    fn a_damaged_list_lets_nobody_new_in_and_stays_as_it_is() {
        let (home, list, gate) = gate();
        let path = home.path().join(FILE);
        std::fs::write(&path, "client band\n").unwrap();
        assert!(gate.admit(key("drums"), None).unwrap_err().to_string().contains("access line 1"));
        assert!(list.invite("band", None).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "client band\n");
    }

    #[test]
    fn old_invites_are_forgotten_and_keys_are_not() {
        let long_ago = Some(1_000);
        let entry = |index: u32, expires| Listed::Invite {
            name: index.to_string(),
            hash: token_of(&index.to_string()).hash(),
            expires,
        };
        let mut entries = vec![Listed::Client { name: "band".into(), key: key("drums") }, entry(0, long_ago)];
        entries.extend((1..300).map(|index| entry(index, None)));
        forget(&mut entries, clock::unix_seconds());
        assert_eq!(entries.len(), INVITES_MAX + 1);
        assert!(entries[0].is_client());
        assert_eq!(entries[INVITES_MAX].name(), "299");
    }
}
