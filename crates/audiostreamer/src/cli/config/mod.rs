//! Where settings come from: the command line, else the environment, else a preset or the tables of
//! the configuration file, else what the program thinks best.
//!
//! What the file says becomes the default of the option: so clap itself sees to the order, to what
//! may be left out, and to the values.

mod file;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Subcommand};

use super::Cli;
use crate::error::Error;
use file::{COMMANDS, File, Setting, Table};

/// Where settings are read from, the same on both sides.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Read settings from this file rather than from ~/.config/audiostreamer/config.toml
    #[arg(long, value_name = "FILE", env = "AUDIOSTREAMER_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
    /// Take the settings of that name, too: [preset.NAME.server] and [preset.NAME.client] of the file
    #[arg(long, value_name = "NAME", env = "AUDIOSTREAMER_PRESET", hide_env = true)]
    pub preset: Option<String>,
}

/// `audiostreamer config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print all settings as they are in effect, in the file's own format
    Show(ConfigArgs),
}

/// Options that are about one start of the program and are no settings.
const NO_SETTINGS: [&str; 4] = ["help", "version", "config", "preset"];

/// A positional argument has no name of its own on the command line; in the file it is called so.
const HOST: (&str, &str) = ("servers", "host");

/// Reads the command line, with the file under it. What clap has to say it says itself, and ends.
pub fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Cli, Error> {
    let arguments: Vec<OsString> = arguments.collect();
    let command = match named(&arguments) {
        Some((config, preset)) => configured(&File::read(config.as_deref())?, preset.as_deref())?,
        None => with_environment(Cli::command()),
    };
    let matches = command.try_get_matches_from(arguments).unwrap_or_else(|error| error.exit());
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// The file and the preset that are named, before it can be said whether all the rest is right.
/// `None` where it is help that is asked for, or something that has no settings.
fn named(arguments: &[OsString]) -> Option<(Option<PathBuf>, Option<String>)> {
    let lenient = with_environment(Cli::command()).ignore_errors(true);
    let matches = lenient.try_get_matches_from(arguments).ok()?;
    let (_, matches) = matches.subcommand().filter(|(name, _)| COMMANDS.contains(name))?;
    Some((matches.get_one("config").cloned(), matches.get_one("preset").cloned()))
}

/// The command line with the file's settings as its defaults.
fn configured(file: &File, preset: Option<&str>) -> Result<Command, Error> {
    let mut command = with_environment(Cli::command());
    for table in &file.tables {
        check(file, table, &command)?;
    }
    if let Some(preset) = preset
        && !file.tables.iter().any(|table| table.preset.as_deref() == Some(preset))
    {
        let path = file.path().map(|path| path.display().to_string());
        let path = path.or_else(|| file::usual().map(|path| path.display().to_string())).unwrap_or_default();
        return Err(Error::Usage(format!(
            "--preset {preset}: there is no [preset.{preset}.server or .client] in {path}"
        )));
    }
    // A preset comes after what holds for all, and so over it.
    for wanted in [None, preset].iter().take(1 + usize::from(preset.is_some())) {
        for table in file.tables.iter().filter(|table| table.preset.as_deref() == *wanted) {
            command = command.mut_subcommand(&table.command, |command| with_defaults(command, &table.settings));
        }
    }
    Ok(command)
}

fn with_defaults(command: Command, settings: &[Setting]) -> Command {
    settings.iter().fold(command, |command, setting| {
        command.mut_args(|argument| match name(&argument).as_deref() == Some(&setting.name) {
            true => argument.required(false).default_value(setting.value.clone()),
            false => argument,
        })
    })
}

/// Each setting can come from the environment: `--max-clients` as `AUDIOSTREAMER_MAX_CLIENTS`.
fn with_environment(command: Command) -> Command {
    COMMANDS.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |command| {
            command.mut_args(|argument| match self::name(&argument) {
                Some(name) => {
                    let variable = format!("AUDIOSTREAMER_{}", name.replace('-', "_").to_uppercase());
                    argument.env(variable).hide_env(true)
                }
                None => argument,
            })
        })
    })
}

