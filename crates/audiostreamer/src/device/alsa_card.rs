//! ALSA devices: the kernel's, and any PCM name that is configured on top of them.
//!
//! Own code rather than a portable audio crate, because those open listed devices only, and
//! spin on a full core while a plugin such as the one to PulseAudio has no sound yet.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use alsa::pcm::{Access, Format, Frames, HwParams, PCM};
use alsa::{Output, ValueOr};
use audiostreamer_core::Encoding;
use audiostreamer_core::codec::pcm;
use audiostreamer_core::duration_of;

use super::card_error::CardError;
use super::host::{Direction, Host};
use super::priority::raise_for_audio;
use super::vitals::{Callback, Vitals, Watched};
use super::{Capture, Render, Shape, Wanted, pace};
use crate::error::plain;

/// A PCM that is open and waits to be started.
pub(super) struct AlsaCard {
    pcm: PCM,
    name: String,
    shape: Shape,
    encoding: Encoding,
    /// Frames that fit between this end and the card.
    buffer: Frames,
}

impl AlsaCard {
    /// Opens the PCM with this name, or the default.
    pub(super) fn open(name: Option<&str>, direction: Direction, wanted: &Wanted) -> Result<Self, CardError> {
        let asides = silence_library();
        let name = name.unwrap_or(DEFAULT);
        // Not blocking, or it would wait for as long as another program has the card.
        let pcm = PCM::new(name, alsa_direction(direction), true);
        let pcm = pcm.map_err(|error| refusal(name, direction, error, reason(&asides)))?;
        let name = format!("{}:{name}", Host::Alsa.prefix());
        Self::configured(pcm, &name, wanted).map_err(|error| misfit(name, error))
    }

