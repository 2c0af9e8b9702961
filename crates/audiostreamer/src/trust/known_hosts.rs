//! The keys of servers that this client has met.

use super::state::damaged;
use super::{Error, Fingerprint, State};

const FILE: &str = "known_hosts";

const HEADER: &str = "# The keys of servers: HOST:PORT FINGERPRINT. A line that is deleted is learnt anew.\n";

/// A file with a line for each server, `HOST:PORT FINGERPRINT`. Names are kept as the user wrote
/// them: what they resolve to may change, the key may not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownHosts {
    state: State,
}

impl KnownHosts {
    /// The one in that folder; it need not be there yet.
    pub fn of(state: &State) -> Self {
        Self { state: state.clone() }
    }

    /// Where it is, for messages.
    pub fn path(&self) -> String {
        self.state.path(FILE).display().to_string()
    }

    /// The key by which `peer` is known.
    pub fn find(&self, peer: &str) -> Result<Option<Fingerprint>, Error> {
        let text = self.state.read(FILE)?.unwrap_or_default();
        for entry in self.entries(&text) {
            let (known, fingerprint) = entry?;
            if known == peer {
                return Ok(Some(fingerprint));
            }
        }
        Ok(None)
    }

    /// The name under which that key was met, if it was.
    pub fn name_of(&self, key: Fingerprint) -> Result<Option<String>, Error> {
        let text = self.state.read(FILE)?.unwrap_or_default();
        for entry in self.entries(&text) {
            let (name, known) = entry?;
            if known == key {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }

    /// Remembers the key of `peer`, in place of another that it may have had.
    pub fn remember(&self, peer: &str, fingerprint: Fingerprint) -> Result<(), Error> {
        self.state.update(FILE, |text| {
            let text = text.unwrap_or_else(|| HEADER.into());
            self.entries(&text).try_for_each(|entry| entry.map(drop))?; // what is damaged stays as it is
            let others = text.lines().filter(|line| line.split_whitespace().next() != Some(peer));
            let mut lines: Vec<&str> = others.collect();
            let line = format!("{peer} {}", fingerprint.compact());
            lines.push(&line);
            Ok((lines.join("\n") + "\n", ()))
        })
    }

    fn entries<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Result<(&'a str, Fingerprint), Error>> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        lines.map(|(index, line)| {
            entry(line).ok_or_else(|| damaged(&self.state.path(FILE), Some(index + 1), "not HOST:PORT FINGERPRINT"))
        })
    }
}

fn entry(line: &str) -> Option<(&str, Fingerprint)> {
    let mut words = line.split_whitespace();
    let entry = (words.next()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_remembered_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        let hosts = KnownHosts::of(&State::at(home.path().into()).unwrap());
        let [one, two] = [b"one", b"two"].map(|key| Fingerprint::of(key));
        assert_eq!(hosts.find("studio:5004").unwrap(), None);
        hosts.remember("studio:5004", one).unwrap();
        hosts.remember("[::1]:5004", two).unwrap();
        assert_eq!(hosts.find("studio:5004").unwrap(), Some(one));
        hosts.remember("studio:5004", two).unwrap();
        assert_eq!(hosts.find("studio:5004").unwrap(), Some(two));
        assert_eq!(hosts.find("[::1]:5004").unwrap(), Some(two));
        assert_eq!(hosts.find("studio:5006").unwrap(), None);
    }

    #[test]
    fn a_damaged_line_is_named_and_nothing_is_overwritten() {
        let home = tempfile::tempdir().unwrap();
        let hosts = KnownHosts::of(&State::at(home.path().into()).unwrap());
        let text = "# mine\n\nstudio:5004 ABCD\n";
        std::fs::write(home.path().join(FILE), text).unwrap();
        let error = hosts.remember("other:5004", Fingerprint::of(b"key")).unwrap_err().to_string();
        assert!(error.contains("known_hosts line 3"), "{error}");
        assert!(hosts.find("studio:5004").is_err());
        assert_eq!(std::fs::read_to_string(home.path().join(FILE)).unwrap(), text);
    }
}
