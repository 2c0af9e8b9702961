//! How speech sounds behind a bad network: real processes over an impaired link, judged by PESQ and
//! ViSQOL.

mod jack;
mod pipes;
mod score;
mod talker;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use self::score::{Clip, Python, Speech};
use self::talker::Talker;
use crate::jackd::RATE;
use crate::latency::Plan;
use crate::os;
use crate::process::pause;
use crate::report;
use crate::weather::Scenario;

/// What is measured.
#[derive(clap::Args)]
pub struct Options {
    /// Over these links (needs root)
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',', default_value = "l0,l0b,l0c,l0d")]
    impair: Vec<Scenario>,
    /// These programs; all that are installed by default
    #[arg(long, value_name = "TALKER", value_delimiter = ',')]
    talkers: Vec<Talker>,
    /// Clips of 8 s, one after the other
    #[arg(long, value_name = "N", default_value_t = 8)]
    clips: usize,
    /// The reports' name
    #[arg(long, default_value = "quality")]
    name: String,
    #[command(flatten)]
    plan: Plan,
}

/// The command.
pub fn run(options: &Options, results: &Path) -> Result<()> {
    options.check()?;
    let python = Python::beside(results)?;
    let (dir, _temporary) = options.plan.directory()?;
    let speech = python.speech(options.clips, &dir)?;
    println!("{}\n\n{}", speech.what, Row::HEADING);
    let mut rows = Vec::new();
    for &link in &options.impair {
        for talker in options.talkers() {
            pause(Duration::ZERO)?; // ends here when the user has interrupted
            match measure(talker, link, options, &speech, &dir, &python) {
                Ok(row) => {
                    println!("{}", row.line());
                    rows.push(row);
                }
                Err(error) => eprintln!("{} on {link:?}: {error:#}", talker.name()),
            }
        }
    }
    let lines: String = rows.iter().map(|row| row.line() + "\n").collect();
    let text = format!("# {}\n\n{}. {}\n\n{}\n{lines}", options.name, speech.what, options.conditions(), Row::HEADING);
    fs::create_dir_all(results)?;
    Ok(fs::write(results.join(format!("{}.md", options.name)), text)?)
}

impl Options {
    /// Those that were named, or whose programs are there.
    fn talkers(&self) -> Vec<Talker> {
        let is_there = |talker: &Talker| talker.missing_program(&self.plan.ours).is_none();
        let installed = || Talker::value_variants().iter().copied().filter(is_there).collect();
        if self.talkers.is_empty() { installed() } else { self.talkers.clone() }
    }

    fn check(&self) -> Result<()> {
        let Plan { core, skew_ppm, slow, seconds, .. } = self.plan;
        let for_cards = core.is_some() || skew_ppm.is_some();
        let on_cards = self.talkers().into_iter().all(Talker::is_on_cards);
        ensure!(on_cards || !for_cards, "--core and --skew-ppm are for talkers that play through JACK only");
        ensure!(slow == 1.0 && seconds.is_none(), "speech has its own speed and length");
        Ok(())
    }

    fn conditions(&self) -> String {
        match self.talkers().into_iter().any(Talker::is_on_cards) {
            true => report::conditions(os::grants_realtime(), &self.plan),
            false => report::machine(),
        }
    }
}

/// One program on one link.
fn measure(
    talker: Talker,
    link: Scenario,
    options: &Options,
    speech: &Speech,
    dir: &Path,
    python: &Python,
) -> Result<Row> {
    let heard = match talker {
        Talker::Pipes(piped) => pipes::hear(piped, link, &options.plan, &speech.samples, dir)?,
        Talker::Jack(system) => jack::hear(system, link, &options.plan, &speech.samples)?,
    };
    let clips = python.score(speech, &heard)?;
    ensure!(clips.len() == options.clips, "{} clips were scored", clips.len());
    let Heard { wire_kbps, lost_percent, xruns, .. } = heard;
    Ok(Row { talker: talker.label(&options.plan.ours), link, clips, wire_kbps, lost_percent, xruns })
}

/// What came out at the other end.
struct Heard {
    /// One channel.
    samples: Vec<i16>,
    /// Frames of it before the speech began.
    lead: usize,
    wire_kbps: f64,
    lost_percent: f64,
    /// Overruns of the JACK server, where there was one.
    xruns: Option<usize>,
}

/// One line of the table.
struct Row {
    talker: String,
    link: Scenario,
    clips: Vec<Clip>,
    wire_kbps: f64,
    lost_percent: f64,
    /// Overruns of the JACK server, where there was one.
    xruns: Option<usize>,
}

impl Row {
    const HEADING: &str = "| who | link | lost % | mouth to ear ms, median | most | PESQ-WB, mean | of each clip | \
        ViSQOL speech | audio | ESTOI | wire kb/s | JACK xruns |\n| --- | --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |";

    fn line(&self) -> String {
        let mean = |of: fn(&Clip) -> f64| self.clips.iter().map(of).sum::<f64>() / self.clips.len() as f64;
        let mut delays: Vec<f64> = self.clips.iter().filter_map(|clip| clip.delay_ms).collect();
        delays.sort_by(f64::total_cmp);
        let ms = |delay: Option<&f64>| delay.map_or("-".into(), |ms| format!("{ms:.0}"));
        let each: Vec<String> = self.clips.iter().map(|clip| format!("{:.2}", clip.pesq)).collect();
        format!(
            "| {} | {:?} | {:.1} | {} | {} | {:.2} | {} | {:.2} | {:.2} | {:.3} | {:.0} | {} |",
            self.talker,
            self.link,
            self.lost_percent,
            ms(delays.get(delays.len() / 2)),
            ms(delays.last()),
            mean(|clip| clip.pesq),
            each.join(" "),
            mean(|clip| clip.visqol_speech),
            mean(|clip| clip.visqol_audio),
            mean(|clip| clip.estoi),
            self.wire_kbps,
            self.xruns.map_or("-".into(), |xruns| xruns.to_string())
        )
    }
}

/// No peer says when it listens; all of them do by then.
const LISTENING: Duration = Duration::from_millis(1000);
/// Silence before the speech, in which everybody starts and finds out about the link: 5 s.
const LEAD: usize = 5 * RATE as usize;
