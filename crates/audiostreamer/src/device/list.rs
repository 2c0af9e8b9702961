//! The devices of this machine.

use std::fmt::{self, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::host::{Direction, Host};
use super::{alsa_list, jack_card, pulse_list};
use crate::clock;

/// A sound device, as `audiostreamer devices` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its number in the list; the same for input and output.
    pub index: usize,
    /// The sound system that it is reached through.
    pub host: Host,
    /// For people.
    pub name: String,
    /// Names it for `--input` and `--output`, also after a restart.
    pub id: String,
    /// Whether it captures, plays, or both.
    pub directions: Vec<Direction>,
    /// Frames per second that it runs at by itself. Empty where only opening it would tell.
    pub rates: Vec<u32>,
    /// How many channels it has by itself. Empty where only opening it would tell.
    pub channels: Vec<u16>,
    /// The directions in which it is used when nobody says which device.
    pub default_for: Vec<Direction>,
}

impl Device {
    /// Whether it has this direction.
    pub fn can(&self, direction: Direction) -> bool {
        self.directions.contains(&direction)
    }

    /// Whether it is used in this direction when nobody says which device.
    pub fn is_default_for(&self, direction: Direction) -> bool {
        self.default_for.contains(&direction)
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.id, self.name)
    }
}

/// All devices that are there now. Starts no sound server and opens nothing that could be in
/// somebody's way; a sound system that does not answer within 3 s is left out.
pub fn devices() -> Vec<Device> {
    let deadline = clock::now() + PATIENCE;
    let answers = Host::ALL.map(|host| {
        let (answer, answered) = mpsc::channel();
        // Without a thread to ask in, this sound system counts as silent.
        let _ = thread::Builder::new().spawn(move || answer.send(devices_of(host)));
        answered
    });
    let all = answers.into_iter().filter_map(|answered| answered.recv_timeout(deadline - clock::now()).ok()).flatten();
    number(all.collect())
}

/// The devices of one sound system, each marked if it is the default there. May block.
pub(super) fn devices_of(host: Host) -> Vec<Device> {
    match host {
        Host::Pulse => pulse_list::devices(),
        Host::Jack => jack_card::devices(),
        Host::Alsa => alsa_list::devices(),
    }
}

/// Numbers the devices and leaves one default for each direction: that of the first host.
fn number(mut devices: Vec<Device>) -> Vec<Device> {
    let mut open = vec![Direction::Input, Direction::Output];
    for (index, device) in devices.iter_mut().enumerate() {
        device.index = index;
        device.default_for.retain(|direction| open.contains(direction));
        open.retain(|direction| !device.default_for.contains(direction));
    }
    devices
}

/// The list for people: a line for each device, columns aligned.
pub fn table(devices: &[Device]) -> String {
    let head = ["", "NAME", "DIRECTION", "RATE", "CHANNELS", "ID"].map(String::from);
    let mut rows = vec![head];
    rows.extend(devices.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 6] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}  "); // a String takes everything
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(device: &Device) -> [String; 6] {
    let directions = device.directions.iter().map(|direction| {
        let default = device.is_default_for(*direction);
        format!("{direction}{}", if default { " (default)" } else { "" })
    });
    [
        device.index.to_string(),
        device.name.clone(),
        directions.collect::<Vec<_>>().join(", "),
        range(&device.rates),
        range(&device.channels),
        device.id.clone(),
    ]
}

fn range<T: Copy + Ord + fmt::Display>(values: &[T]) -> String {
    match (values.iter().min(), values.iter().max()) {
        (Some(least), Some(most)) if least < most => format!("{least}-{most}"),
        (Some(only), _) => only.to_string(),
        _ => String::new(),
    }
}

/// A sound server answers in milliseconds; opening a card that sleeps takes up to a second.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_default_for_each_direction() {
        use Direction::{Input, Output};
        let mut first = device("pulse:speaker", &[Output]);
        first.default_for = vec![Output];
        let mut second = device("alsa:default", &[Input, Output]);
        second.default_for = vec![Input, Output];
        let devices = number(vec![first, second]);
        assert_eq!(devices[0].default_for, [Output]);
        assert_eq!(devices[1].default_for, [Input]);
        assert_eq!(devices[1].index, 1);
    }

    #[test]
    fn the_table_is_aligned_and_marks_the_defaults() {
        use Direction::{Input, Output};
        let mut speaker = device("pulse:speaker", &[Output]);
        speaker.default_for = vec![Output];
        speaker.rates = vec![48_000];
        speaker.channels = vec![2];
        let mut card = device("alsa:plughw:CARD=X,DEV=0", &[Input, Output]);
        card.rates = vec![44_100, 96_000];
        let text = table(&number(vec![speaker, card]));
        assert_eq!(
            text,
            "   NAME  DIRECTION         RATE         CHANNELS  ID\n\
             0  Some  output (default)  48000        2         pulse:speaker\n\
             1  Some  input, output     44100-96000            alsa:plughw:CARD=X,DEV=0\n"
        );
    }

    fn device(id: &str, directions: &[Direction]) -> Device {
        Device {
            index: 0,
            host: Host::Pulse,
            name: "Some".into(),
            id: id.into(),
            directions: directions.to_vec(),
            rates: vec![],
            channels: vec![],
            default_for: vec![],
        }
    }
}
