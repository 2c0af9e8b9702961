//! How much delay the network needs: the least of `delay + lambda * events + price of lateness`.

use super::Profile;
use super::needs::{BIN, BINS, Edges, Histogram, SLOT, Slot};

/// Remembers how much delay each arriving unit needed, and finds the delay that is worth it.
///
/// Percentiles do not know what a late packet costs: one stall of ten packets is one audible
/// event, ten packets late one by one are ten. So the target minimises, in milliseconds,
///
/// ```text
/// D + lambda * (events per minute at D) + 20 * (percent of units late at D)
/// ```
///
/// over all delays D in steps of half a millisecond. An event is an up-crossing: a slot of 20 ms
/// in which something needed more than D, after one in which nothing did. `lambda` is how many
/// milliseconds of delay one event per minute less is worth; the price of lateness is NetEq's
/// (20 ms for 1 %). What was seen is forgotten exponentially. Lost units count as late at any delay at
/// which they would not have come once more, or as copies; those that no delay brings back don't count.
///
/// Up at once, down slowly, and not before the delay was held for a while. All times in seconds.
pub(super) struct Target {
    lambda: f64,
    /// What one lost unit weighs, in late ones.
    loss: f64,
    half_life: f64,
    release: f64,
    known: Histogram,
    /// Since the last window in which the path was as long as ever: where it has become longer,
    /// these are moved before they are believed.
    fresh: Histogram,
    /// Of units that were lost.
    lost: Histogram,
    edges: Edges,
    /// The weight of a unit now; it grows, so that nothing else has to shrink.
    weight: f64,
    /// The sum of weights over time, in seconds.
    weighted_time: f64,
    now: f64,
    slot: Slot,
    lost_slot: Slot,
    /// When the last copy came.
    copied: f64,
    /// Something was late since the last look.
    missed: bool,
    looked: f64,
    /// When it last rose.
    rose: f64,
    /// Nothing is learnt while one outage's backlog arrives: since when it does.
    outage: Option<f64>,
    target: f64,
    /// At least so much is needed by one unit in twenty.
    usual: f64,
}

/// Of one delay: the weight of what would be late, and what that and the delay itself cost, in seconds.
struct Cost {
    late: f64,
    cost: f64,
}

/// How often the best delay is looked for, if nothing is late meanwhile, and at the most.
const LOOK: f64 = 0.5;
const LOOK_MISSED: f64 = 20e-3;

/// Added to the best: the jitter of our own threads.
const MARGIN: f64 = 0.15e-3;

/// What a share of the units needs is usual.
const USUAL: f64 = 0.95;

/// So many bins more are little, and what weighs less than this share of a unit is forgotten.
const LITTLE: usize = 3;
const FORGOTTEN: f64 = 0.01;

/// In seconds per share of units late: 20 ms for 1 %.
const LATE_PRICE: f64 = 2.0;

/// What a rise must save, in seconds of delay, where it is for the losses that copies do not bring back.
const MOVE_PRICE: f64 = 40e-3;

/// After fewer bursts of losses nobody knows how long they get: each may be followed by one that is longer by a unit
/// (as Laplace's rule of succession has it). So the first ones lead to the delay that all will need, rather than each
/// longer one to a delay of its own.
const FEW: f64 = 20.0;

/// What a rise brings back is known after so long: the sender hears of the room, and copies follow.
const JUDGED: f64 = 1.0;

/// So long after a copy, more are expected.
const COPYING: f64 = 5.0;

/// Before the beginning, all was well for so long: one early event is no rate. Several losses are: then it was so
/// long only.
const PRIOR: f64 = 10.0;
const SEVERAL: f64 = 3.0;
const PRIOR_LOSSES: f64 = 3.0;

/// An outage's backlog takes no longer than this to arrive.
const OUTAGE: f64 = 5.0;

/// After a rise, for so long nothing is released.
const HOLD: f64 = 10.0;

