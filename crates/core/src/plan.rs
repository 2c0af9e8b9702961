//! What is sent more than once: one pure function from what is known of a path to a plan.
//!
//! | path | repairs | copies |
//! | --- | --- | --- |
//! | nothing known, for 2 s | armed | as if something were lost |
//! | nothing lost for 9 s | armed | none: not a bit |
//! | the delay leaves room for a round trip, and what is lost again is below 0.1 % | on demand | none |
//! | what stays lost is above that, or above 0.02 % without repairs | on demand, where they come in time | the fewest that reach it, three at the most |
//! | no room for a copy either | on demand | none: more delay is the receiver's to add |
//! | all of it costs more than the budget | on demand | in fewer bits, then fewer of them |
//!
//! A packet `k` packets after a lost one is lost, too, in `P(k) = L + (1 - L) * rho^k` of all cases. So
//! one that is lost stays lost in `P(k1) * P(k2 - k1) ...`: what one copy at `k1` and another at `k2` don't
//! bring back. The farther apart, the better; all of them must be there before the sound is due. That is
//! why they are spread evenly over the room that the receiver says there is.

use std::time::Duration;

use crate::codec::opus::{self, Application};
use crate::copies::{COPIES_MAX, LOOKAHEAD, Settings};
use crate::loss::Estimate;
use crate::redundancy::Beside;
use crate::{Codec, duration_of};

/// What is to be sent more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// How late each copy may ride at the latest, counted from the first of its sound; zero where there
    /// is none, shortest first.
    pub offsets: [Duration; COPIES_MAX],
    /// How copies are coded.
    pub copies: Option<Settings>,
}

impl Plan {
    /// How many copies of each frame.
    pub fn count(&self) -> usize {
        self.offsets.iter().filter(|offset| !offset.is_zero()).count()
    }
}

/// What a plan is made for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Situation {
    /// How the packets are coded.
    pub beside: Beside,
    /// Frames in a packet.
    pub frames: usize,
    /// Bits per second that copies may take.
    pub budget_bps: f64,
    /// What a packet sent once more takes to come, nearly always.
    pub round_trip: Option<Duration>,
    /// How much later than the fastest a packet may come and still be played.
    pub room: Option<Duration>,
    /// How much later than the fastest packets usually come.
    pub jitter: Duration,
    /// Frames in a copy, where copies are sent.
    pub copied: Option<usize>,
}

/// The share that may stay lost, without repairs and with them: those cost only what is lost, copies cost
/// all the time.
const GOAL: f64 = 2e-4;
const GOAL_REPAIRED: f64 = 1e-3;

/// Nothing lost for so long, and nothing is sent twice; before, one copy less after each third.
const CLEAN: Duration = Duration::from_secs(9);

/// A copy that brings back less than this share of what is lost is not worth its bits: beside PCM those are few.
const WORTH: f64 = 0.15;
const WORTH_BESIDE_PCM: f64 = 0.05;

/// Beyond so little correlation, distance helps no more.
const FAR: f64 = 0.02;

/// What a request waits for: packets that were merely overtaken.
const ASKING: Duration = Duration::from_millis(3);

/// The plan for a path.
pub fn plan(estimate: &Estimate, situation: &Situation) -> Plan {
    let most = copies_left(estimate.clean);
    let Some(room) = situation.room.filter(|_| most > 0 && estimate.loss > 0.0) else { return Plan::default() };
    let unrepaired = unrepaired(estimate, situation, room);
    let fewest = |frames| fewest(most, frames, estimate, situation, room, unrepaired);
    let [long, short] = situation.lengths();
    let best = fewest(long);
    if short == long || is_enough(estimate, situation, unrepaired, &best) {
        return best;
    }
    let shorter = fewest(short);
    let gain = lost_again(estimate, situation, &shorter) / lost_again(estimate, situation, &best);
    if gain < 1.0 - WORTH { shorter } else { best }
}

