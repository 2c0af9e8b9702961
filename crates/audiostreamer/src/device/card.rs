//! A sound card, reached through any of the sound systems.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::alsa_card::{self, AlsaCard};
use super::card_error::CardError;
use super::host::{Direction, Host};
use super::jack_card::{self, JackCard};
use super::list::{devices, devices_of};
use super::pulse_card::{self, PulseCard};
use super::spec::DeviceSpec;
use super::vitals::{Callback, Vitals};
use super::{Shape, Wanted};

/// Where a device is opened.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// What the user has asked for.
    Meant(DeviceSpec),
    /// Where that was found the first time. Later a number in the list may mean another device,
    /// and the default another sound system: they change while a sound server restarts.
    Found(Target),
}

impl Place {
    /// Opens the device, silent. May block for as long as a sound system hangs.
    pub(super) fn open(&self, direction: Direction, wanted: &Wanted) -> Result<(Target, Card), CardError> {
        let (target, patience) = match self {
            Place::Meant(spec) => (Target::find(spec, direction)?, Duration::ZERO),
            Place::Found(target) => (target.clone(), RETURN),
        };
        match target.open(direction, wanted, patience) {
            Ok(card) => Ok((target, card)),
            Err(error) => Err(self.instead_of(error, direction)),
        }
    }

    /// How long an open device may take to move its first sound.
    pub(super) fn to_start(&self) -> Duration {
        match self {
            // It calls everybody in each period. Whoever joins while it starts is forgotten now and
            // then, and has to join again.
            Place::Found(Target { host: Host::Jack, .. }) => Duration::from_millis(500),
            // A sink that was idle has rendered silence for two seconds in advance, and takes no
            // sound until that is over.
            _ => Duration::from_secs(4),
        }
    }

    /// Adds what else there is to an error that the user sees. Only then: the list opens every
    /// card for a moment, which is nothing to do again and again.
    fn instead_of(&self, error: CardError, direction: Direction) -> CardError {
        let Place::Meant(spec) = self else {
            return error;
        };
        let is_default = *spec == DeviceSpec::Default;
        let is_bare = matches!(&error, CardError::NotFound { available, .. } if available.is_empty());
        if !is_default && !is_bare {
            return error;
        }
        let all = devices();
        if is_default && all.is_empty() {
            CardError::NoDefault { direction }
        } else if is_bare {
            spec.not_found(all.iter().filter(|device| device.can(direction)), direction)
        } else {
            error
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Meant(DeviceSpec::Default) => f.write_str("the default device"),
            Place::Meant(spec) => spec.fmt(f),
            Place::Found(Target { host, name: None }) => write!(f, "{host}"),
            Place::Found(Target { host, name: Some(name) }) => write!(f, "{}:{name}", host.prefix()),
        }
    }
}

/// A device, found by the name that its sound system has for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    host: Host,
    /// `None` is whatever the sound system's default is when it is opened.
    name: Option<String>,
}

impl Target {
    /// Finds the device that is meant.
    fn find(spec: &DeviceSpec, direction: Direction) -> Result<Self, CardError> {
        let device = match spec {
            DeviceSpec::Default => return Ok(Self::new(usual_host(), "")),
            DeviceSpec::On(host @ (Host::Alsa | Host::Jack), name) => {
                return Ok(Self::new(*host, name));
            }
            // Where no server runs, opening says so.
            DeviceSpec::On(host, name) if name.is_empty() || !pulse_card::is_reachable() => {
                return Ok(Self::new(*host, name));
            }
            DeviceSpec::On(host, _) => spec.pick(&devices_of(*host), direction)?.clone(),
            DeviceSpec::Index(_) | DeviceSpec::Name(_) => spec.pick(&devices(), direction)?.clone(),
        };
        let name = device.id.split_once(':').map_or("", |(_, name)| name);
        Ok(Self::new(device.host, name))
    }

    fn new(host: Host, name: &str) -> Self {
        Self { host, name: (!name.is_empty()).then(|| name.into()) }
    }

    /// `patience` is for what may be about to come back, where waiting for it is better than asking
    /// again.
    fn open(&self, direction: Direction, wanted: &Wanted, patience: Duration) -> Result<Card, CardError> {
        let name = self.name.as_deref();
        Ok(match self.host {
            Host::Pulse => Card::Pulse(PulseCard::open(name, direction, wanted)?),
            Host::Jack => Card::Jack(JackCard::open(name, direction, wanted, patience)?),
            Host::Alsa => Card::Alsa(AlsaCard::open(name, direction, wanted)?),
        })
    }
}

/// The sound system that is used when nobody says which. A server that runs has the card, and
/// who runs JACK without PulseAudio or PipeWire wants it to be used.
fn usual_host() -> Host {
    if pulse_card::is_reachable() {
        Host::Pulse
    } else if jack_card::is_running() {
        Host::Jack
    } else {
        Host::Alsa
    }
}

/// How long to wait for a program that was there before: as long as a listener should wait.
const RETURN: Duration = Duration::from_secs(1);

/// An open device, before the first sound.
pub(super) enum Card {
    Pulse(PulseCard),
    Jack(JackCard),
    Alsa(AlsaCard),
}

impl Card {
    /// For people.
    pub(super) fn name(&self) -> String {
        match self {
            Card::Pulse(card) => card.name().into(),
            Card::Jack(card) => card.name(),
            Card::Alsa(card) => card.name().into(),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Card::Pulse(card) => card.shape(),
            Card::Jack(card) => card.shape(),
            Card::Alsa(card) => card.shape(),
        }
    }

    /// Moves sound until `vitals` is closed, which is `Ok`, or the device ends it, which is an
    /// error in words.
    pub(super) fn run(self, callback: Callback, vitals: &Arc<Vitals>) -> Result<(), String> {
        match self {
            Card::Pulse(card) => card.run(callback, vitals).map_err(|e| e.to_string()),
            Card::Jack(card) => card.run(callback, vitals).map_err(|e| e.to_string()),
            Card::Alsa(card) => card.run(callback, vitals).map_err(alsa_card::explain),
        }
    }
}
