//! The rules on arrivals made by hand.

use super::*;

/// Packets of 5 ms for so many seconds, each so many milliseconds late.
fn arrivals(seconds: f64, mut lateness: impl FnMut(u32) -> f64) -> Vec<Arrival> {
    let packets = 0..(seconds * 200.0) as u32;
    let arrival = |number: u32| {
        let media = f64::from(number) * 0.005;
        Arrival { sequence: number.into(), media, at: 1.0 + media + lateness(number) * 1e-3 }
    };
    packets.map(arrival).collect()
}

/// To a millionth of a millisecond: times are sums of floats.
fn judge(rule: Rule, arrivals: &[Arrival], settled: f64) -> Outcome {
    let Outcome { delay, late, events } = rule.judge(arrivals, settled);
    Outcome { delay: (delay * 1e6).round() * 1e-6, late, events }
}

#[test]
fn a_clean_link_costs_each_its_least() {
    let clean = arrivals(60.0, |_| 0.0);
    let outcome = |rule| judge(rule, &clean, 10.0);
    assert_eq!(outcome(Rule::NetEq), Outcome { delay: 20.0, late: 0.0, events: 0.0 });
    assert_eq!(outcome(Rule::NetEqMid).delay, 30.0);
    assert!((outcome(Rule::JackTrip).delay - 5.0).abs() < 0.1, "{:?}", outcome(Rule::JackTrip));
    assert_eq!(outcome(Rule::Fixed(200.0)), Outcome { delay: 200.0, late: 0.0, events: 0.0 });
}

#[test]
fn neteq_takes_the_bucket_above_what_a_twentieth_of_the_half_seconds_exceeds() {
    // Each second one packet is 50 ms late: in every other half second.
    let spikes = arrivals(120.0, |number| if number % 200 == 100 { 50.0 } else { 0.0 });
    let outcome = judge(Rule::NetEq, &spikes, 20.0);
    assert_eq!((outcome.delay, outcome.late), (60.0, 0.0));
    // The hold band is the largest of two seconds and 20 ms; half of it.
    assert_eq!(judge(Rule::NetEqMid, &spikes, 20.0).delay, 60.0 + 35.0);
    // One in 40 half seconds is less than a twentieth: late each time.
    let rare = arrivals(600.0, |number| if number % 4_000 == 2_000 { 50.0 } else { 0.0 });
    let outcome = judge(Rule::NetEq, &rare, 100.0);
    assert_eq!(outcome.delay, 20.0);
    assert!((outcome.events - 3.0).abs() < 0.2, "{outcome:?}");
}

#[test]
fn neteq_pays_for_what_is_overtaken() {
    let mut swapped = arrivals(60.0, |number| if number % 20 == 10 { 30.0 } else { 0.0 });
    swapped.sort_by(|a, b| a.at.total_cmp(&b.at));
    let outcome = judge(Rule::NetEq, &swapped, 10.0);
    assert_eq!((outcome.delay, outcome.late), (40.0, 0.0));
}

#[test]
fn jacktrip_takes_the_mean_of_largest_intervals_and_grows_only_while_glitches_go_on() {
    // In each second 25 packets are held back for up to 40 ms.
    let held = arrivals(60.0, |number| if number % 8 < 3 { 15.0 - 5.0 * f64::from(number % 8) } else { 0.0 });
    let outcome = judge(Rule::JackTrip, &held, 10.0);
    assert!((20.0..30.0).contains(&outcome.delay) && outcome.late == 0.0, "{outcome:?}");
    // Three in a second are more than allowed, as long as they last.
    let spikes = arrivals(120.0, |number| if number % 60 == 0 { 100.0 } else { 0.0 });
    let (early, late) = (judge(Rule::JackTrip, &spikes[..4_000], 10.0), judge(Rule::JackTrip, &spikes, 100.0));
    assert!(late.delay > early.delay + 20.0, "{early:?}, {late:?}");
}

#[test]
fn neighbours_that_are_late_are_one_event() {
    // A second's stall: 10 packets in a row, 50 ms.
    let stalls = arrivals(61.0, |number| if number % 200 < 10 { 250.0 - 5.0 * f64::from(number % 200) } else { 0.0 });
    let outcome = judge(Rule::Fixed(200.0), &stalls, 1.0);
    assert!((outcome.events - 60.0).abs() < 1.5, "{outcome:?}");
    assert!((outcome.late - 5.0).abs() < 0.1, "{outcome:?}");
}

#[test]
fn drift_is_no_lateness() {
    let drifting = arrivals(120.0, |number| f64::from(number) * 0.005 * 0.3);
    assert_eq!(judge(Rule::NetEq, &drifting, 10.0).late, 0.0);
    assert_eq!(judge(Rule::JackTrip, &drifting, 10.0).late, 0.0);
}

#[test]
fn a_longer_path_is_one_event() {
    let longer = arrivals(60.0, |number| if number < 6_000 { 0.0 } else { 300.0 });
    for rule in [Rule::NetEq, Rule::JackTrip, Rule::Fixed(200.0)] {
        let outcome = judge(rule, &longer, 10.0);
        assert!((outcome.events - 1.2).abs() < 0.01 && outcome.late < 0.15, "{rule:?}: {outcome:?}");
    }
}