impl Target {
    /// One that is not used before it [starts](Self::start_at); until then it learns.
    pub fn new(profile: Profile) -> Self {
        let mut target = Self {
            lambda: 0.0,
            loss: 1.0,
            half_life: 1.0,
            release: 0.0,
            known: Histogram::new(),
            fresh: Histogram::new(),
            lost: Histogram::new(),
            edges: Edges::new(),
            weight: 1.0,
            weighted_time: 0.0,
            now: 0.0,
            slot: Slot::at(0.0),
            lost_slot: Slot::at(0.0),
            copied: f64::NEG_INFINITY,
            missed: false,
            looked: 0.0,
            rose: f64::NEG_INFINITY,
            outage: None,
            target: f64::INFINITY,
            usual: 0.0,
        };
        target.set_profile(profile);
        target
    }

    /// Changes what an event is worth, from now on.
    pub fn set_profile(&mut self, profile: Profile) {
        self.lambda = profile.lambda() * 1e-3;
        self.loss = profile.loss();
        self.half_life = profile.half_life();
        self.release = profile.release();
        self.looked = f64::NEG_INFINITY;
    }

    /// Starts, unless it has started: where `usual` is needed, with `margin` more.
    pub fn start_at(&mut self, usual: f64, margin: f64) {
        if self.target.is_infinite() {
            self.target = (usual + margin).max(self.best(self.weight_of_losses()));
            self.usual = usual.max(self.quantile(USUAL) + MARGIN / 2.0);
            self.looked = self.now;
        }
    }

    /// What the delay should be.
    pub fn get(&self) -> f64 {
        self.target
    }

    /// With less than this, one unit in twenty would be late.
    pub fn usual(&self) -> f64 {
        self.usual
    }

    /// A unit arrived at `time` and would have been there in time at a delay of `needed`, while the
    /// delay was to be `given`. Returns whether it was late.
    pub fn observe(&mut self, time: f64, needed: f64, given: f64) -> bool {
        self.advance(time);
        let late = needed > given;
        if needed >= BIN * BINS as f64 {
            self.outage.get_or_insert(time);
        }
        if self.outage.is_some() {
            self.outage.take_if(|_| !late);
            return false;
        }
        self.fresh.observe(time, needed, self.weight, &mut self.slot);
        self.edges.observe(time, needed);
        self.missed |= late;
        late
    }

    /// Whether all has been later than any delay for so long that it is no outage: what it is measured from is
    /// wrong.
    pub fn is_astray(&self) -> bool {
        self.outage.is_some_and(|since| self.now - since > OUTAGE)
    }

    /// A unit of that length was lost. At a delay of `needed` it would have come after all.
    pub fn observe_lost(&mut self, time: f64, needed: f64, unit: f64, given: f64) {
        self.advance(time);
        if needed < BIN * BINS as f64 {
            let bursts = self.lost.crossed[0] / self.weight;
            let first = self.lost.observe(time, needed, self.weight, &mut self.lost_slot);
            if first && bursts < FEW {
                self.lost.expect(needed, unit, self.weight / (bursts + 2.0));
            }
            self.edges.observe(time, needed);
            self.missed |= needed > given;
        }
    }

    /// A copy came: of units that are lost, some come back so.
    pub fn observe_copy(&mut self, time: f64) {
        self.copied = time;
    }

    /// The last window lay where the path has always been: what is fresh is as good as the rest.
    pub fn settle(&mut self) {
        self.known.add(&mut self.fresh, 0);
    }

    /// The path has become so much longer, or shorter: what is fresh was measured from the wrong
    /// line.
    pub fn step(&mut self, longer: f64) {
        if longer.abs() < BIN {
            return;
        }
        if longer < 0.0 {
            self.fresh.clear(); // it lay off the scale
        }
        self.known.add(&mut self.fresh, (-longer / BIN).round() as isize);
        self.edges.clear();
        self.slot = Slot::at(self.slot.since);
        if self.target.is_finite() {
            self.target = self.best(self.weight_of_losses());
        }
    }

    /// Looks for a better target when it is time to.
    pub fn update(&mut self, time: f64) {
        self.advance(time);
        let since = time - self.looked;
        if self.target.is_infinite() || since < LOOK_MISSED || (since < LOOK && !self.missed) {
            return;
        }
        (self.looked, self.missed) = (time, false);
        self.usual = self.quantile(USUAL) + MARGIN / 2.0;
        let best = self.best(self.weight_of_losses());
        if best > self.target {
            if self.is_worth_rising_to(best) {
                self.raise(best);
            }
        } else if time >= self.rose + HOLD {
            self.target = best.max(self.target - self.release * since.min(LOOK));
        }
    }

