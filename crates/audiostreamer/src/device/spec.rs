//! Which device a user means.

use std::fmt;

use super::card_error::CardError;
use super::host::{Direction, Host};
use super::list::Device;

/// A device as a user names it: nothing at all, a number, `pulse:NAME`, or a name or part of it.
///
/// Any text is one, so reading it never fails; whether there is such a device shows when it is
/// opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DeviceSpec {
    /// What the machine itself uses.
    #[default]
    Default,
    /// The number in the list of devices.
    Index(usize),
    /// A device of one sound system; its default where the name is empty.
    ///
    /// PulseAudio: a name or part of it. JACK: the client to connect to. ALSA: any PCM name,
    /// listed or not, such as `plughw:1,0`.
    On(Host, String),
    /// A name, a description, or part of one, on any sound system.
    Name(String),
}

impl From<&str> for DeviceSpec {
    fn from(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Default;
        }
        if let Ok(index) = text.parse() {
            return Self::Index(index);
        }
        let host = Host::ALL.into_iter().find_map(|host| {
            let rest = text.strip_prefix(host.prefix())?.strip_prefix(':')?;
            Some(Self::On(host, rest.into()))
        });
        host.unwrap_or_else(|| Self::Name(text.into()))
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => Ok(()),
            Self::Index(index) => index.fmt(f),
            Self::On(host, name) => write!(f, "{}:{name}", host.prefix()),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl DeviceSpec {
    /// The one device of the list that is meant.
    ///
    /// An exact name goes before a part of one. Where several sound systems know the name, which
    /// is usual for a card, the first in [`Host::ALL`] has it.
    pub(super) fn pick<'a>(&self, devices: &'a [Device], direction: Direction) -> Result<&'a Device, CardError> {
        let usable = || devices.iter().filter(|device| device.can(direction));
        let found: Vec<&Device> = match self {
            Self::Default => usable().filter(|d| d.is_default_for(direction)).collect(),
            Self::Index(index) => usable().filter(|d| d.index == *index).collect(),
            Self::On(host, name) if name.is_empty() => usable().filter(|d| d.host == *host).take(1).collect(),
            Self::On(host, name) => named(name, usable().filter(|d| d.host == *host)),
            Self::Name(name) => named(name, usable()),
        };
        match found[..] {
            [device] => Ok(device),
            [] => Err(self.not_found(usable(), direction)),
            _ => Err(CardError::Ambiguous {
                wanted: self.to_string(),
                direction,
                candidates: found.into_iter().map(Device::to_string).collect(),
            }),
        }
    }

    /// The error that tells what there is instead.
    pub(super) fn not_found<'a>(&self, usable: impl Iterator<Item = &'a Device>, direction: Direction) -> CardError {
        CardError::NotFound { wanted: self.to_string(), direction, available: usable.map(Device::to_string).collect() }
    }
}

fn named<'a>(wanted: &str, devices: impl Iterator<Item = &'a Device> + Clone) -> Vec<&'a Device> {
    let wanted = wanted.to_lowercase();
    let exactly = |text: &str| text == wanted;
    let partly = |text: &str| text.contains(&wanted);
    let exact = of_first_host(devices.clone(), exactly);
    if exact.is_empty() { of_first_host(devices, partly) } else { exact }
}

