//! What comes out: a table on the terminal, and the same as Markdown, CSV and a picture.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::chart;
use crate::latency::Plan;

/// One measurement.
#[derive(Clone, Debug)]
pub struct Row {
    pub system: String,
    pub setting: String,
    pub link: String,
    /// Frames per period of the JACK server.
    pub period: u32,
    /// By how much the receiver's card was faster, as measured, where it had one of its own.
    pub skew_ppm: Option<f64>,
    pub seconds: f64,
    pub p50_ms: Option<f64>,
    pub p95_ms: Option<f64>,
    pub max_ms: Option<f64>,
    pub drift_ppm: f64,
    /// Jumps of the delay by more than 1 ms.
    pub steps: usize,
    pub gaps: usize,
    /// Those of them that begin where the JACK server itself overran, or within a second after.
    pub gaps_after_xruns: usize,
    pub longest_gap_ms: f64,
    pub total_gap_ms: f64,
    /// From the sender's start to the first sound.
    pub first_sound_ms: Option<f64>,
    pub load: Load,
    /// Packets that the impaired link has lost, in percent.
    pub lost_percent: f64,
    /// Seconds and milliseconds, for the picture.
    pub delays: Vec<(f64, f64)>,
}

/// What a measurement cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// IP packets with their headers; on loopback both directions together.
    pub wire_kbps: f64,
    /// Percent of one core.
    pub sender_cpu_percent: f64,
    pub receiver_cpu_percent: f64,
    pub sender_rss_mib: f64,
    pub receiver_rss_mib: f64,
    /// Percent of all cores, used by whatever ran on the machine: a high figure means disturbed results.
    pub busy_percent: f64,
    /// Overruns of the JACK server itself: the machine's fault or the client's, and time lost either way.
    pub xruns: usize,
}

impl Row {
    /// Gaps that an overrun of the JACK server does not explain.
    pub fn gaps_per_minute(&self) -> f64 {
        (self.gaps - self.gaps_after_xruns) as f64 * 60.0 / self.seconds.max(1.0)
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let optional = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.2}"));
        let load = &self.load;
        [
            self.system.clone(),
            self.setting.clone(),
            self.link.clone(),
            self.period.to_string(),
            self.skew_ppm.map_or("-".into(), |ppm| format!("{ppm:.1}")),
            format!("{:.0}", self.seconds),
            optional(self.p50_ms),
            optional(self.p95_ms),
            optional(self.max_ms),
            format!("{:.1}", self.drift_ppm),
            self.steps.to_string(),
            self.gaps.to_string(),
            self.gaps_after_xruns.to_string(),
            format!("{:.1}", self.longest_gap_ms),
            format!("{:.0}", self.total_gap_ms),
            self.first_sound_ms.map_or("-".into(), |ms| format!("{ms:.0}")),
            format!("{:.0}", load.wire_kbps),
            format!("{:.1}", load.sender_cpu_percent),
            format!("{:.1}", load.receiver_cpu_percent),
            format!("{:.1}", load.sender_rss_mib),
            format!("{:.1}", load.receiver_rss_mib),
            format!("{:.1}", self.lost_percent),
            format!("{:.0}", load.busy_percent),
            load.xruns.to_string(),
        ]
    }
}

/// Prints the heading of the table that `print_row` fills.
pub fn print_heading() {
    println!("{}", table_line(&COLUMNS.map(|(name, _)| name.to_string())));
}

/// Prints one measurement as soon as it is there.
pub fn print_row(row: &Row) {
    println!("{}", table_line(&row.cells()));
}

/// Writes `NAME.md`, `NAME.csv` and `NAME.svg` into `dir`.
pub fn write(rows: &[Row], name: &str, conditions: &str, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let save = |extension: &str, text: String| {
        let path = dir.join(format!("{name}.{extension}"));
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    save("md", markdown(rows, name, conditions))?;
    save("csv", csv(rows))?;
    save("svg", chart::draw(rows))
}

/// The measurement with the median load, both sides together, among those of a system.
pub fn median_load(rows: &[Row], system: &str) -> Option<Row> {
    let mut of_system: Vec<&Row> = rows.iter().filter(|row| row.system == system).collect();
    let cpu = |row: &Row| row.load.sender_cpu_percent + row.load.receiver_cpu_percent;
    of_system.sort_by(|a, b| cpu(a).total_cmp(&cpu(b)));
    of_system.get(of_system.len() / 2).map(|row| (*row).clone())
}

/// The machine and the moment, for the head of a report on what played through JACK.
pub fn conditions(realtime: bool, plan: &Plan) -> String {
    let slow = if plan.slow == 1.0 { String::new() } else { format!(" on a clock {} times slower", plan.slow) };
    let alone = plan.core.map(|_| " on one core, without the time that was stolen of it").unwrap_or_default();
    let priority = if realtime { "with" } else { "without" };
    format!("{} jackd's dummy driver at 48 kHz{slow}{alone} {priority} real-time priority.", machine())
}

/// The machine and the moment.
pub fn machine() -> String {
    let first = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or("").to_string();
        line.split(':').next_back().unwrap_or("").trim().to_string()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{cores} cores ({}), Linux {}, load average before: {}.",
        first("/proc/cpuinfo", "model name"),
        kernel.trim(),
        load.split(' ').next().unwrap_or("")
    )
}

fn table_line(cells: &[String; COLUMNS.len()]) -> String {
    let aligned = cells.iter().zip(COLUMNS).enumerate().map(|(i, (cell, (_, width)))| {
        if i < TEXT_COLUMNS { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    });
    aligned.collect::<Vec<_>>().join(" ")
}

fn markdown(rows: &[Row], name: &str, conditions: &str) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text =
        format!("# {name}\n\n{conditions} The columns are explained in [the bench's README](../README.md).\n\n");
    text += &line(COLUMNS.map(|(name, _)| name.to_string()).to_vec());
    text +=
        &line(COLUMNS.iter().enumerate().map(|(i, _)| if i < TEXT_COLUMNS { "---" } else { "---:" }.into()).collect());
    for row in rows {
        text += &line(row.cells().to_vec());
    }
    text + &format!("\n![Mouth to ear]({name}.svg)\n")
}

fn csv(rows: &[Row]) -> String {
    let line = |cells: &[String]| cells.iter().map(|c| c.replace(',', "")).collect::<Vec<_>>().join(",") + "\n";
    let heading = line(&COLUMNS.map(|(name, _)| name.to_string()));
    rows.iter().fold(heading, |text, row| text + &line(&row.cells()))
}

/// Name and width.
const COLUMNS: [(&str, usize); 24] = [
    ("system", 15),
    ("setting", 24),
    ("link", 8),
    ("period", 6),
    ("skew ppm", 8),
    ("s", 4),
    ("p50 ms", 7),
    ("p95 ms", 7),
    ("max ms", 7),
    ("drift ppm", 9),
    ("steps", 5),
    ("gaps", 5),
    ("of them xrun", 12),
    ("longest ms", 10),
    ("total ms", 8),
    ("first sound ms", 14),
    ("wire kb/s", 9),
    ("CPU send %", 10),
    ("CPU recv %", 10),
    ("RSS send MiB", 12),
    ("RSS recv MiB", 12),
    ("lost %", 6),
    ("busy %", 6),
    ("xruns", 5),
];
/// The first columns are words, the others figures.
const TEXT_COLUMNS: usize = 3;
