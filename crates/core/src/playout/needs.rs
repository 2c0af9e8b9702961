//! How much delay units needed, in steps of half a millisecond.

/// Half a millisecond per bin, up to half a second: a longer outage is a pause.
pub(super) const BIN: f64 = 0.5e-3;
pub(super) const BINS: usize = 1000;

/// What is late within that, in seconds, is one event.
pub(super) const SLOT: f64 = 20e-3;

/// The units of one slot of time.
pub(super) struct Slot {
    pub since: f64,
    most: usize,
    /// Of the slot before.
    before: usize,
}

impl Slot {
    pub fn at(since: f64) -> Self {
        Self { since, most: 0, before: 0 }
    }
}

/// The bin that ends at `needed` or behind.
fn bin_of(needed: f64) -> usize {
    (needed / BIN).ceil().clamp(0.0, BINS as f64) as usize
}

/// The most that was needed of late, bin by bin. Between two cards with one clock all units need the same, and
/// the rest of a bin would be waited for in vain. Where the units of a bin differ, this is soon where it ends.
pub(super) struct Edges {
    since: f64,
    now: Vec<f64>,
    /// Of the time before `since`.
    before: Vec<f64>,
}

/// Twice this, in seconds, and what is needed at times was needed at least once.
const LATELY: f64 = 15.0;

impl Edges {
    pub fn new() -> Self {
        Self { since: 0.0, now: vec![0.0; BINS + 1], before: vec![0.0; BINS + 1] }
    }

    pub fn observe(&mut self, time: f64, needed: f64) {
        if time - self.since > LATELY {
            self.since = time;
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0.0);
        }
        let most = &mut self.now[bin_of(needed)];
        *most = most.max(needed);
    }

    pub fn clear(&mut self) {
        self.now.fill(0.0);
        self.before.fill(0.0);
    }

    /// So much, in seconds, is enough for the units of this bin.
    pub fn get(&self, bin: usize) -> f64 {
        match self.now[bin].max(self.before[bin]) {
            0.0 => bin as f64 * BIN, // nothing of late
            most => most,
        }
    }
}

/// Weights of units by what they needed.
pub(super) struct Histogram {
    /// By bin.
    pub needed: Vec<f64>,
    /// Up-crossings, as differences from bin to bin.
    pub crossed: Vec<f64>,
}

impl Histogram {
    pub fn new() -> Self {
        Self { needed: vec![0.0; BINS + 1], crossed: vec![0.0; BINS + 1] }
    }

    pub fn units(&self) -> f64 {
        self.needed.iter().sum()
    }

    /// A unit of this weight needed so much. Returns whether it is the first of its slot.
    pub fn observe(&mut self, time: f64, needed: f64, weight: f64, slot: &mut Slot) -> bool {
        let bin = bin_of(needed);
        self.needed[bin] += weight;
        let past = time - slot.since;
        let first = past >= SLOT;
        if first {
            // What is lost comes seldom: the slot before this may have had none.
            let before = if past < 2.0 * SLOT { slot.most } else { 0 };
            *slot = Slot { since: time, most: 0, before };
        }
        // Delays from what was needed before up to this are crossed for the first time.
        let crossed = slot.most.max(slot.before);
        if bin > crossed {
            self.crossed[crossed] += weight;
            self.crossed[bin] -= weight;
        }
        slot.most = slot.most.max(bin);
        first
    }

    /// Of what needed so much, this weight might as well have needed so much `more`: at delays in between it would
    /// have been an event.
    pub fn expect(&mut self, needed: f64, more: f64, weight: f64) {
        let (from, to) = (bin_of(needed), bin_of(needed + more));
        self.needed[from] -= weight;
        self.needed[to] += weight;
        self.crossed[from] += weight;
        self.crossed[to] -= weight;
    }

    pub fn scale(&mut self, factor: f64) {
        self.needed.iter_mut().chain(&mut self.crossed).for_each(|weight| *weight *= factor);
    }

    pub fn clear(&mut self) {
        self.needed.iter_mut().chain(&mut self.crossed).for_each(|weight| *weight = 0.0);
    }

    /// Takes all from `other`, moved by so many bins; what would leave stays at the end.
    pub fn add(&mut self, other: &mut Histogram, moved: isize) {
        for bin in 0..=BINS {
            let to = bin.saturating_add_signed(moved).min(BINS);
            self.needed[to] += std::mem::take(&mut other.needed[bin]);
            self.crossed[to] += std::mem::take(&mut other.crossed[bin]);
        }
    }
}
