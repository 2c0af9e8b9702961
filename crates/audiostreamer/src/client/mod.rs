//! The client: one source, sent to one server.
//!
//! Two threads beside the device's own. The *send thread* (`send`) does everything that a
//! captured block needs until it is on the wire, so that nothing stands between them. The runtime
//! of [`run`] keeps the link, reads what the server says, and waits for the end.

mod send;
mod status;

use std::sync::mpsc;
use std::time::Duration;

use audiostreamer_core::{Codec, Format, PayloadTypes, codec::opus, packetizer, sender};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::capture;
use crate::clock;
use crate::device::{self, Notice, Shape, SourceSpec, Wanted, Xruns};
use crate::error::Error;
use crate::link::tcp::Framing;
use crate::link::{LinkEvent, Target, Transport, keep_connected};
use crate::report::{Event, Report};

pub use send::Counted;
use send::{FromSend, SendEvent};
pub use status::Status;

/// What a client does.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server: a name or an address. A name is looked up anew at each attempt.
    pub host: String,
    /// Its port, for UDP and TCP alike.
    pub port: u16,
    /// How the packets travel.
    pub transport: Transport,
    /// What is sent.
    pub source: SourceSpec,
    /// What the source is asked for.
    pub wanted: Wanted,
    /// How it is coded.
    pub media: Media,
    /// Give up when the server is not there, rather than wait for it.
    pub no_wait: bool,
}

/// How the sound is coded and packed.
#[derive(Clone, Debug)]
pub struct Media {
    /// RTP of some format, or bare PCM.
    pub wire: WireFormat,
    /// The length of a frame; for PCM `None` means whatever the source's period is.
    pub frame: Option<Duration>,
    /// For Opus only.
    pub opus: opus::Settings,
}

/// What goes on the wire.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum WireFormat {
    /// RTP: the codec, with rate and channels as the source has them, as far as these payload
    /// types know them; or exactly one of them.
    Rtp { codec: Codec, types: Box<PayloadTypes>, fixed: Option<(u8, Format)> },
    /// Bare PCM of exactly this format.
    Raw(Format),
}

