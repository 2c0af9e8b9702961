//! The configuration file: tables of settings, each with the place where it stands.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::error::{Error, plain};

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct File {
    path: PathBuf,
    text: String,
    pub tables: Vec<Table>,
}

/// The settings of one command, of all users or of a preset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub preset: Option<String>,
    /// `server` or `client`.
    pub command: String,
    pub settings: Vec<Setting>,
}

/// `name = value`, the value as it would be written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: String,
    pub value: String,
    pub name_at: Range<usize>,
    pub value_at: Range<usize>,
}

/// The commands that have settings.
pub const COMMANDS: [&str; 2] = ["server", "client"];

impl File {
    /// Reads the file of that name; or where none is named, that of this user, which need not be.
    pub fn read(named: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = named.map(Path::to_owned).or_else(usual) else { return Ok(Self::default()) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::parse(path, text),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(why) => Err(Error::ConfigFile { path: path.display().to_string(), why: plain(&why) }),
        }
    }

    fn parse(path: PathBuf, text: String) -> Result<Self, Error> {
        let mut file = Self { path, text, tables: Vec::new() };
        let text = file.text.clone();
        let root =
            DeTable::parse(&text).map_err(|error| file.wrong(error.span().unwrap_or_default(), error.message()))?;
        for (name, value) in root.get_ref() {
            let DeValue::Table(table) = value.get_ref() else {
                return Err(file.wrong(name.span(), "settings stand in a table: [server] or [client]"));
            };
            match name.get_ref().as_ref() {
                "preset" => {
                    for (name, value) in table {
                        let DeValue::Table(commands) = value.get_ref() else {
                            return Err(file.wrong(
                                name.span(),
                                "a preset has tables: [preset.NAME.server] or [preset.NAME.client]",
                            ));
                        };
                        for (command, value) in commands {
                            file.add(Some(name.get_ref().as_ref()), command, value)?;
                        }
                    }
                }
                _ => file.add(None, name, value)?,
            }
        }
        Ok(file)
    }

    fn add(
        &mut self,
        preset: Option<&str>,
        command: &toml::Spanned<toml::de::DeString<'_>>,
        value: &toml::Spanned<DeValue<'_>>,
    ) -> Result<(), Error> {
        let known = COMMANDS.contains(&command.get_ref().as_ref());
        let (true, DeValue::Table(table)) = (known, value.get_ref()) else {
            return Err(self.wrong(command.span(), "there are [server], [client] and [preset.NAME.server or .client]"));
        };
        let settings = table.iter().map(|(name, value)| self.setting(name, value)).collect::<Result<_, _>>()?;
        let (preset, command) = (preset.map(str::to_owned), command.get_ref().as_ref().to_owned());
        self.tables.push(Table { preset, command, settings });
        Ok(())
    }

    fn setting(
        &self,
        name: &toml::Spanned<toml::de::DeString<'_>>,
        value: &toml::Spanned<DeValue<'_>>,
    ) -> Result<Setting, Error> {
        let text = match value.get_ref() {
            DeValue::String(text) => text.as_ref().to_owned(),
            DeValue::Boolean(is) => is.to_string(),
            DeValue::Integer(_) | DeValue::Float(_) => self.text[value.span()].replace('_', ""),
            _ => return Err(self.wrong(value.span(), "a string, a number, true or false")),
        };
        Ok(Setting {
            name: name.get_ref().as_ref().to_owned(),
            value: text,
            name_at: name.span(),
            value_at: value.span(),
        })
    }

    /// What is wrong at a place of this file.
    pub fn wrong(&self, at: Range<usize>, what: impl Into<String>) -> Error {
        let (line, column) = self.place(at.start);
        Error::Config { path: self.path.display().to_string(), line, column, what: what.into() }
    }

    /// Line and column, from 1.
    pub fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// Where it is; nowhere, where there is none.
    pub fn path(&self) -> Option<&Path> {
        Some(&*self.path).filter(|path| !path.as_os_str().is_empty())
    }
}

/// `$XDG_CONFIG_HOME/audiostreamer/config.toml`, by default in `~/.config`.
pub fn usual() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
    Some(home.join("audiostreamer/config.toml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<File, String> {
        File::parse("my.toml".into(), text.into()).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_are_as_on_the_command_line() {
        let file = parsed(
            "[server]\nlatency = \"12ms\"\nmax-clients = 4\nopen = true\n[preset.stage.client]\nrate = 48_000\n",
        )
        .unwrap();
        let table = |preset| file.tables.iter().find(|table| table.preset.as_deref() == preset).unwrap();
        let values = |preset| table(preset).settings.iter().map(|setting| &*setting.value).collect::<Vec<_>>();
        assert_eq!(values(None), ["12ms", "4", "true"]);
        assert_eq!(values(Some("stage")), ["48000"]);
        assert_eq!(file.place(table(None).settings[1].value_at.start), (3, 15));
    }

    #[test]
    fn what_is_wrong_has_a_place() {
        for (text, place) in [
            ("[server]\nlatency = \n", "my.toml:2:"),
            ("latency = 1\n", "my.toml:1:1: "),
            ("[sever]\n", "my.toml:1:2: "),
            ("[server]\n\n  gain = [1]\n", "my.toml:3:10: "),
            ("[preset]\nstage = 1\n", "my.toml:2:1: "),
            ("[preset.stage.both]\n", "my.toml:1:15: "),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with(place), "{error}");
        }
    }
}