/// The fewest copies in frames of that length that bring back enough, or all that are worth it.
fn fewest(
    most: usize,
    frames: usize,
    estimate: &Estimate,
    situation: &Situation,
    room: Duration,
    unrepaired: f64,
) -> Plan {
    let mut best = Plan::default();
    for count in 1..=most {
        if is_enough(estimate, situation, unrepaired, &best) {
            break;
        }
        let Some(next) = with_copies(count, frames, estimate, situation, room) else { break };
        let gain = lost_again(estimate, situation, &next) / lost_again(estimate, situation, &best);
        if gain > 1.0 - situation.worth() {
            break;
        }
        best = next;
    }
    best
}

/// The share of the packets that is lost and that the codec itself has to tell again, 0 to 1: nothing where a plan
/// leaves no more lost than it may.
pub fn unprotected(estimate: &Estimate, situation: &Situation, plan: &Plan) -> f64 {
    let unrepaired = situation.room.map_or(1.0, |room| unrepaired(estimate, situation, room));
    if is_enough(estimate, situation, unrepaired, plan) { 0.0 } else { estimate.loss }
}

/// Whether no more stays lost than may.
fn is_enough(estimate: &Estimate, situation: &Situation, unrepaired: f64, plan: &Plan) -> bool {
    let goal = if unrepaired < 1.0 { GOAL_REPAIRED } else { GOAL };
    estimate.loss * unrepaired * lost_again(estimate, situation, plan) <= goal
}

/// How many copies there may be so long after the last loss.
fn copies_left(clean: Option<Duration>) -> usize {
    let thirds = clean.map_or(3.0, |clean| clean.as_secs_f64() / (CLEAN.as_secs_f64() / 3.0));
    COPIES_MAX.saturating_sub(thirds as usize)
}

/// The share of what is lost that no repair brings back.
fn unrepaired(estimate: &Estimate, situation: &Situation, room: Duration) -> f64 {
    let Some(trip) = situation.round_trip else { return 1.0 };
    let packet = situation.packet();
    let tries = room.saturating_sub(ASKING).as_secs_f64() / trip.as_secs_f64().max(1e-3);
    let again = estimate.lost_after(trip.as_secs_f64() / packet.as_secs_f64());
    if tries < 1.0 { 1.0 } else { again.powf(tries.min(3.0)) }
}

/// The share of what is lost that no copy brings back.
fn lost_again(estimate: &Estimate, situation: &Situation, plan: &Plan) -> f64 {
    let Some(copies) = plan.copies else { return 1.0 };
    let mut before = situation.held(&copies);
    let mut share = 1.0;
    for offset in plan.offsets.iter().filter(|offset| !offset.is_zero()) {
        let packets = offset.saturating_sub(before).as_secs_f64() / situation.packet().as_secs_f64();
        share *= estimate.lost_after(packets);
        before = *offset;
    }
    share
}

/// So many copies as far apart as there is room for, and as is worth it.
fn with_copies(
    count: usize,
    frames: usize,
    estimate: &Estimate,
    situation: &Situation,
    room: Duration,
) -> Option<Plan> {
    let latest = room.saturating_sub(2 * situation.jitter);
    let copies = situation.settings(count, frames, latest)?;
    let held = situation.held(&copies);
    let spread = latest.checked_sub(held)? / count as u32;
    let far = match estimate.rho {
        rho if rho < FAR => 1.0,
        rho => (FAR.ln() / rho.ln()).max(1.0),
    };
    let mut apart = spread.min(situation.packet().mul_f64(far + 1.0));
    if held.is_zero() {
        // In whole packets: one that rides in the next would come too late.
        apart = situation.packet() * (apart.as_nanos() / situation.packet().as_nanos()) as u32;
    }
    if apart < situation.packet() {
        return None;
    }
    let mut offsets = [Duration::ZERO; COPIES_MAX];
    (0..count).for_each(|index| offsets[index] = held + apart * (index as u32 + 1));
    Some(Plan { offsets, copies: Some(copies) })
}

