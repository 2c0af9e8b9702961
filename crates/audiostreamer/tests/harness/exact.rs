//! Whether a recording holds every sample of what was sent, once, in order, to the bit: for what
//! never went through a playout.

use super::audio::Audio;

/// Where a recording departs from the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The frame of the reference with which it agrees again.
    pub at: usize,
    /// Frames of the reference before it that are not there.
    pub missing: usize,
    /// Frames that are there instead.
    pub instead: usize,
}

/// The outcome of [`find`].
#[derive(Debug)]
pub struct Found {
    /// Frames of the reference without the silence around it.
    pub frames: usize,
    /// Frames of it that were found.
    pub matched: usize,
    /// The frame of the recording where the first of them is.
    pub start: usize,
    pub faults: Vec<Fault>,
    /// Frames of the reference that are found again, elsewhere than in their place.
    pub repeated: usize,
}

impl Found {
    /// Panics unless every sample is there, once and in order.
    #[track_caller]
    pub fn assert_whole(&self) {
        assert!(self.faults.is_empty() && self.repeated == 0 && self.matched == self.frames, "{}", self.describe());
    }

    /// Panics unless all is there, once and in order, from some frame of the reference (below
    /// `start_max`) to its end.
    #[track_caller]
    pub fn assert_whole_from(&self, start_max: usize) {
        let late_start = |fault: &Fault| fault.at == fault.missing && fault.missing <= start_max;
        let faultless = self.faults.iter().all(late_start) && self.faults.len() <= 1;
        assert!(faultless && self.repeated == 0 && self.matched > 0, "{}", self.describe());
    }

    /// Panics unless all is there, once and in order, from the start of the reference up to some
    /// frame (beyond `end_min`).
    #[track_caller]
    pub fn assert_whole_until(&self, end_min: usize) {
        let early_end = |fault: &Fault| fault.at == self.frames;
        let faultless = self.faults.iter().all(early_end) && self.faults.len() <= 1;
        assert!(faultless && self.repeated == 0 && self.matched >= end_min, "{}", self.describe());
    }

    fn note_fault(&mut self, at: usize, missing: usize, instead: usize) {
        if missing + instead > 0 {
            self.faults.push(Fault { at, missing, instead });
        }
    }

    fn describe(&self) -> String {
        let Found { frames, matched, start, repeated, faults } = self;
        let shown = &faults[..faults.len().min(10)];
        format!(
            "{matched} of {frames} frames found from frame {start} on, {repeated} repeated, {} faults: {shown:?}",
            faults.len()
        )
    }
}

/// Samples that must agree in a row to be taken for a place of the reference.
const RUN: usize = 4;

/// Looks for every frame of the reference, without the silence before and after it: silence is
/// everywhere. Within, no run of four samples may occur twice.
pub fn find(reference: &Audio, recording: &Audio) -> Found {
    assert_eq!((reference.rate, reference.channels), (recording.rate, recording.channels));
    let reference = reference.part(reference.sound());
    let places = Places::new(recording);
    let mut aligned = vec![false; recording.frames()];
    let mut found = Found { frames: reference.frames(), matched: 0, start: 0, faults: Vec::new(), repeated: 0 };
    let (mut here, mut there) = (0, 0);
    while let Some((at, place)) = next_agreement(&reference, &places, here, there) {
        let length = agreement(&reference, recording, at, place);
        if found.matched == 0 {
            (found.start, there) = (place, place);
        }
        found.note_fault(at, at - here, place - there);
        found.matched += length;
        aligned[place..place + length].fill(true);
        (here, there) = (at + length, place + length);
    }
    found.note_fault(found.frames, found.frames - here, 0);
    found.repeated = repeated(&reference, &places, &aligned);
    found
}

/// The first frame of the reference from `here` on that is found again from `there` on, and where.
fn next_agreement(reference: &Audio, places: &Places, here: usize, there: usize) -> Option<(usize, usize)> {
    (here..reference.frames()).find_map(|at| {
        let mut places = places.of(run(reference, at)?);
        places.find(|&place| place >= there).map(|place| (at, place))
    })
}

/// For how many frames both are the same.
fn agreement(reference: &Audio, recording: &Audio, at: usize, place: usize) -> usize {
    let frames = (reference.frames() - at).min(recording.frames() - place);
    (0..frames).take_while(|&index| frame(reference, at + index) == frame(recording, place + index)).count()
}

fn repeated(reference: &Audio, places: &Places, aligned: &[bool]) -> usize {
    (0..reference.frames())
        .filter_map(|at| run(reference, at))
        .map(|run| places.of(run).filter(|&place| !aligned[place]).count())
        .sum()
}

/// Where each run of samples begins, by its bits.
struct Places(Vec<(u128, usize)>);

impl Places {
    fn new(recording: &Audio) -> Self {
        let mut places: Vec<_> = (0..recording.frames()).filter_map(|at| Some((run(recording, at)?, at))).collect();
        places.sort_unstable();
        Self(places)
    }

    /// The frames where that run begins, in rising order.
    fn of(&self, run: u128) -> impl Iterator<Item = usize> {
        let start = self.0.partition_point(|(key, _)| *key < run);
        self.0[start..].iter().take_while(move |(key, _)| *key == run).map(|(_, place)| *place)
    }
}

/// The bits of the samples from frame `at` on, unless they are silent or too few.
fn run(audio: &Audio, at: usize) -> Option<u128> {
    let samples = audio.samples.get(at * audio.channels..)?.get(..RUN)?;
    let bits = samples.iter().fold(0, |bits, sample| bits << 32 | u128::from(sample.to_bits()));
    samples.iter().any(|&sample| sample != 0.0).then_some(bits)
}

fn frame(audio: &Audio, index: usize) -> &[f32] {
    &audio.samples[index * audio.channels..(index + 1) * audio.channels]
}