    /// Chooses rate, channels and encoding, and makes the buffer two periods long.
    fn configured(pcm: PCM, name: &str, wanted: &Wanted) -> Result<Self, alsa::Error> {
        let hardware = HwParams::any(&pcm)?;
        hardware.set_access(Access::RWInterleaved)?;
        let encoding = choose_encoding(&hardware)?;
        hardware.set_channels_near(wanted.shape().channels.into())?;
        hardware.set_rate_near(wanted.shape().rate, ValueOr::Nearest)?;
        let rate = hardware.get_rate()?;
        let period = pace::period(wanted.period, rate) as Frames;
        let period = hardware.set_period_size_near(period, ValueOr::Nearest)?;
        hardware.set_buffer_size_near(2 * period)?;
        pcm.hw_params(&hardware)?;
        let (period, buffer) = (hardware.get_period_size()?, hardware.get_buffer_size()?);
        let channels = hardware.get_channels()? as u16;
        drop(hardware);

        let software = pcm.sw_params_current()?;
        software.set_avail_min(period)?;
        software.set_start_threshold(buffer)?; // a full buffer starts to play
        pcm.sw_params(&software)?;
        drop(software);
        pcm.prepare()?;
        Ok(Self { pcm, name: name.into(), shape: Shape { rate, channels, period: period as usize }, encoding, buffer })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Moves sound on this thread until nobody wants it or the device fails.
    pub(super) fn run(self, callback: Callback, vitals: &Arc<Vitals>) -> Result<(), alsa::Error> {
        // Only a real card sets the pace. A plugin that never waits would take the whole core.
        if self.pcm.info()?.get_card() >= 0 {
            raise_for_audio();
        }
        let channels = self.shape.channels;
        match callback {
            Callback::Capture(capture) => self.capture(Watched::new(capture, channels, vitals), vitals),
            Callback::Render(render) => self.play(Watched::new(render, channels, vitals), vitals),
        }
    }

    fn capture(&self, mut ear: Watched<Capture>, vitals: &Vitals) -> Result<(), alsa::Error> {
        let mut samples = self.block();
        let mut bytes = vec![0; samples.len() * self.encoding.bytes()];
        let mut troubles = Troubles::default();
        self.pcm.start()?;
        while !vitals.is_closed() {
            let read = self.wait_for_period().and_then(|ready| match ready {
                Some(ready) => {
                    let age = self.distance(ready);
                    let read = self.pcm.io_bytes().readi(&mut bytes);
                    read.map(|frames| (frames, age))
                }
                None => Ok((0, Duration::ZERO)),
            });
            match read {
                Ok((0, _)) => {}
                Ok((frames, age)) => {
                    troubles.over();
                    let count = frames * usize::from(self.shape.channels);
                    let bytes = &bytes[..count * self.encoding.bytes()];
                    pcm::decode(self.encoding, bytes, &mut samples[..count]);
                    ear.hear(&samples[..count], age);
                }
                Err(error) => {
                    troubles.recover(&self.pcm, error, vitals)?;
                    self.pcm.start()?;
                }
            }
        }
        Ok(())
    }

    fn play(&self, mut voice: Watched<Render>, vitals: &Vitals) -> Result<(), alsa::Error> {
        let mut samples = self.block();
        let mut bytes = vec![0; samples.len() * self.encoding.bytes()];
        let mut troubles = Troubles::default();
        while !vitals.is_closed() {
            let played = self.wait_for_period().and_then(|ready| {
                let Some(free) = ready else {
                    return Ok(());
                };
                voice.fill(&mut samples, self.distance(self.buffer - free));
                bytes.clear();
                pcm::encode(self.encoding, &samples, &mut bytes);
                self.write(&bytes, vitals)?;
                troubles.over();
                Ok(())
            });
            if let Err(error) = played {
                troubles.recover(&self.pcm, error, vitals)?;
            }
        }
        Ok(())
    }

    /// Writes all of a block. A plugin that converts rates may take it in pieces.
    fn write(&self, mut bytes: &[u8], vitals: &Vitals) -> Result<(), alsa::Error> {
        let frame_bytes = usize::from(self.shape.channels) * self.encoding.bytes();
        while !bytes.is_empty() && !vitals.is_closed() {
            match self.pcm.io_bytes().writei(bytes) {
                Ok(frames) => bytes = &bytes[frames * frame_bytes..],
                Err(error) if error.errno() == libc::EAGAIN => {
                    self.pcm.wait(Some(GLANCE_MS))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits a while until a period can be moved; then returns how many frames can be.
    fn wait_for_period(&self) -> Result<Option<Frames>, alsa::Error> {
        if !self.pcm.wait(Some(GLANCE_MS))? {
            return Ok(None);
        }
        let ready = self.pcm.avail()?;
        let missing = self.shape.period as Frames - ready;
        if missing <= 0 {
            return Ok(Some(ready));
        }
        // A plugin may wake us early, again and again; time is what brings the rest.
        thread::sleep(self.time(missing).min(LONGEST_NAP));
        Ok(None)
    }

    /// How far the air is behind this end, where so many frames wait. They are part of the way,
    /// though some plugins leave them out, or do not know the way before sound moves.
    fn distance(&self, waiting: Frames) -> Duration {
        self.time(self.pcm.delay().unwrap_or(waiting).max(waiting))
    }

    fn block(&self) -> Vec<f32> {
        vec![0.0; self.shape.period * usize::from(self.shape.channels)]
    }

    fn time(&self, frames: Frames) -> Duration {
        duration_of(frames.max(0) as u64, self.shape.rate)
    }
}

fn choose_encoding(hardware: &HwParams) -> Result<Encoding, alsa::Error> {
    let offered = ENCODINGS.into_iter().find(|(format, _)| hardware.test_format(*format).is_ok());
    let (format, encoding) = offered.unwrap_or(ENCODINGS[0]);
    hardware.set_format(format)?; // says what is wrong where none is offered
    Ok(encoding)
}

/// Errors since sound was last moved.
#[derive(Default)]
struct Troubles(u32);

impl Troubles {
    fn over(&mut self) {
        self.0 = 0;
    }

    /// Gets the device going again after an overrun, an underrun or a suspend; fails where it is
    /// gone or nothing helps.
    fn recover(&mut self, pcm: &PCM, error: alsa::Error, vitals: &Vitals) -> Result<(), alsa::Error> {
        self.0 += 1;

        if self.0 > MANY_TROUBLES {
            return Err(error);
        }
        match error.errno() {
            libc::EAGAIN => Ok(()),
            libc::EPIPE => {
                vitals.count_xrun();
                pcm.try_recover(error, true)
            }
            _ => pcm.try_recover(error, true),
        }
    }
}

/// What the library says beside its error codes, line by line; `None` goes to the terminal.
type Asides = Option<Rc<RefCell<Output>>>;

/// Keeps that off the terminal, from now on and on this thread.
pub(super) fn silence_library() -> Asides {
    Output::local_error_handler().ok()
}

/// The first cause that it named. What follows is who could do nothing without that.
fn reason(asides: &Asides) -> Option<String> {
    let said = asides.as_ref()?.borrow().to_string();
    let (_function, reason) = said.lines().next()?.split_once(": ")?;
    Some(reason.to_owned())
}

fn refusal(name: &str, direction: Direction, error: alsa::Error, reason: Option<String>) -> CardError {
    let is_unknown = name.contains("hw:") || reason.as_ref().is_some_and(|reason| reason.starts_with("Unknown PCM"));
    let name = format!("{}:{name}", Host::Alsa.prefix());
    let why = match error.errno() {
        libc::ENOENT | libc::ENODEV if is_unknown => {
            return CardError::NotFound { wanted: name, direction, available: Vec::new() };
        }
        libc::EBUSY | libc::EAGAIN => "another program uses it".into(),
        libc::EACCES | libc::EPERM => "not allowed; is the user in the group audio?".into(),
        libc::EINVAL => format!("it is no {direction} device"),
        _ => reason.unwrap_or_else(|| explain(error)),
    };
    CardError::Open { name, why }
}

fn misfit(name: String, error: alsa::Error) -> CardError {
    let way_out = match name.strip_prefix("alsa:hw:") {
        Some(place) => format!("; alsa:plughw:{place} converts"),
        None => String::new(),
    };
    CardError::Open { name, why: format!("none of its formats will do ({}){way_out}", explain(error)) }
}

/// The cause in the system's words.
pub(super) fn explain(error: alsa::Error) -> String {
    plain(&std::io::Error::from_raw_os_error(error.errno()))
}

pub(super) fn alsa_direction(direction: Direction) -> alsa::Direction {
    match direction {
        Direction::Input => alsa::Direction::Capture,
        Direction::Output => alsa::Direction::Playback,
    }
}

/// The PCM that is what the user, or the distribution, configured.
pub(super) const DEFAULT: &str = "default";

/// What sound is moved in, best first: no conversion, then no loss, then what is left.
const ENCODINGS: [(Format, Encoding); 5] = [
    (Format::FloatLE, Encoding::F32Le),
    (Format::S32LE, Encoding::S32Le),
    (Format::S243LE, Encoding::S24Le),
    (Format::S16LE, Encoding::S16Le),
    (Format::U8, Encoding::U8),
];

/// How long a PCM that is no longer wanted may go on.
const GLANCE_MS: u32 = 100;

const LONGEST_NAP: Duration = Duration::from_millis(5);

/// Far more than a card needs that is well.
const MANY_TROUBLES: u32 = 100;