/// What an argument is called in the file, where it is a setting.
fn name(argument: &Arg) -> Option<String> {
    if argument.get_id() == HOST.0 && argument.is_positional() {
        return Some(HOST.1.into());
    }
    argument.get_long().filter(|long| !NO_SETTINGS.contains(long)).map(str::to_owned)
}

/// Refuses what is no setting, and what is no value of one.
fn check(file: &File, table: &Table, command: &Command) -> Result<(), Error> {
    let Some(command) = command.find_subcommand(&table.command) else { return Ok(()) };
    for setting in &table.settings {
        let argument = command.get_arguments().find(|argument| name(argument).as_deref() == Some(&setting.name));
        let Some(argument) = argument else {
            let what = format!("{} has no setting {}; see `audiostreamer config show`", table.command, setting.name);
            return Err(file.wrong(setting.name_at.clone(), what));
        };
        // As if nothing but this were said.
        let alone = Command::new("alone").no_binary_name(true).arg(
            Arg::new(argument.get_id().clone())
                .long("setting")
                .action(match argument.get_action().takes_values() {
                    true => argument.get_action().clone(),
                    false => clap::ArgAction::Set,
                })
                .value_parser(argument.get_value_parser().clone())
                .value_delimiter(argument.get_value_delimiter())
                .allow_hyphen_values(true),
        );
        if let Err(error) = alone.try_get_matches_from([format!("--setting={}", setting.value)]) {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let what = first.replace(&format!(" for '--setting <{}>'", argument.get_id()), "");
            return Err(file.wrong(setting.value_at.clone(), format!("{}: {what}", setting.name)));
        }
    }
    Ok(())
}

impl ConfigCommand {
    /// Does it.
    pub fn run(&self) -> Result<(), Error> {
        let ConfigCommand::Show(args) = self;
        let file = File::read(args.config.as_deref())?;
        let command = configured(&file, args.preset.as_deref())?;
        let text = COMMANDS.map(|name| shown(&file, args.preset.as_deref(), &command, name)).join("\n");
        std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()).map_err(Error::Stdout)
    }
}