impl Situation {
    /// How long a packet's sound is.
    fn packet(&self) -> Duration {
        duration_of(self.frames.max(1) as u64, self.beside.format.rate)
    }

    /// The share of what is lost that one more copy must bring back.
    fn worth(&self) -> f64 {
        match self.beside.format.codec {
            Codec::Pcm(_) => WORTH_BESIDE_PCM,
            Codec::Opus => WORTH,
        }
    }

    /// From the first of a copy's sound to the packet of its last: no earlier can it ride.
    fn held(&self, copies: &Settings) -> Duration {
        if self.beside.copies_as_packets(self.frames) {
            return Duration::ZERO; // it is as long as its packet, and made beside it
        }
        duration_of(copies.frames as u64, self.beside.format.rate) + LOOKAHEAD
    }

    /// How long copies may be, in frames: long ones sound better for their bits, short ones can lie farther from what
    /// they replace. Those that are sent do not become longer again: a new encoder begins with a gap.
    fn lengths(&self) -> [usize; 2] {
        if self.beside.copies_as_packets(self.frames) {
            return [self.frames; 2];
        }
        let lengths = match self.beside.format.codec {
            Codec::Pcm(_) => [480, 240],
            Codec::Opus => [960, 480],
        };
        lengths.map(|frames| frames.min(self.copied.unwrap_or(frames)))
    }

    /// How `count` copies of each frame can be coded so long to arrive in `latest`, within the budget.
    fn settings(&self, count: usize, frames: usize, latest: Duration) -> Option<Settings> {
        let (application, rates) = match (self.beside.format.codec, self.beside.application) {
            (Codec::Pcm(_), _) => (Application::Music, [64_000.0, 32_000.0]),
            (Codec::Opus, Application::Music) => (Application::Music, [32_000.0, 16_000.0]),
            (Codec::Opus, Application::Voice) => (Application::Voice, [24_000.0, 15_000.0]),
        };
        let least = match self.beside.copies_as_packets(self.frames) {
            true => self.packet() * count as u32,
            false => {
                duration_of(frames as u64, self.beside.format.rate) + LOOKAHEAD + self.packet() * (count as u32 + 1)
            }
        };
        if latest < least || frames < self.frames {
            return None;
        }
        self.in_bits(count, frames, application, rates)
    }