    /// Makes the target longer at once.
    pub fn raise(&mut self, target: f64) {
        if self.target.is_finite() {
            self.target = self.target.max(target);
            self.rose = self.now;
        }
    }

    /// Lets the weights grow up to `time`.
    fn advance(&mut self, time: f64) {
        let span = (time - self.now).max(0.0);
        self.now = self.now.max(time);
        self.weight *= (span / self.half_life).exp2();
        self.weighted_time += span * self.weight;
        if self.weight > 1e6 {
            self.known.scale(1.0 / self.weight);
            self.fresh.scale(1.0 / self.weight);
            self.lost.scale(1.0 / self.weight);
            self.weighted_time /= self.weight;
            self.weight = 1.0;
        }
    }

    /// The weight of all units.
    fn units(&self) -> f64 {
        self.known.units() + self.fresh.units()
    }

    /// The weight of the units of one bin.
    fn needed(&self, bin: usize) -> f64 {
        self.known.needed[bin] + self.fresh.needed[bin]
    }

    /// The delay at which that share of the units is there in time.
    fn quantile(&self, share: f64) -> f64 {
        let mut left = share * self.units();
        let bins = (0..=BINS).take_while(|&bin| {
            left -= self.needed(bin);
            left > 0.0
        });
        bins.count() as f64 * BIN
    }

    /// The delay with the least cost, where one that was lost weighs as much as so many late ones.
    fn best(&self, losses: f64) -> f64 {
        if self.units() <= 0.0 {
            return 0.0;
        }
        let best = self.costs(losses).enumerate().min_by(|(_, a), (_, b)| a.cost.total_cmp(&b.cost));
        let (bin, at) = best.expect("there are bins");
        self.edges.get(bin + self.bins_without_loss(bin, at.late, losses)) + MARGIN
    }

    /// Whether the delay is to rise to `best`. What is late wants it at once, and what is lost where little of it
    /// comes back. Where copies bring most of it, a longer delay brings the rest back as repairs, then the copies
    /// end and the shorter delay seems the better one again: each move stretches the sound.
    fn is_worth_rising_to(&self, best: f64) -> bool {
        if self.best(0.0) > self.target {
            return true;
        }
        if self.now - self.rose < JUDGED {
            return false;
        }
        if self.now - self.copied > COPYING {
            return true;
        }
        let bin = |delay: f64| ((delay / BIN) as usize).min(BINS);
        // What has been rare so far is no reason: one burst in the first seconds is no rate.
        let cost = |delay: f64| self.costs(self.loss).nth(bin(delay)).map_or(0.0, |at| at.cost);
        let back: f64 = self.lost.needed[..=bin(self.target)].iter().sum();
        back < self.lost.units() / 2.0 || cost(self.target) - cost(best) > MOVE_PRICE
    }

    /// So many late units weighs one that was lost: more where there were several in a short time.
    fn weight_of_losses(&self) -> f64 {
        if self.lost.crossed[0] < SEVERAL * self.weight {
            return self.loss;
        }
        self.loss * (self.weighted_time + PRIOR * self.weight) / (self.weighted_time + PRIOR_LOSSES * self.weight)
    }

    /// What each delay costs, bin by bin.
    fn costs(&self, losses: f64) -> impl Iterator<Item = Cost> {
        let prior = PRIOR * self.weight;
        let units = self.units() + self.lost.units();
        let minutes = (self.weighted_time + prior) / 60.0;
        let late_price = LATE_PRICE / units / (1.0 + prior / self.weighted_time.max(SLOT));
        let (mut late, mut crossings) = (self.units() + losses * self.lost.units(), 0.0);
        (0..=BINS).map(move |bin| {
            late -= self.needed(bin) + losses * self.lost.needed[bin];
            crossings += self.known.crossed[bin] + self.fresh.crossed[bin] + losses * self.lost.crossed[bin];
            Cost { late, cost: bin as f64 * BIN + self.lambda * crossings / minutes + late_price * late }
        })
    }