/// Streams until the source ends or `shutdown` completes, telling `report` what happens.
///
/// Whether the end was asked for or the file was over, the result is what was counted.
pub async fn run(
    config: Config,
    report: impl Fn(Report) + Send + Clone + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<Counted, Error> {
    config.source.check()?; // a file that can't be played is no reason to wait for a server
    let (events, inbox) = mpsc::channel();
    let (to_us, mut from_send) = tokio::sync::mpsc::unbounded_channel();
    let xruns = Xruns::default();
    let sending = {
        let (config, report, xruns) = (config.clone(), report.clone(), xruns.clone());
        let thread = std::thread::Builder::new().name("send".into());
        thread.spawn(move || send::run(&config, &inbox, report, &to_us, xruns)).map_err(Error::Thread)?
    };
    let wake = sending.thread().clone();
    let tell = move |event| {
        let _ = events.send(event); // a send thread that is gone has told why
        wake.unpark();
    };

    let target = Target {
        host: config.host.clone(),
        port: config.port,
        transport: config.transport,
        framing: match config.media.wire {
            WireFormat::Rtp { .. } => Framing::Rfc4571,
            WireFormat::Raw(_) => Framing::None,
        },
    };
    let keep_link = {
        let tell = tell.clone();
        keep_connected(target, move |event: LinkEvent| tell(SendEvent::Link(event)))
    };
    let start = || start_source(&config, &xruns, sending.thread().clone(), tell.clone());
    let streaming = async {
        // A card or a pipe can't wait: its sound is now. A file begins when somebody hears it.
        let mut source = if config.source.is_live() { Some(start()?) } else { None };
        loop {
            match from_send.recv().await {
                Some(FromSend::Ready) if source.is_none() => source = Some(start()?),
                Some(FromSend::Ready) => {}
                Some(FromSend::Ended(result)) => return result,
                None => return Ok(()),
            }
        }
    };
    let result = tokio::select! {
        result = streaming => result,
        () = keep_link => unreachable!("a link is kept until it is dropped"),
        // Good-bye is said before the source is closed, which may take a while.
        () = async { shutdown.await; tell(SendEvent::Finish) } => Ok(()),
    };
    tell(SendEvent::Finish);
    let counted = join(sending, &mut from_send).await;
    if result.is_ok() || counted.stats.packets_sent > 0 {
        report(Report::Event(Event::Sent(counted)));
    }
    result.map(|()| counted)
}

fn start_source(
    config: &Config,
    xruns: &Xruns,
    wake: std::thread::Thread,
    tell: impl Fn(SendEvent) + Send + Clone + 'static,
) -> Result<device::Running, Error> {
    let make = {
        let (tell, media) = (tell.clone(), config.media.clone());
        move |shape: &Shape| -> device::Capture {
            let (mut tap, captured) = capture::tap(*shape, wake.clone(), frames_worth_sending(&media, shape));
            tell(SendEvent::Captured(captured));
            Box::new(move |samples, age| tap.handle(clock::now(), age, samples))
        }
    };
    let notify = move |notice: Notice| tell(SendEvent::Source(notice));
    Ok(device::start_source(&config.source, config.wanted, xruns.clone(), make, notify)?)
}

/// Waits for the send thread to say good-bye on the wire; it never waits for anything itself.
async fn join(sending: std::thread::JoinHandle<Counted>, from_send: &mut UnboundedReceiver<FromSend>) -> Counted {
    while from_send.recv().await.is_some() {} // until it drops its end
    sending.join().unwrap_or_default()
}

/// How many captured frames make a packet; what a resampler takes varies, so there each block may.
fn frames_worth_sending(media: &Media, shape: &Shape) -> usize {
    let config = packetizer_config(media, shape);
    if config.rate == config.format.rate { config.frames } else { 1 }
}

/// The format that a source of `shape` is sent in, and the packetizer that makes it so.
fn packetizer_config(media: &Media, shape: &Shape) -> packetizer::Config {
    let format = match &media.wire {
        WireFormat::Raw(format) => *format,
        WireFormat::Rtp { fixed: Some((_, format)), .. } => *format,
        WireFormat::Rtp { codec, types, fixed: None } => rtp_format(*codec, types, shape),
    };
    let frames = match (media.frame, format.codec) {
        (Some(frame), _) => audiostreamer_core::frames_in(frame, format.rate) as usize,
        (None, Codec::Opus) => 240,
        (None, Codec::Pcm(_)) => pcm_frames(&format, shape),
    };
    packetizer::Config { rate: shape.rate, channels: shape.channels, format, frames, opus: media.opus }
}

/// The first that has a payload type: as captured, else at 48 kHz, else 48 kHz stereo.
fn rtp_format(codec: Codec, types: &PayloadTypes, shape: &Shape) -> Format {
    if codec == Codec::Opus {
        return Format::OPUS;
    }
    let channels = shape.channels.min(2) as u8;
    let wishes = [(shape.rate, channels), (48_000, channels)];
    wishes
        .into_iter()
        .map(|(rate, channels)| Format { codec, rate, channels })
        .find(|format| types.payload_type(*format).is_some())
        .unwrap_or(Format { codec, rate: 48_000, channels: 2 })
}

/// PCM has no frames of its own: the source's period when it is a good one (nothing then waits
/// for a frame to fill up), else 2.5 ms; never more than fits a packet.
fn pcm_frames(format: &Format, shape: &Shape) -> usize {
    let at_wire_rate = |frames: usize| frames * format.rate as usize / shape.rate as usize;
    let (shortest, longest) = (format.rate as usize / 1000, format.rate as usize / 200);
    let period = at_wire_rate(shape.period);
    let frames = if (shortest..=longest).contains(&period) { period } else { format.rate as usize / 400 };
    let fits = PAYLOAD_BYTES_MAX / format.frame_bytes().unwrap_or(1);
    // Too long for one packet: the fewest equal parts.
    frames / frames.div_ceil(fits)
}

/// What a packet may carry without being fragmented anywhere: IPv6's least MTU of 1280 bytes less
/// the headers of IPv6, UDP and RTP.
const PAYLOAD_BYTES_MAX: usize = 1280 - 40 - 8 - 12;

fn sender_config(media: &Media, format: Format) -> Result<sender::Config, Error> {
    let wire = match &media.wire {
        WireFormat::Raw(_) => sender::Wire::Raw,
        WireFormat::Rtp { types, .. } => match types.payload_type(format) {
            Some(payload_type) => sender::Wire::Rtp { payload_type },
            None => return Err(Error::NoPayloadType(format)),
        },
    };
    let random = crate::random::u64();
    Ok(sender::Config {
        ssrc: random as u32,
        first_sequence: (random >> 32) as u16,
        first_timestamp: crate::random::u64() as u32,
        cname: crate::random::cname(),
        wire,
        rate: format.rate,
        wall_epoch: clock::wall_epoch(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use audiostreamer_core::Encoding;

    fn media(codec: Codec) -> Media {
        let wire = WireFormat::Rtp { codec, types: Box::default(), fixed: None };
        Media { wire, frame: None, opus: opus::Settings::default() }
    }

    #[test]
    fn lossless_is_sent_as_captured_where_there_is_a_payload_type() {
        let l16 = media(Codec::Pcm(Encoding::S16Be));
        let format = |rate, channels| packetizer_config(&l16, &Shape { rate, channels, period: 128 }).format;
        assert_eq!(format(48_000, 2), Format::l16(48_000, 2));
        assert_eq!(format(44_100, 1), Format::l16(44_100, 1));
        assert_eq!(format(22_050, 1), Format::l16(48_000, 1));
        assert_eq!(format(48_000, 6), Format::l16(48_000, 2));
    }

    #[test]
    fn pcm_frames_are_the_sources_period_where_that_is_a_good_one() {
        let frames =
            |codec, period| packetizer_config(&media(codec), &Shape { rate: 48_000, channels: 2, period }).frames;
        assert_eq!(frames(Codec::Pcm(Encoding::S16Be), 128), 128);
        assert_eq!(frames(Codec::Pcm(Encoding::S16Be), 24), 120);
        assert_eq!(frames(Codec::Pcm(Encoding::S16Be), 1024), 120);
        assert_eq!(frames(Codec::Pcm(Encoding::S24Be), 240), 120, "1440 bytes do not fit a packet");
        assert_eq!(frames(Codec::Opus, 128), 240);
    }
}
