//! `audiostreamer doctor`: its options, and how it says what it has found.

use std::io::{self, Write};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::client::ClientProtocol;
use super::{CardArgs, Command, config, values};
use crate::client;
use crate::device::{SinkFormat, SinkSpec, SourceSpec};
use crate::doctor::{self, Diagnosis};
use crate::error::Error;

/// `audiostreamer doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// A server to reach as `audiostreamer client` would, with its settings: what is sent there is muted.
    /// Where none is named, only this machine is looked at
    #[arg(value_name = "HOST[:PORT]|INVITE", value_parser = |text: &str| values::server(text).map(|_| text.to_owned()))]
    pub server: Option<String>,
    /// What would be sent; the default input device when not given
    #[arg(long, value_name = "SOURCE")]
    pub input: Option<String>,
    /// Where it would be played; the default output device when not given
    #[arg(long, value_name = "SINK")]
    pub output: Option<String>,
    /// udp, tcp, or whichever gets through
    #[arg(long, value_enum, default_value_t = ClientProtocol::Auto)]
    pub protocol: ClientProtocol,
    /// The server was started with --plain
    #[arg(long)]
    pub plain: bool,
    /// How long the path to the server is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    pub measure: Duration,
    /// Play silence rather than a soft tone
    #[arg(long)]
    pub silent: bool,
    /// As JSON on stdout
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub card: CardArgs,
}

impl DoctorArgs {
    /// Looks at everything and says what it has found; an error where no sound could pass.
    pub async fn run(&self) -> Result<(), Error> {
        let diagnosis = doctor::run(self.config()?, |finding| {
            if !self.json {
                println!("{finding}");
            }
        })
        .await?;
        let text = match self.json {
            true => json(&diagnosis),
            false => conclusion(&diagnosis),
        };
        io::stdout().write_all(text.as_bytes()).map_err(Error::Stdout)?;
        match diagnosis.exit_code() {
            0 => Ok(()),
            code => Err(Error::Diagnosed { code }),
        }
    }

    fn config(&self) -> Result<doctor::Config, Error> {
        Ok(doctor::Config {
            input: SourceSpec::parse(self.input.as_deref(), None).map_err(Error::Usage)?,
            output: SinkSpec::parse(self.output.as_deref(), SinkFormat::default()),
            wanted: self.card.wanted(),
            tone: !self.silent,
            client: self.server.as_ref().map(|server| self.client(server)).transpose()?,
            duration: self.measure,
        })
    }

    /// What `audiostreamer client` would do, with what the configuration file and the environment say.
    fn client(&self, server: &str) -> Result<client::Config, Error> {
        let protocol = self.protocol.to_possible_value().map(|value| format!("--protocol={}", value.get_name()));
        let mut words = vec!["audiostreamer".to_owned(), "client".into(), server.into(), "--input=tone:440".into()];
        words.extend(protocol);
        words.extend(self.plain.then(|| "--plain".into()));
        match config::parse(words.into_iter().map(Into::into))?.command {
            Command::Client(args) => args.config(),
            _ => unreachable!("it is a client's command line"),
        }
    }
}

fn json(diagnosis: &Diagnosis) -> String {
    let object = serde_json::json!({
        "schema": "audiostreamer-doctor/1",
        "exitCode": diagnosis.exit_code(),
        "findings": diagnosis.findings,
        "delay": diagnosis.delay,
    });
    format!("{object:#}\n")
}

fn conclusion(diagnosis: &Diagnosis) -> String {
    match &diagnosis.delay {
        Some(delay) if diagnosis.exit_code() == 0 => format!("\n{delay}\n"),
        _ => String::new(),
    }
}