    /// The most bits for each of `count` copies that the budget has, between two rates.
    fn in_bits(&self, count: usize, frames: usize, application: Application, rates: [f64; 2]) -> Option<Settings> {
        let rate = (self.budget_bps / count as f64 - Settings::headers_bps(frames)).min(rates[0]);
        // In whole bytes a frame: Opus would round up.
        let bytes_bps = 8 * self.beside.format.rate / frames as u32;
        let bitrate_bps = rate as u32 / bytes_bps * bytes_bps;
        (rate >= rates[1]).then_some(Settings { frames, opus: opus::Settings { application, bitrate_bps } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    const BURSTY: Estimate = Estimate { loss: 0.05, burst: 3.0, burst_95: 8.0, rho: 0.65, clean: Some(Duration::ZERO) };

    fn situation(room: u64, round_trip: u64) -> Situation {
        Situation {
            beside: Beside { format: Format::l16(48_000, 2), application: Application::Music },
            frames: 240,
            budget_bps: 0.5e6,
            round_trip: Some(Duration::from_millis(round_trip)),
            room: Some(Duration::from_millis(room)),
            jitter: Duration::from_millis(3),
            copied: None,
        }
    }

    #[test]
    fn a_clean_path_costs_nothing() {
        assert_eq!(plan(&Estimate::default(), &situation(90, 80)), Plan::default());
        let after =
            |millis| plan(&Estimate { clean: Some(Duration::from_millis(millis)), ..BURSTY }, &situation(90, 300));
        let counts = [0, 3_100, 6_100, 9_000].map(|millis| after(millis).count());
        assert_eq!(counts, [3, 2, 1, 0]);
    }

    #[test]
    fn copies_lie_within_the_room_and_apart() {
        for room in [40, 60, 90, 180] {
            let plan = plan(&BURSTY, &situation(room, 300));
            let offsets = &plan.offsets[..plan.count()];
            assert!(!offsets.is_empty(), "{room}");
            assert!(offsets.iter().all(|&offset| offset <= Duration::from_millis(room - 3)), "{plan:?}");
            assert!(offsets.is_sorted());
        }
        assert_eq!(plan(&BURSTY, &situation(10, 300)), Plan::default(), "no room");
    }

    #[test]
    fn copies_of_speech_are_as_long_as_its_packets_and_ride_in_whole_ones() {
        let speech = |room| Situation {
            beside: Beside { format: Format::OPUS, application: Application::Voice },
            frames: 960,
            budget_bps: 48_000.0,
            ..situation(room, 300)
        };
        for (room, first) in [(30, 20), (50, 40), (66, 60)] {
            let plan = plan(&Estimate { rho: 0.3, ..BURSTY }, &speech(room));
            assert!(plan.copies.is_some_and(|copies| copies.frames == 960), "{plan:?}");
            let last = plan.offsets[..plan.count()].last().unwrap();
            assert!(last.as_millis().is_multiple_of(20) && last.as_millis() <= first, "{room}: {plan:?}");
        }
        assert_eq!(plan(&BURSTY, &speech(20)), Plan::default(), "no room");
    }

    #[test]
    fn where_repairs_come_in_time_fewer_copies_are_needed() {
        let counts = [300, 60, 25].map(|trip| plan(&BURSTY, &situation(90, trip)).count());
        assert!(counts.is_sorted_by(|more, fewer| more >= fewer) && counts[2] <= 1, "{counts:?}");
    }

    #[test]
    fn the_codec_has_to_tell_again_what_a_plan_leaves_lost() {
        let estimate = Estimate { rho: 0.3, ..BURSTY };
        let told = |situation: Situation| unprotected(&estimate, &situation, &plan(&estimate, &situation));
        assert_eq!(told(situation(90, 300)), 0.0, "copies are enough");
        assert_eq!(told(situation(10, 300)), estimate.loss, "no room for one");
        assert_eq!(told(Situation { budget_bps: 0.0, ..situation(90, 300) }), estimate.loss);
        assert_eq!(unprotected(&Estimate::default(), &situation(90, 300), &Plan::default()), 0.0);
    }

    #[test]
    fn a_little_random_loss_needs_one_copy() {
        let random = Estimate { loss: 0.01, burst: 1.0, burst_95: 1.0, rho: 0.0, clean: Some(Duration::ZERO) };
        assert_eq!(plan(&random, &situation(60, 300)).count(), 1);
        let little = Estimate { loss: 1e-4, ..random };
        assert_eq!(plan(&little, &situation(60, 300)).count(), 0);
    }

    #[test]
    fn the_budget_is_kept() {
        let poor = |budget_bps| Situation {
            beside: Beside { format: Format::OPUS, application: Application::Music },
            budget_bps,
            ..situation(120, 300)
        };
        for budget in [0.0, 10e3, 20e3, 40e3, 70e3, 200e3] {
            let plan = plan(&BURSTY, &poor(budget));
            let bits = plan.copies.map_or(0, |copies| copies.opus.bitrate_bps) as usize * plan.count();
            assert!(bits as f64 <= budget, "{budget} {plan:?}");
        }
        assert_eq!(plan(&BURSTY, &poor(10e3)).count(), 0);
        assert!(plan(&BURSTY, &poor(200e3)).count() == 3);
    }
}
