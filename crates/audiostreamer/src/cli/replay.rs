//! `audiostreamer replay`: what would have been heard.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use audiostreamer_core::playout::{Latency, Profile};
use audiostreamer_core::replay::{Choice, Outcome, Replay, Replayed};
use audiostreamer_core::trace;
use clap::Args;
use serde::Serialize;

use super::server::ProfileArg;
use super::values;
use crate::device::{self, file_error::FileError};
use crate::error::Error;

/// `audiostreamer replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// What `audiostreamer server --trace FILE` has written
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// With this profile only [default: with each of them]
    #[arg(long, value_enum)]
    pub profile: Option<ProfileArg>,
    /// With this playout delay
    #[arg(long, value_name = "TIME", default_value = "auto", value_parser = values::latency)]
    pub latency: Latency,
    /// As JSON on stdout
    #[arg(long)]
    pub json: bool,
}

impl ReplayArgs {
    pub fn run(&self) -> Result<(), Error> {
        let runs = self.replay().map_err(device::Error::from)?;
        self.print(&runs).map_err(Error::Stdout)
    }

    fn replay(&self) -> Result<Vec<Replayed>, FileError> {
        let path = || self.file.clone();
        let bytes = std::fs::read(&self.file).map_err(|cause| FileError::Open { path: path(), cause })?;
        let lines = trace::lines(&bytes).ok_or_else(|| FileError::NotATrace { path: path() })?;
        let mut replay = Replay::new(self.choices());
        lines.for_each(|line| replay.handle(&line));
        Ok(replay.finish_all())
    }

    fn choices(&self) -> Vec<Choice> {
        let profiles = match (self.profile, self.latency) {
            (Some(profile), _) => vec![profile.into()],
            // Of a fixed delay the profile only says how it is kept.
            (None, Latency::Fixed(_)) => vec![Profile::default()],
            (None, Latency::Auto) => vec![Profile::Live, Profile::Talk, Profile::Listen, Profile::Hifi],
        };
        profiles.into_iter().map(|profile| Choice { latency: self.latency, profile }).collect()
    }

    fn print(&self, runs: &[Replayed]) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        if self.json {
            let runs = runs.iter().map(RunRow::from).collect();
            serde_json::to_writer_pretty(&mut stdout, &Table { version: 1, runs })?;
            return writeln!(stdout);
        }
        if runs.is_empty() {
            return writeln!(stdout, "nothing has arrived in this trace");
        }
        runs.iter().try_for_each(|run| write!(stdout, "{}", RunRow::from(run)))
    }
}

/// What `--json` prints. Fields may be added; another meaning is another version.
#[derive(Debug, Serialize)]
struct Table {
    version: u32,
    runs: Vec<RunRow>,
}

/// One run of a stream.
#[derive(Debug, Serialize)]
struct RunRow {
    stream: u64,
    format: String,
    seconds: f64,
    units: u64,
    was: Row,
    would_be: Vec<Row>,
}

/// How it was heard, or would have been.
#[derive(Debug, Serialize)]
struct Row {
    profile: String,
    latency: String,
    delay_p50_ms: Option<f64>,
    delay_p95_ms: Option<f64>,
    concealed_ms: f64,
    events: u64,
    late_units: u64,
    moves: u64,
}

impl From<&Replayed> for RunRow {
    fn from(run: &Replayed) -> Self {
        Self {
            stream: run.stream,
            format: run.format.to_string(),
            seconds: run.duration.as_secs_f64(),
            units: run.units,
            was: Row::from(&run.was),
            would_be: run.would_be.iter().map(Row::from).collect(),
        }
    }
}

impl From<&Outcome> for Row {
    fn from(outcome: &Outcome) -> Self {
        let delay = |part| outcome.delay(part).map(millis);
        Self {
            profile: outcome.choice.profile.to_string(),
            latency: match outcome.choice.latency {
                Latency::Auto => "auto".into(),
                Latency::Fixed(latency) => format!("{} ms", millis(latency)),
            },
            delay_p50_ms: delay(0.5),
            delay_p95_ms: delay(0.95),
            concealed_ms: millis(outcome.concealed),
            events: outcome.events,
            late_units: outcome.late,
            moves: outcome.moves,
        }
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e4).round() / 10.0
}

impl fmt::Display for RunRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, format, seconds, units, was, would_be } = self;
        writeln!(f, "stream {stream}: {format}, {units} packets in {seconds:.1} s")?;
        writeln!(
            f,
            "{:24}{:>12}{:>12}{:>14}{:>9}{:>7}{:>8}",
            "", "delay p50", "p95", "concealed", "events", "late", "moves"
        )?;
        writeln!(f, "{:24}{was}", format!("as it was: {}", was.choice()))?;
        would_be.iter().try_for_each(|row| writeln!(f, "{:24}{row}", row.choice()))
    }
}

impl Row {
    fn choice(&self) -> String {
        match self.latency.as_str() {
            "auto" => self.profile.clone(),
            latency => format!("{latency}, {}", self.profile),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delay = |delay: Option<f64>| delay.map_or("-".to_owned(), |delay| format!("{delay:.1} ms"));
        let (p50, p95, concealed) =
            (delay(self.delay_p50_ms), delay(self.delay_p95_ms), delay(Some(self.concealed_ms)));
        let Self { events, late_units, moves, .. } = self;
        write!(f, "{p50:>12}{p95:>12}{concealed:>14}{events:>9}{late_units:>7}{moves:>8}")
    }
}
