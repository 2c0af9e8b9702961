//! The card that a server plays on: opened, lost, left while nobody is there, and taken again.

use std::time::Duration;

use audiostreamer_core::mixer::{Mixer, MixerHandle};
use audiostreamer_core::playout::{Latency, Profile};
use tokio::sync::mpsc::UnboundedSender;

use super::trace::Trace;
use super::{Config, Server};
use crate::clock;
use crate::device::{self, Notice, Shape, Xruns};
use crate::error::Error;
use crate::recording::Recording;
use crate::report::{Event, Report};

/// The most frames that playouts are made for at once; larger blocks are filled in pieces.
pub(super) const FRAMES_MAX: usize = 1024;

/// A card that was released and can't be opened is tried again after so long.
const REOPEN: Duration = Duration::from_secs(1);

pub(super) enum SinkEvent {
    Opened(MixerHandle, Shape),
    Notice(Notice),
}

pub(super) fn start_sink(
    config: &Config,
    (recording, trace): (Option<&Recording>, Option<&Trace>),
    xruns: Xruns,
    events: UnboundedSender<SinkEvent>,
) -> Result<device::Running, Error> {
    let (recorders, cards) = (recording.map(Recording::recorders), trace.map(Trace::cards));
    let (clients_max, played) = (config.clients_max, config.played.clone());
    let opened = events.clone();
    let make = move |shape: &Shape| -> device::Render {
        let (handle, mut mixer) = Mixer::new(shape.rate, shape.channels, FRAMES_MAX, 2 * clients_max);
        let _ = opened.send(SinkEvent::Opened(handle, *shape)); // a server that is gone plays nothing
        let mut recorder = recorders.as_ref().and_then(|recorders| recorders.of_card(shape));
        let mut played = played.as_ref().map(|played| played.tap(*shape));
        let (mut asking, channels) = (cards.as_ref().map(|cards| cards(shape)), usize::from(shape.channels));
        Box::new(move |out, delay| {
            let now = clock::now();
            asking.iter_mut().for_each(|asking| asking.ask(now, out.len() / channels));
            mixer.fill(now, delay, out);
            played.iter_mut().for_each(|played| played.handle(now + delay, out));
            recorder.iter_mut().for_each(|recorder| recorder.record(out, mixer.makes_up()));
        })
    };
    let notify = move |notice| drop(events.send(SinkEvent::Notice(notice)));
    Ok(device::start_sink(&config.sink, config.wanted, xruns, make, notify)?)
}

pub(super) enum Playing {
    Goes,
    /// Nobody takes what is played any more.
    Ended,
}

/// The card as the streams see it.
pub(crate) struct Output {
    pub mixer: MixerHandle,
    pub shape: Shape,
    pub latency: Latency,
    pub profile: Profile,
}

impl<R: Fn(Report)> Server<R> {
    pub(super) fn handle_sink(&mut self, event: Option<SinkEvent>) -> Result<Playing, Error> {
        match event {
            Some(SinkEvent::Opened(mixer, shape)) => {
                let &Config { latency, profile, .. } = &self.config;
                self.output = Some(Output { mixer, shape, latency, profile });
                for stream in &mut self.streams {
                    stream.reopen(self.output.as_mut());
                }
            }
            Some(SinkEvent::Notice(Notice::Opened { name, shape })) => self.say(Event::Playing { name, shape }),
            Some(SinkEvent::Notice(Notice::Lost { name, why })) => {
                self.output = None;
                self.say(Event::DeviceLost { name, why });
            }
            Some(SinkEvent::Notice(Notice::Gap(gap))) => self.say(Event::Gap(gap)),
            Some(SinkEvent::Notice(Notice::Failed(error))) => return Err(error.into()),
            Some(SinkEvent::Notice(Notice::Ended)) | None => {
                self.say(Event::OutputClosed);
                return Ok(Playing::Ended);
            }
        }
        Ok(Playing::Goes)
    }

    /// Whether nobody has been there for so long that the card is left to others.
    pub(super) fn releases_sink(&self) -> bool {
        self.config.idle_release.is_some_and(|after| clock::now() - self.last_client > after)
    }

    pub(super) fn handle_released(&mut self) {
        self.output = None;
        let idle = self.config.idle_release.unwrap_or_default();
        self.say(Event::OutputReleased { idle });
    }

    /// Whether somebody is there, or has just come.
    pub(super) fn wants_sink(&self) -> bool {
        !self.releases_sink() && clock::now() >= self.next_opening
    }

    /// The card is open again, or will be tried again.
    pub(super) fn opened(&mut self, sink: Result<device::Running, Error>) -> Option<device::Running> {
        sink.inspect_err(|why| {
            self.next_opening = clock::now() + REOPEN;
            self.say(Event::OutputGone { why: why.to_string() });
        })
        .ok()
    }
}