    /// How many bins more it takes until nothing that is remembered is late, if that is not much:
    /// then nothing is given up for so little.
    fn bins_without_loss(&self, best: usize, mut late: f64, losses: f64) -> usize {
        for more in 0..=LITTLE {
            if late < FORGOTTEN * self.weight {
                return more;
            }
            let next = (best + more + 1).min(BINS);
            late -= self.needed(next) + losses * self.lost.needed[next];
        }
        0
    }
}

impl Profile {
    /// From the least delay to the least events.
    pub const ALL: [Profile; 4] = [Profile::Live, Profile::Talk, Profile::Listen, Profile::Hifi];

    /// Milliseconds of delay that one audible event per minute less is worth.
    pub fn lambda(self) -> f64 {
        match self {
            Profile::Live => 0.3,
            Profile::Talk => 2.0,
            Profile::Listen => 10.0,
            Profile::Hifi => 30.0,
        }
    }

    /// What one lost unit weighs, in late ones. It takes a copy, or a round trip, to have it back: who is live would
    /// rather miss a little.
    fn loss(self) -> f64 {
        if self == Profile::Live { 0.5 } else { 1.0 }
    }

    /// What happened so many seconds ago counts half.
    fn half_life(self) -> f64 {
        match self {
            Profile::Live | Profile::Talk => 15.0,
            Profile::Listen => 30.0,
            Profile::Hifi => 60.0,
        }
    }

    /// How fast the target falls, in seconds per second.
    fn release(self) -> f64 {
        match self {
            Profile::Live | Profile::Talk => 5e-3,
            Profile::Listen | Profile::Hifi => 2e-3,
        }
    }

