//! Where statistics go.

use std::fs::File;
use std::io::{LineWriter, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use audiostreamer_core::Instant;
use clap::Args;

use crate::clock;
use crate::error::Error;
use crate::report::Report;
use crate::stats::Sampler;
use crate::stats::metrics::{self, Latest};

/// Statistics for programs, the same on both sides.
#[derive(Debug, Args)]
pub struct StatsArgs {
    /// One JSON object per second, on stdout or into a file: json or json:FILE
    #[arg(long, value_name = "FORMAT")]
    pub stats: Option<StatsTo>,
    /// Answer Prometheus on this port of this machine, or on ADDR:PORT: GET /metrics
    #[arg(long, value_name = "[ADDR:]PORT", value_parser = metrics_address)]
    pub metrics: Option<SocketAddr>,
}

/// Where JSON goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsTo {
    Stdout,
    File(PathBuf),
}

impl FromStr for StatsTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "json" => Ok(StatsTo::Stdout),
            Some(("json", file)) if !file.is_empty() => Ok(StatsTo::File(file.into())),
            _ => Err("json, or json:FILE".into()),
        }
    }
}

fn metrics_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse().map(|port: u16| (IpAddr::from(Ipv4Addr::LOCALHOST), port).into());
    port.or_else(|_| text.parse()).map_err(|_| "a port like 9100, or ADDR:PORT like 0.0.0.0:9100".into())
}

impl StatsArgs {
    /// Whether they go to stdout.
    pub fn use_stdout(&self) -> bool {
        self.stats == Some(StatsTo::Stdout)
    }

    /// Opens what was asked for. `sound_on_stdout` says whether stdout is taken.
    pub fn start(&self, sound_on_stdout: bool) -> Result<Statistics, Error> {
        let json: Option<Box<dyn Write + Send>> = match &self.stats {
            None => None,
            Some(StatsTo::Stdout) if sound_on_stdout => {
                return Err(Error::Usage("--stats json: stdout carries the sound; use --stats json:FILE".into()));
            }
            Some(StatsTo::Stdout) => Some(Box::new(std::io::stdout())),
            Some(StatsTo::File(path)) => {
                let cannot = |why| Error::Stats { path: path.display().to_string(), why };
                let file = File::options().append(true).create(true).open(path).map_err(cannot)?;
                Some(Box::new(LineWriter::new(file)))
            }
        };
        let latest = self.metrics.map(|address| {
            let latest = Latest::default();
            let bound = metrics::serve(address, latest.clone())?;
            eprintln!("audiostreamer: metrics at http://{bound}/metrics");
            Ok::<_, Error>(latest)
        });
        Ok(Statistics { sampler: Sampler::new(clock::now()), json, latest: latest.transpose()? })
    }
}

/// Statistics on their way out.
pub struct Statistics {
    sampler: Sampler,
    json: Option<Box<dyn Write + Send>>,
    latest: Option<Latest>,
}

impl Statistics {
    /// Takes a report, and lets out what it makes.
    pub fn handle_report(&mut self, now: Instant, report: &Report) {
        if self.json.is_none() && self.latest.is_none() {
            return;
        }
        let Some(snapshot) = self.sampler.handle_report(now, report) else { return };
        if let Some(json) = &mut self.json
            && let Ok(line) = serde_json::to_string(&snapshot)
            && writeln!(json, "{line}").and_then(|()| json.flush()).is_err()
        {
            self.json = None; // nobody reads any more, and that is no reason to stop the sound
        }
        if let Some(latest) = &self.latest {
            latest.set(snapshot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_goes_to_stdout_or_into_a_file() {
        assert_eq!("json".parse(), Ok(StatsTo::Stdout));
        assert_eq!("json:a:b".parse(), Ok(StatsTo::File("a:b".into())));
        for bad in ["", "xml", "json:"] {
            assert!(bad.parse::<StatsTo>().is_err(), "{bad}");
        }
    }

    #[test]
    fn metrics_are_for_this_machine_unless_said_otherwise() {
        let address = |text| metrics_address(text).map(|address| address.to_string());
        assert_eq!(address("9100"), Ok("127.0.0.1:9100".into()));
        assert_eq!(address("0.0.0.0:9100"), Ok("0.0.0.0:9100".into()));
        assert_eq!(address("[::1]:0"), Ok("[::1]:0".into()));
        assert!(address("studio").is_err());
    }
}
