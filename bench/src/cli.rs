//! The command line, and what each command measures.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::hog::Hogs;
use crate::latency::{Case, Lab, Plan};
use crate::mix;
use crate::process;
use crate::quality;
use crate::report::{self, Row};
use crate::search;
use crate::systems::{Setting, System};
use crate::tape;
use crate::weather::Scenario;

/// Measures AudioStreamer and its peers: real processes, real sockets, a private JACK server
#[derive(Parser)]
#[command(name = "bench")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Where the reports go
    #[arg(long, global = true, value_name = "DIR", default_value = "bench/results")]
    results: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Mouth-to-ear delay, gaps, bitrate, CPU and memory
    Latency(Latency),
    /// CPU and memory with stereo Opus, 96 kb/s in 10 ms frames, beside GStreamer and trx
    Cpu(Cpu),
    /// The number of clients that one server mixes without a gap
    Mix(mix::Options),
    /// How speech sounds behind a bad network, by PESQ and ViSQOL
    Quality(quality::Options),
    /// Everything, in less than half an hour
    All(Plan),
    /// Does it run at all? Ours and zita-njbridge, for a few seconds each
    Smoke(Plan),
    /// Record on a server of its own: started by the bench itself
    #[command(hide = true)]
    Tape(tape::Options),
}

impl Cli {
    /// Whether it is a process of another bench, and has its JACK servers from it.
    pub fn is_part_of_another(&self) -> bool {
        matches!(self.command, Command::Tape(_))
    }
}

#[derive(Args)]
struct Latency {
    /// Which systems; all that are installed by default
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',')]
    systems: Vec<System>,
    /// The buffer in the unit of the system's own option, the rest set for low delay; without it the defaults
    #[arg(long, value_name = "N")]
    buffer: Option<f64>,
    /// Besides, step down to the lowest setting that holds
    #[arg(long)]
    lowest: bool,
    /// With these links in between, in two network namespaces (needs root)
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    impair: Vec<Scenario>,
    /// Busy loops at normal priority beside the measurement
    #[arg(long, value_name = "N", default_value_t = 0)]
    hog: usize,
    /// The reports' name
    #[arg(long, default_value = "latency")]
    name: String,
    #[command(flatten)]
    plan: Plan,
}

#[derive(Args)]
struct Cpu {
    /// Rounds; the median of each system counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    plan: Plan,
}

/// Carries out the command.
pub fn run(cli: Cli) -> Result<()> {
    let results = cli.results;
    match cli.command {
        Command::Latency(options) => latency(options, &results),
        Command::Cpu(options) => cpu(options, &results),
        Command::Mix(options) => write_mix(&options, &results),
        Command::Quality(options) => quality::run(&options, &results),
        Command::All(plan) => all(plan, &results),
        Command::Smoke(plan) => smoke(plan, &results),
        Command::Tape(options) => tape::run(&options),
    }
}

fn latency(options: Latency, results: &Path) -> Result<()> {
    let Latency { systems, buffer, lowest, impair, hog, name, plan } = options;
    let systems = if systems.is_empty() { installed(&ALL, &plan) } else { systems };
    let links = if impair.is_empty() { vec![None] } else { impair.into_iter().map(Some).collect() };
    let setting = buffer.map_or(Setting::Default, Setting::Tuned);
    ensure!(plan.slow == 1.0 || links == [None], "--slow is for programs, not for --impair's weather");
    let mut lab = Lab::open(plan, SECONDS)?;
    let conditions = lab.conditions();
    let _hogs = Hogs::start(hog)?;
    let rows = compare(&mut lab, &systems, setting, &links, lowest)?;
    report::write(&rows, &name, &conditions, results)
}