    /// What is waited beyond the least possible while nothing is known, in seconds.
    pub(super) fn start_margin(self) -> f64 {
        match self {
            Profile::Live => 3e-3,
            Profile::Talk => 5e-3,
            Profile::Listen => 15e-3,
            Profile::Hifi => 30e-3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds one unit every 5 ms for so many seconds.
    fn feed(target: &mut Target, seconds: std::ops::Range<u32>, needed: impl Fn(u32) -> f64) {
        for n in seconds.start * 200..seconds.end * 200 {
            let time = f64::from(n) * 5e-3;
            feed_one(target, time, needed(n) * 1e-3);
            target.settle();
            target.update(time);
        }
    }

    fn feed_one(target: &mut Target, time: f64, needed: f64) {
        target.observe(time, needed, target.get());
    }

    fn started(profile: Profile, at: f64) -> Target {
        let mut target = Target::new(profile);
        target.start_at(at, 0.0);
        target
    }

    fn millis(target: &Target) -> f64 {
        target.get() * 1e3
    }

    #[test]
    fn what_is_always_needed_is_waited_for_and_no_more() {
        for needed in [1.2, 6.3, 60.1] {
            let mut target = started(Profile::Live, 0.1);
            feed(&mut target, 0..40, |_| needed);
            assert!((needed..needed + 0.2).contains(&millis(&target)), "{needed}: {}", millis(&target));
        }
    }

    #[test]
    fn where_needs_differ_it_stands_still() {
        let mut target = started(Profile::Talk, 0.1);
        let needed = |n: u32| 2.0 + f64::from(n * 7919 % 1000) * 1e-3;
        feed(&mut target, 0..60, needed);
        let before = target.get();
        for second in 60..120 {
            feed(&mut target, second..second + 1, needed);
            assert!((target.get() - before).abs() < 0.05e-3, "{before} {}", target.get());
        }
    }

    #[test]
    fn a_rare_stall_is_worth_its_delay_to_some() {
        // Every 10 s a stall of 80 ms: 17 units late, one event.
        let after_minutes = |profile| {
            let mut target = started(profile, 5e-3);
            for n in 0..24_000 {
                let stalled = if n % 2000 >= 1983 { f64::from(2000 - n % 2000) * 5e-3 } else { 0.0 };
                let time = f64::from(n) * 5e-3 + stalled;
                feed_one(&mut target, time, 3e-3 + stalled);
                target.settle();
                target.update(time);
            }
            millis(&target)
        };
        assert!(after_minutes(Profile::Live) < 25.0, "{}", after_minutes(Profile::Live));
        assert!(after_minutes(Profile::Hifi) > 80.0, "{}", after_minutes(Profile::Hifi));
    }

    #[test]
    fn it_rises_at_once_holds_and_falls_slowly() {
        let mut target = started(Profile::Talk, 5e-3);
        feed(&mut target, 0..20, |_| 3.0);
        let low = millis(&target);
        target.raise(43.5e-3);
        feed(&mut target, 20..21, |_| 43.0);
        let high = millis(&target);
        assert!((43.0..50.0).contains(&high), "{high}");
        feed(&mut target, 21..30, |_| 3.0);
        assert_eq!(millis(&target), high, "held");
        feed(&mut target, 30..200, |_| 3.0);
        assert!((millis(&target) - low).abs() < 0.6, "{} {low}", millis(&target));
    }

    #[test]
    fn a_longer_path_is_no_jitter() {
        let mut target = started(Profile::Talk, 5e-3);
        feed(&mut target, 0..60, |_| 3.0);
        let low = millis(&target);
        target.raise(43.5e-3);
        for n in 0..400 {
            let time = 60.0 + f64::from(n) * 5e-3;
            feed_one(&mut target, time, 43e-3);
            target.update(time);
        }
        assert!(millis(&target) > 43.0);
        target.step(40e-3);
        assert!((millis(&target) - low).abs() < 1.1, "{} {low}", millis(&target));
    }

    #[test]
    fn where_copies_bring_most_back_the_rest_is_waited_for_only_if_it_is_much() {
        // One in twenty is lost; of those one in 28, or in two, comes back at 110 ms only, the others at 70.
        let with = |copies: bool, far: u32| {
            let mut target = started(Profile::Talk, 5e-3);
            for n in 0..12_000 {
                let time = f64::from(n) * 5e-3;
                let needed = if n / 20 % far == far - 1 { 110e-3 } else { 70e-3 };
                match n % 20 {
                    0 => target.observe_lost(time, needed, 5e-3, target.get()),
                    1 if copies => target.observe_copy(time),
                    _ => feed_one(&mut target, time, 3e-3),
                }
                target.settle();
                target.update(time);
            }
            millis(&target)
        };
        assert!((70.0..72.0).contains(&with(true, 28)), "{}", with(true, 28));
        assert!(with(false, 28) > 110.0, "{}", with(false, 28));
        assert!(with(true, 2) > 110.0, "{}", with(true, 2));
    }

    #[test]
    fn what_is_lost_is_worth_the_delay_that_brings_it_back_where_it_is_much() {
        let with_loss = |profile, every: u32| {
            let mut target = started(profile, 5e-3);
            for n in 0..12_000 {
                let time = f64::from(n) * 5e-3;
                match n % every {
                    0 => target.observe_lost(time, 80e-3, 5e-3, target.get()),
                    _ => feed_one(&mut target, time, 3e-3),
                }
                target.settle();
                target.update(time);
            }
            millis(&target)
        };
        assert!(with_loss(Profile::Talk, 20) > 80.0, "5 %");
        assert!(with_loss(Profile::Talk, 2000) < 10.0, "0.05 %");
        assert!(with_loss(Profile::Hifi, 2000) > 80.0, "0.05 %, and each is heard");
    }

    #[test]
    fn nothing_is_learnt_from_an_outage() {
        let mut target = started(Profile::Hifi, 5e-3);
        feed(&mut target, 0..60, |_| 3.0);
        let low = millis(&target);
        (0..400).for_each(|n| feed_one(&mut target, 62.0, f64::from(400 - n) * 5.0 * 1e-3 + 3e-3));
        target.update(62.0);
        assert_eq!(millis(&target), low);
    }

    #[test]
    fn the_dial_turns_both_ways() {
        let jitter = |n: u32| 2.0 + f64::from(n * 7919 % 1000 / 50) + if n.is_multiple_of(400) { 60.0 } else { 0.0 };
        let mut target = started(Profile::Live, 5e-3);
        feed(&mut target, 0..60, jitter);
        let live = millis(&target);
        target.set_profile(Profile::Hifi);
        feed(&mut target, 60..61, jitter);
        assert!(millis(&target) > live + 20.0, "{live} {}", millis(&target));
        target.set_profile(Profile::Live);
        feed(&mut target, 61..90, jitter);
        assert!((millis(&target) - live).abs() < 3.0, "{live} {}", millis(&target));
    }
}
