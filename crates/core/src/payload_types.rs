//! Which payload type means which format.

use crate::Format;

/// The payload types of one session: numbers 0 to 127 on the wire to formats and back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadTypes {
    formats: [Option<Format>; 128],
}

impl PayloadTypes {
    /// Redundancy (RFC 2198), where nothing else has this number.
    pub const REDUNDANCY: u8 = 99;

    /// Opus, as copies are coded, where nothing else has this number.
    pub const COPY: u8 = 96;

    /// Whether redundancy and copies have their numbers.
    pub fn have_copies(&self) -> bool {
        self.format(Self::REDUNDANCY).is_none() && self.format(Self::COPY) == Some(Format::OPUS)
    }

    /// No payload type is known.
    pub const fn empty() -> Self {
        Self { formats: [None; 128] }
    }

    /// Whether a payload type stands for redundancy.
    pub fn is_redundancy(&self, payload_type: u8) -> bool {
        payload_type == Self::REDUNDANCY && self.have_copies()
    }

    /// The format of a payload type, `None` for an unknown one.
    pub fn format(&self, payload_type: u8) -> Option<Format> {
        *self.formats.get(usize::from(payload_type))?
    }

    /// The lowest payload type of a format.
    pub fn payload_type(&self, format: Format) -> Option<u8> {
        self.formats.iter().position(|&known| known == Some(format)).map(|index| index as u8)
    }

    /// Gives a payload type (0 to 127) its meaning; others are ignored. A format that is not
    /// supported leaves it without one.
    pub fn set(&mut self, payload_type: u8, format: Format) {
        if let Some(known) = self.formats.get_mut(usize::from(payload_type)) {
            *known = Some(format).filter(Format::is_supported);
        }
    }
}

impl Default for PayloadTypes {
    /// What both of our ends agree on without a word: 10 and 11 are RFC 3551's, the rest are ours.
    fn default() -> Self {
        let mut types = Self::empty();
        types.set(10, Format::l16(44_100, 2));
        types.set(11, Format::l16(44_100, 1));
        types.set(Self::COPY, Format::OPUS);
        types.set(97, Format::l16(48_000, 2));
        types.set(98, Format::l24(48_000, 2));
        types.set(100, Format::l16(48_000, 1));
        types.set(101, Format::l24(48_000, 1));
        types.set(102, Format::l24(44_100, 2));
        types.set(103, Format::l24(44_100, 1));
        types.set(104, Format::l16(96_000, 2));
        types.set(105, Format::l24(96_000, 2));
        types.set(106, Format::l16(96_000, 1));
        types.set(107, Format::l24(96_000, 1));
        types
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agreed_types_are_found_both_ways() {
        let types = PayloadTypes::default();
        assert_eq!(types.format(96), Some(Format::OPUS));
        assert_eq!(types.payload_type(Format::l24(48_000, 2)), Some(98));
        assert_eq!(types.format(99), None);
        assert_eq!(types.format(200), None);
    }

    #[test]
    fn a_type_never_stands_for_a_format_that_cannot_be() {
        let mut types = PayloadTypes::empty();
        types.set(96, Format::l16(48_000, 0));
        assert_eq!(types.format(96), None);
    }
}
