//! A server that writes what it receives into a WAV file for some seconds. It prints an invite first.
//!
//! ```sh
//! cargo run --example receive_wav -- out.wav 10
//! ```

use std::error::Error;
use std::time::Duration;

use audiostreamer::device::{SinkFormat, SinkSpec, Wanted};
use audiostreamer::report::{Event, Report};
use audiostreamer::server::{self, Config, Encryption, Limits, WireFormat};
use audiostreamer::trust::{AccessList, Gate, Identity, Invite, State};
use audiostreamer_core::playout::{Latency, Profile};
use tokio::time::sleep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(seconds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: receive_wav FILE SECONDS".into());
    };
    let state = State::open()?;
    let identity = Identity::load_or_make(&state)?;
    let list = AccessList::of(&state);
    let (key, token) = (identity.fingerprint(), list.invite("example", Some(Duration::from_secs(3600)))?);
    let config = Config {
        listen: ([127, 0, 0, 1], 0).into(), // any free port, for this machine only
        udp: true,
        tcp: true,
        sink: SinkSpec::File { path: file.into(), format: SinkFormat::default() },
        record: None,
        trace: None,
        idle_release: None,
        played: None,
        wanted: Wanted::default(),
        latency: Latency::Auto,
        profile: Profile::Listen,
        gain: 0.0,
        clients_max: 4,
        wire: WireFormat::Rtp(Box::default()),
        encryption: Some(Encryption { identity, gate: Gate { own: key, list: Some(list), open: false } }),
        announce: false,
        duplex: None,
        limits: Limits::default(),
    };
    let show = move |report| match report {
        Report::Event(Event::Listening { address, .. }) => {
            let (host, port) = (address.ip().to_string(), address.port());
            println!("{}", Invite { host, port, key, token: token.clone() });
        }
        Report::Event(event) => eprintln!("{event}"),
        Report::Client(_) | Report::Server(_) => {} // several times a second
    };
    let counted = server::run(config, show, sleep(Duration::from_secs_f64(seconds.parse()?))).await?;
    println!("{} packets received, {} lost", counted.packets_received, counted.packets_lost);
    Ok(())
}
