//! Looks at everything that sound has to pass, one thing after the other, and says in sentences what
//! was found, what delay is possible, what limits it, and what to do about it.
//!
//! Each check is a function that returns [`Finding`]s. All of them use what the program itself uses: the
//! same cards, the same handshake, and for ten seconds the same stream, muted.

mod beat;
mod cards;
mod delay;
mod finding;
mod machine;
mod name;
mod reach;
mod stream;

use std::time::Duration;

use serde::Serialize;

use crate::client;
use crate::device::{SinkSpec, SourceSpec, Wanted};
use crate::error::Error;
use crate::link::{Protocol, Transport};

pub use delay::Delay;
pub use finding::{Finding, Verdict};

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Config {
    /// What would be sent.
    pub input: SourceSpec,
    /// Where it would be played.
    pub output: SinkSpec,
    /// What both cards are asked for.
    pub wanted: Wanted,
    /// Whether a tone is played, rather than silence.
    pub tone: bool,
    /// A server to reach, as a client would; what it sends is muted.
    pub client: Option<client::Config>,
    /// How long its path is measured.
    pub duration: Duration,
}

/// All that was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Diagnosis {
    /// In the order in which sound passes what was looked at.
    pub findings: Vec<Finding>,
    /// What delay is possible, as far as that was measured.
    pub delay: Option<Delay>,
}

impl Diagnosis {
    /// The exit code of the first thing that makes sound impossible; 0 where there is none.
    pub fn exit_code(&self) -> u8 {
        self.findings.iter().find_map(|finding| finding.verdict.exit_code()).unwrap_or(0)
    }
}

/// Looks at everything, telling `tell` of each thing as it is found.
pub async fn run(config: Config, mut tell: impl FnMut(&Finding)) -> Result<Diagnosis, Error> {
    let mut diagnosis = Diagnosis::default();
    let mut add = |findings: Vec<Finding>| {
        findings.iter().for_each(&mut tell);
        diagnosis.findings.extend(findings);
    };
    add(machine::check());
    let (findings, cards) = cards::check(&config).await;
    add(findings);
    let mut path = None;
    if let Some(client) = &config.client {
        let (findings, reached) = reach(client, &mut add).await;
        add(findings);
        if let Some(transport) = reached {
            let mut client = client.clone();
            if client.protocol == Protocol::Auto {
                client.protocol = Protocol::Only(transport);
            }
            let (findings, measured) = stream::check(client, config.duration).await;
            add(findings);
            path = measured;
        }
    }
    let frame = config.client.as_ref().and_then(|client| client.media.frame);
    diagnosis.delay = Delay::possible(&cards, path.as_ref(), frame);
    Ok(diagnosis)
}

/// Whether the server's name leads somewhere, and who answers there; by what the stream should go.
async fn reach(client: &client::Config, add: &mut impl FnMut(Vec<Finding>)) -> (Vec<Finding>, Option<Transport>) {
    let Some(server) = client.destinations.first() else { return (Vec::new(), None) };
    let (finding, addresses) = name::check(&server.host, server.port).await;
    add(vec![finding]);
    reach::check(client.protocol, server.credentials.is_some(), &addresses).await
}
