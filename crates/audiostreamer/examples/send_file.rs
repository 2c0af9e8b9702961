//! Sends a sound file to a server, as `audiostreamer client INVITE --input FILE` does.
//!
//! ```sh
//! cargo run --example send_file -- song.flac "audiostreamer://192.168.1.20:5004/?key=...&token=..."
//! ```

use std::error::Error;

use audiostreamer::client::{self, Config, Destination, Media, WireFormat};
use audiostreamer::device::{SourceSpec, Wanted};
use audiostreamer::link::{Credentials, PairingCode, Protocol, ServerKey};
use audiostreamer::report::Report;
use audiostreamer::trust::{Identity, Invite, KnownHosts, State};
use audiostreamer::volume::Volume;
use audiostreamer_core::{ChannelMap, Codec};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(invite)) = (arguments.next(), arguments.next()) else {
        return Err("usage: send_file FILE INVITE".into());
    };
    let invite: Invite = invite.parse()?;
    // Who we are, and whom we know: the same as for the program. `State::at` takes another folder.
    let state = State::open()?;
    let credentials = Credentials {
        identity: Identity::load_or_make(&state)?,
        server: ServerKey::Invited(invite.key, KnownHosts::of(&state)),
        token: Some(invite.token),
        code: PairingCode::default(),
    };
    let config = Config {
        destinations: vec![Destination {
            host: invite.host,
            port: invite.port,
            credentials: Some(credentials),
            also: Vec::new(),
        }],
        protocol: Protocol::Auto,
        source: SourceSpec::File(file.into()),
        record: None,
        wanted: Wanted::default(),
        map: ChannelMap::Same,
        cleaning: client::Cleaning::default(),
        agc: false,
        silence: None,
        volume: Volume::default(),
        media: Media {
            wire: WireFormat::Rtp { codec: Codec::Opus, types: Box::default(), fixed: None },
            frame: None,
            opus: Default::default(),
            ceiling_bps: None,
            redundancy: Default::default(),
            padding: 0,
            falls_back: false,
        },
        no_wait: true,
        duplex: None,
    };
    let show = |report| {
        if let Report::Event(event) = report {
            eprintln!("{event}");
        }
    };
    // Until the file has come to its end; a future that completes would end it before.
    let counted = client::run(config, show, std::future::pending()).await?;
    println!("{:.1} s sent", counted.duration.as_secs_f64());
    Ok(())
}