/// The settings of one command as a table of the file.
fn shown(file: &File, preset: Option<&str>, command: &Command, name: &str) -> String {
    let lenient = command.clone().mut_subcommand(name, |command| command.mut_args(|argument| argument.required(false)));
    let matches = match lenient.try_get_matches_from(["audiostreamer", name]) {
        Ok(matches) => matches,
        Err(error) => return format!("# {error}"), // of the environment
    };
    let (Some(matches), Some(command)) = (matches.subcommand_matches(name), command.find_subcommand(name)) else {
        return String::new();
    };
    let lines = command.get_arguments().filter_map(|argument| {
        let setting = self::name(argument)?;
        Some(line(argument, &setting, matches, said(file, preset, name, &setting).as_deref()))
    });
    format!("[{name}]\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

fn line(argument: &Arg, setting: &str, matches: &ArgMatches, said: Option<&str>) -> String {
    let id = argument.get_id().as_str();
    let values =
        |values: clap::parser::RawValues<'_>| values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(",");
    let value = matches.get_raw(id).map(values);
    let from = match (matches.value_source(id), said) {
        (Some(ValueSource::EnvVariable), _) => "the environment",
        (Some(ValueSource::DefaultValue), Some(place)) => place,
        _ => "default",
    };
    match value.filter(|_| argument.get_action().takes_values() || said.is_some() || from != "default") {
        None if argument.get_action().takes_values() => format!("# {setting} ="),
        None => format!(
            "{setting} = {} # default",
            matches!(argument.get_action(), clap::ArgAction::SetTrue).then_some("false").unwrap_or("0")
        ),
        Some(value) if value == "true" || value == "false" || value.parse::<f64>().is_ok_and(f64::is_finite) => {
            format!("{setting} = {value} # {from}")
        }
        // A TOML string that no escape can end (toml.io, "literal strings").
        Some(value) if !value.contains(['\'', '\n']) => format!("{setting} = '{value}' # {from}"),
        Some(value) => format!("{setting} = {value:?} # {from}"),
    }
}

/// Where the file says it: the preset's word counts last.
fn said(file: &File, preset: Option<&str>, command: &str, setting: &str) -> Option<String> {
    let holds =
        |table: &&Table| table.command == command && (table.preset.is_none() || table.preset.as_deref() == preset);
    let tables = file.tables.iter().filter(holds);
    let all = tables.flat_map(|table| table.settings.iter().map(move |setting| (table.preset.is_some(), setting)));
    let (_, last) = all.filter(|(_, known)| known.name == setting).max_by_key(|(of_preset, _)| *of_preset)?;
    Some(format!("line {}", file.place(last.name_at.start).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(values: &[(&str, &str)]) -> Vec<Setting> {
        let setting = |(name, value): &(&str, &str)| Setting {
            name: (*name).into(),
            value: (*value).into(),
            name_at: 0..0,
            value_at: 0..0,
        };
        values.iter().map(setting).collect()
    }

    fn file(preset: Option<&str>, command: &str, values: &[(&str, &str)]) -> File {
        let (preset, command) = (preset.map(str::to_owned), command.into());
        let mut file = File::default();
        file.tables.push(Table { preset, command, settings: settings(values) });
        file
    }

    fn server(file: &File, preset: Option<&str>, arguments: &[&str]) -> crate::cli::ServerArgs {
        let command = configured(file, preset).unwrap();
        let matches = command.try_get_matches_from([&["audiostreamer", "server"], arguments].concat()).unwrap();
        match Cli::from_arg_matches(&matches).unwrap().command {
            crate::cli::Command::Server(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_wins_over_a_preset_and_that_over_the_rest() {
        let mut file = file(None, "server", &[("max-clients", "4"), ("gain", "-3"), ("open", "true")]);
        file.tables.extend(self::file(Some("loud"), "server", &[("gain", "6")]).tables);
        let args = server(&file, None, &[]);
        assert_eq!((args.max_clients, args.gain, args.open), (4, -3.0, true));
        assert_eq!(server(&file, Some("loud"), &[]).gain, 6.0);
        assert_eq!(server(&file, Some("loud"), &["--gain=1"]).gain, 1.0);
        assert!(configured(&file, Some("quiet")).unwrap_err().to_string().contains("quiet"));
    }

    #[test]
    fn a_client_may_have_its_servers_in_the_file() {
        let file = file(None, "client", &[("host", "studio:6000,kitchen")]);
        let matches = configured(&file, None).unwrap().try_get_matches_from(["audiostreamer", "client"]).unwrap();
        let crate::cli::Command::Client(args) = Cli::from_arg_matches(&matches).unwrap().command else { panic!() };
        let host = |name: &str, port| crate::cli::ServerArg::Host(name.into(), port);
        assert_eq!(args.servers, [host("studio", 6000), host("kitchen", 5004)]);
    }

    #[test]
    fn what_is_no_setting_or_no_value_is_refused() {
        for (name, value, told) in [
            ("latencey", "12ms", "server has no setting latencey"),
            ("config", "x", "no setting config"),
            ("latency", "12", "latency: invalid value '12': auto, or a number with its unit"),
            ("open", "perhaps", "open: invalid value 'perhaps'"),
            ("max-clients", "1000", "max-clients: invalid value '1000'"),
        ] {
            let error = configured(&file(None, "server", &[(name, value)]), None).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        let file = file(None, "server", &[("latency", "12ms"), ("open", "true")]);
        let text = shown(&file, None, &configured(&file, None).unwrap(), "server");
        assert!(
            text.contains("latency = '12ms' # line 1\n") && text.contains("max-clients = 16 # default\n"),
            "{text}"
        );
        assert!(text.contains("open = true # line 1\n") && text.contains("plain = false # default\n"), "{text}");
        let table: toml::de::DeTable<'_> = toml::de::DeTable::parse(&text).unwrap().into_inner();
        assert!(table.contains_key("server"));
    }
}