fn cpu(options: Cpu, results: &Path) -> Result<()> {
    let systems = installed(&OPUS, &options.plan);
    let mut lab = Lab::open(options.plan, SECONDS)?;
    let conditions = lab.conditions();
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        rounds.extend(compare(&mut lab, &systems, Setting::Opus10ms, &[None], false)?);
    }
    let rows: Vec<Row> = systems.iter().filter_map(|system| report::median_load(&rounds, system.name())).collect();
    println!("\nMedian of {} rounds:", options.rounds);
    report::print_heading();
    rows.iter().for_each(report::print_row);
    report::write(&rows, "cpu", &conditions, results)
}

fn write_mix(options: &mix::Options, results: &Path) -> Result<()> {
    let table = mix::run(options)?;
    fs::create_dir_all(results)?;
    Ok(fs::write(results.join("mix.md"), format!("# mix\n\n{table}"))?)
}

fn all(plan: Plan, results: &Path) -> Result<()> {
    let systems = installed(&ALL, &plan);
    for (name, link) in [("loopback", None), ("wifi", Some(Scenario::N2))] {
        let mut lab = Lab::open(plan.clone(), SECONDS_OF_MANY)?;
        let conditions = lab.conditions();
        let rows = compare(&mut lab, &systems, Setting::Default, &[link], true)?;
        report::write(&rows, name, &conditions, results)?;
    }
    cpu(Cpu { rounds: 3, plan }, results)
}

fn smoke(plan: Plan, results: &Path) -> Result<()> {
    if let Some(program) = System::OursL16.missing_program(&plan.ours) {
        bail!("{program} is not there: build it first, or name it by --binary");
    }
    let systems = installed(&[System::OursL16, System::OursOpus, System::Zita], &plan);
    let mut lab = Lab::open(plan, SECONDS_OF_SMOKE)?;
    let conditions = lab.conditions();
    let rows = compare(&mut lab, &systems, Setting::Default, &[None], false)?;
    ensure!(rows.len() == systems.len(), "a system could not be measured");
    for (row, system) in rows.iter().zip(&systems) {
        // Some peers lose themselves for seconds when JACK's server overruns; ours are heard all the same.
        let disturbed = row.load.xruns > 0 && matches!(system, System::Zita);
        ensure!(row.p50_ms.is_some() || disturbed, "{} was not heard", row.system);
    }
    report::write(&rows, "smoke", &conditions, results)
}

/// Measures every system on every link; one that fails is told about and left out.
fn compare(
    lab: &mut Lab,
    systems: &[System],
    setting: Setting,
    links: &[Option<Scenario>],
    lowest: bool,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    report::print_heading();
    for &link in links {
        for &system in systems {
            process::pause(Duration::ZERO)?; // ends here, and below, when the user has interrupted
            let measured = lab.measure(Case { system, setting, link }).map(|row| {
                report::print_row(&row);
                rows.push(row);
            });
            let searched = if lowest { search::lowest(lab, system, link).map(|row| rows.extend(row)) } else { Ok(()) };
            for error in [measured, searched].into_iter().filter_map(Result::err) {
                eprintln!("{error:#}");
            }
        }
    }
    process::pause(Duration::ZERO)?;
    Ok(rows)
}

/// Those of the systems whose programs are there; says which are not.
fn installed(systems: &[System], plan: &Plan) -> Vec<System> {
    let is_there = |system: &System| match system.missing_program(&plan.ours) {
        None => true,
        Some(program) => {
            eprintln!("{}: {program} is not installed", system.name());
            false
        }
    };
    systems.iter().copied().filter(is_there).collect()
}

/// Long enough for a stall of the common kind to show.
const SECONDS: u64 = 20;
/// What keeps everything within half an hour.
const SECONDS_OF_MANY: u64 = 12;
const SECONDS_OF_SMOKE: u64 = 5;

const ALL: [System; 8] = [
    System::OursL16,
    System::OursOpus,
    System::Zita,
    System::Jacktrip,
    System::JacktripAuto,
    System::GstOpus,
    System::GstL16,
    System::Trx,
];
const OPUS: [System; 3] = [System::OursOpus, System::GstOpus, System::Trx];