fn of_first_host<'a>(
    devices: impl Iterator<Item = &'a Device> + Clone,
    fits: impl Fn(&str) -> bool,
) -> Vec<&'a Device> {
    let all = devices.filter(|device| {
        let id = device.id.to_lowercase();
        let short = id.split_once(':').map_or("", |(_, short)| short);
        fits(&id) || fits(short) || fits(&device.name.to_lowercase())
    });
    let mut found: Vec<&Device> = all.collect();
    let first = Host::ALL.into_iter().find(|host| found.iter().any(|device| device.host == *host));
    found.retain(|device| Some(device.host) == first);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_means_the_default() {
        assert_eq!(spec(""), DeviceSpec::Default);
        assert_eq!(spec("  "), DeviceSpec::Default);
    }

    #[test]
    fn a_number_is_an_index_and_a_prefix_names_the_sound_system() {
        assert_eq!(spec("3"), DeviceSpec::Index(3));
        assert_eq!(spec("jack:"), DeviceSpec::On(Host::Jack, "".into()));
        assert_eq!(spec("alsa:plughw:1,0"), DeviceSpec::On(Host::Alsa, "plughw:1,0".into()));
        assert_eq!(spec("Yeti"), DeviceSpec::Name("Yeti".into()));
        assert_eq!(spec("alsa"), DeviceSpec::Name("alsa".into()));
    }

    #[test]
    fn a_spec_prints_as_it_was_written() {
        for text in ["", "3", "pulse:mic", "jack:", "alsa:plughw:1,0", "Yeti"] {
            assert_eq!(spec(text).to_string(), text);
        }
    }

    #[test]
    fn a_part_of_a_name_is_enough_in_any_case() {
        assert_eq!(input("YETI"), "pulse:alsa_input.usb-blue");
        assert_eq!(input("usb-blue"), "pulse:alsa_input.usb-blue");
        assert_eq!(input("pulse:yeti"), "pulse:alsa_input.usb-blue");
    }

    #[test]
    fn an_exact_name_goes_before_a_part_of_another() {
        assert_eq!(output("room"), "pulse:room");
        assert_eq!(output("pulse:room"), "pulse:room");
        assert_eq!(output("Room 2"), "pulse:room2");
    }

    #[test]
    fn a_card_known_to_several_systems_is_taken_from_the_first() {
        assert_eq!(output("hdmi"), "pulse:hdmi");
        assert_eq!(output("plughw:CARD=HDMI,DEV=3"), "alsa:plughw:CARD=HDMI,DEV=3");
    }

    #[test]
    fn the_default_is_the_marked_one_of_its_direction() {
        assert_eq!(input(""), "pulse:alsa_input.usb-blue");
        assert_eq!(output(""), "pulse:room");
    }

    #[test]
    fn an_index_counts_over_both_directions() {
        assert_eq!(input("3"), "pulse:alsa_input.usb-blue");
        let wrong = spec("0").pick(&machine(), Direction::Input).unwrap_err();
        assert_eq!(wrong.to_string(), "there is no input device \"0\"; there is pulse:alsa_input.usb-blue (Blue Yeti)");
    }

    #[test]
    fn a_part_of_several_names_lists_them() {
        let error = spec("roo").pick(&machine(), Direction::Output).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"roo\" is not the name of one output device; \
            there is pulse:room (Room), pulse:room2 (Room 2)"
        );
    }

    #[test]
    fn a_machine_without_devices_says_so() {
        let error = spec("mic").pick(&[], Direction::Input).unwrap_err();
        assert_eq!(error.to_string(), "there is no input device \"mic\"; none was found at all");
    }

    fn spec(text: &str) -> DeviceSpec {
        text.into()
    }

    fn input(text: &str) -> String {
        let devices = machine();
        spec(text).pick(&devices, Direction::Input).unwrap().id.clone()
    }

    fn output(text: &str) -> String {
        let devices = machine();
        spec(text).pick(&devices, Direction::Output).unwrap().id.clone()
    }

    fn machine() -> Vec<Device> {
        let device = |host, id: &str, name: &str, direction, default| Device {
            index: 0,
            host,
            name: name.into(),
            id: id.into(),
            directions: vec![direction],
            rates: vec![],
            channels: vec![],
            default_for: if default { vec![direction] } else { vec![] },
        };
        use Direction::{Input, Output};
        let mut devices = vec![
            device(Host::Pulse, "pulse:room", "Room", Output, true),
            device(Host::Pulse, "pulse:room2", "Room 2", Output, false),
            device(Host::Pulse, "pulse:hdmi", "HDA HDMI", Output, false),
            device(Host::Pulse, "pulse:alsa_input.usb-blue", "Blue Yeti", Input, true),
            device(Host::Alsa, "alsa:plughw:CARD=HDMI,DEV=3", "HDA HDMI", Output, false),
        ];
        for (index, device) in devices.iter_mut().enumerate() {
            device.index = index;
        }
        devices
    }
}
