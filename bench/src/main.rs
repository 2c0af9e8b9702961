//! Measures AudioStreamer beside its peers: real processes, real sockets, a private JACK server.

mod analysis;
mod chart;
mod cli;
mod clock;
mod hog;
mod jackd;
mod latency;
mod link;
mod mix;
mod netns;
mod os;
mod probe;
mod process;
mod quality;
mod reference;
mod report;
mod search;
mod systems;
mod tape;
mod theft;
mod timebase;
mod weather;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let cli = cli::Cli::parse();
    if !cli.is_part_of_another() {
        jackd::adopt_private_server();
    }
    process::catch_interrupts()?;
    cli::run(cli)
}
