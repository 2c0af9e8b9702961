//! Which PCMs ALSA has.

use alsa::card::{self, Card};
use alsa::ctl::{Ctl, DeviceIter};
use alsa::device_name::HintIter;
use alsa::pcm::{HwParams, PCM};

use super::alsa_card::{DEFAULT, alsa_direction, silence_library};
use super::host::{Direction, Host};
use super::list::Device;

/// The PCMs of all cards, and those that are configured without a card of their own.
///
/// A card's PCM is listed once, as `plughw:`, which converts what the hardware can't; the other
/// names that ALSA derives from it open as well.
pub(super) fn devices() -> Vec<Device> {
    let _asides = silence_library();
    let cards: Vec<Card> = card::Iter::new().filter_map(Result::ok).collect();
    let mut devices = configured(!cards.is_empty());
    devices.extend(cards.iter().flat_map(|card| on_card(card).unwrap_or_default()));
    devices
}

/// `default` and what the user has configured. Without a card, `default` is at best a way to
/// the sound server, which is listed itself.
fn configured(has_cards: bool) -> Vec<Device> {
    let Ok(hints) = HintIter::new(None, c"pcm") else {
        return Vec::new();
    };
    let hints = hints.filter_map(|hint| {
        let id = hint.name?;
        let of_card = id.contains("CARD=");
        if of_card || UNWANTED.contains(&id.as_str()) || (id == DEFAULT && !has_cards) {
            return None;
        }
        let directions = match hint.direction {
            Some(alsa::Direction::Capture) => vec![Direction::Input],
            Some(alsa::Direction::Playback) => vec![Direction::Output],
            None => vec![Direction::Input, Direction::Output],
        };
        let name = hint.desc.unwrap_or_else(|| id.clone());
        Some(device(&id, name.lines().next().unwrap_or_default(), directions))
    });
    hints.collect()
}

fn on_card(card: &Card) -> Result<Vec<Device>, alsa::Error> {
    let control = Ctl::from_card(card, true)?;
    let about = control.card_info()?;
    let (card_id, card_name) = (about.get_id()?, about.get_name()?);
    let devices = DeviceIter::new(&control).filter_map(|number| {
        let number = number as u32;
        let has = |direction| {
            let direction = alsa_direction(direction);
            control.pcm_info(number, 0, direction).ok()
        };
        let (input, output) = (has(Direction::Input), has(Direction::Output));
        let info = input.as_ref().or(output.as_ref())?;
        let name = format!("{card_name}, {}", info.get_name().unwrap_or_default());
        let mut directions = Vec::new();
        directions.extend(input.is_some().then_some(Direction::Input));
        directions.extend(output.is_some().then_some(Direction::Output));
        let place = format!("CARD={card_id},DEV={number}");
        let mut device = device(&format!("plughw:{place}"), &name, directions);
        describe_hardware(&mut device, &format!("hw:{place}"));
        Some(device)
    });
    Ok(devices.collect())
}

/// Adds what the hardware does by itself. Fails silently where another program has it open.
fn describe_hardware(device: &mut Device, hardware: &str) {
    for direction in device.directions.clone() {
        let Ok(pcm) = PCM::new(hardware, alsa_direction(direction), true) else {
            continue;
        };
        let Ok(can) = HwParams::any(&pcm) else {
            continue;
        };
        let rates = RATES.into_iter().filter(|rate| can.test_rate(*rate).is_ok());
        let channels = (1..=MANY_CHANNELS).filter(|count| can.test_channels(*count).is_ok());
        device.rates = rates.collect();
        device.channels = channels.map(|count| count as u16).collect();
    }
}

fn device(pcm: &str, name: &str, directions: Vec<Direction>) -> Device {
    let is_default = pcm == DEFAULT;
    Device {
        index: 0,
        host: Host::Alsa,
        name: name.into(),
        id: format!("{}:{pcm}", Host::Alsa.prefix()),
        default_for: if is_default { directions.clone() } else { Vec::new() },
        directions,
        rates: Vec::new(),
        channels: Vec::new(),
    }
}

/// ALSA's own: converters that need a device of their own, and ways to what is listed already.
const UNWANTED: [&str; 12] = [
    "null",
    "jack",
    "oss",
    "pulse",
    "pipewire",
    "lavrate",
    "samplerate",
    "speexrate",
    "speex",
    "upmix",
    "vdownmix",
    "sysdefault",
];

/// The rates that cards have.
const RATES: [u32; 11] = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000];

/// The most that a MADI card has.
const MANY_CHANNELS: u32 = 64;
