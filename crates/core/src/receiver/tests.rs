use super::*;

fn receiver() -> Receiver {
    Receiver::new(at(0), 1, "test", 7, PayloadTypes::default())
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// A packet of 5 ms of L16 stereo, number `n` of a stream that starts just before its wraps.
fn packet(n: u64, payload_type: u8) -> Rtp<'static> {
    Rtp {
        ssrc: 7,
        payload_type,
        sequence: 65_530u16.wrapping_add(n as u16),
        timestamp: (u32::MAX - 500).wrapping_add(n as u32 * 240),
        marker: false,
        payload: &[0; 960],
    }
}

fn handle(receiver: &mut Receiver, n: u64) -> Vec<Output> {
    receiver.handle_rtp(at(n * 5), &packet(n, 97));
    outputs(receiver)
}

fn outputs(receiver: &mut Receiver) -> Vec<Output> {
    std::iter::from_fn(|| receiver.poll_output()).collect()
}

fn times(outputs: &[Output]) -> Vec<i64> {
    let first = i64::from(u32::MAX) - 500;
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Unit(unit) => Some((unit.time.0 - first) / 240),
            _ => None,
        })
        .collect()
}

#[test]
fn two_packets_in_order_start_a_stream_and_none_is_lost() {
    let mut receiver = receiver();
    assert!(handle(&mut receiver, 0).is_empty());
    let outputs = handle(&mut receiver, 1);
    assert_eq!(outputs[0], Output::Start(Format::l16(48_000, 2)));
    assert_eq!(times(&outputs), [0, 1]);
}

#[test]
fn wraps_losses_and_reordering_keep_one_timeline() {
    let mut receiver = receiver();
    let mut all = Vec::new();
    for n in [0, 1, 2, 4, 3, 5, 8, 9, 7, 20] {
        all.extend(handle(&mut receiver, n));
    }
    assert_eq!(times(&all), [0, 1, 2, 4, 3, 5, 8, 9, 7, 20]);
    assert_eq!(receiver.stats().packets_lost, 21 - 10);
}

#[test]
fn a_restart_begins_a_new_run_and_a_stray_packet_does_not() {
    let mut receiver = receiver();
    (0..10).for_each(|n| drop(handle(&mut receiver, n)));
    let stray = Rtp { sequence: 20_000, timestamp: 5, ..packet(0, 97) };
    receiver.handle_rtp(at(50), &stray);
    assert!(outputs(&mut receiver).is_empty());
    assert_eq!(times(&handle(&mut receiver, 10)), [10], "the stream goes on");
    assert_eq!(receiver.stats().packets_refused, 1);
    for n in 0..3 {
        let restarted = Rtp { sequence: 30_000 + n, timestamp: 0x5000_0000 + u32::from(n) * 240, ..packet(0, 97) };
        receiver.handle_rtp(at(60 + u64::from(n) * 5), &restarted);
    }
    let outputs = outputs(&mut receiver);
    assert!(matches!(outputs[0], Output::Start(_)));
    assert_eq!(outputs.len(), 4);
}

#[test]
fn an_absurd_timestamp_is_refused() {
    let mut receiver = receiver();
    (0..4).for_each(|n| drop(handle(&mut receiver, n)));
    receiver.handle_rtp(at(20), &Rtp { timestamp: 0x7000_0000, ..packet(4, 97) });
    assert!(outputs(&mut receiver).is_empty());
    assert_eq!(times(&handle(&mut receiver, 5)), [5]);
}

#[test]
fn a_timestamp_that_goes_back_begins_a_new_run() {
    let mut receiver = receiver();
    (0..10).for_each(|n| drop(handle(&mut receiver, n)));
    for n in 10..12 {
        let timestamp = packet(n - 8, 97).timestamp;
        receiver.handle_rtp(at(n * 5), &Rtp { timestamp, ..packet(n, 97) });
    }
    assert!(matches!(outputs(&mut receiver)[..], [Output::Start(_), Output::Unit(_), Output::Unit(_)]));
}

#[test]
fn a_changed_format_begins_a_new_run() {
    let mut receiver = receiver();
    (0..4).for_each(|n| drop(handle(&mut receiver, n)));
    receiver.handle_rtp(at(20), &packet(4, 10));
    receiver.handle_rtp(at(25), &packet(5, 10));
    let outputs = outputs(&mut receiver);
    assert_eq!(outputs[0], Output::Start(Format::l16(44_100, 2)));
    assert_eq!(outputs.len(), 3);
}

#[test]
fn what_is_no_payload_is_counted_and_dropped() {
    let mut receiver = receiver();
    receiver.handle_rtp(at(0), &packet(0, 99));
    receiver.handle_rtp(at(0), &Rtp { payload: &[0; 961], ..packet(0, 97) });
    receiver.handle_rtp(at(0), &Rtp { payload: &[], ..packet(0, 97) });
    assert_eq!(receiver.stats().packets_refused, 3);
    assert_eq!(receiver.stats().packets_received, 0);
}

#[test]
fn reports_say_what_was_lost_since_the_last() {
    let mut receiver = receiver();
    let mut packet = Vec::new();
    let mut reports = Vec::new();
    for n in (0..500).filter(|n| n % 4 != 3) {
        handle(&mut receiver, n);
        while receiver.poll_transmit(at(n * 5), &mut packet) {
            rtcp::parse(&packet, |message| {
                if let Message::Report { report, .. } = message {
                    reports.push(report.fraction_lost);
                }
            });
        }
    }
    assert_eq!(reports.len(), 3, "at once and then every second");
    assert!(reports[1].abs_diff(64) <= 1, "a quarter: {}", reports[1]);
}

#[test]
fn bye_ends_the_stream() {
    let mut receiver = receiver();
    (0..4).for_each(|n| drop(handle(&mut receiver, n)));
    let mut bytes = Vec::new();
    Outgoing { ssrc: 8, cname: "other", bye: true, ..Outgoing::default() }.write(&mut bytes);
    receiver.handle_rtcp(at(20), &bytes);
    assert!(outputs(&mut receiver).is_empty(), "somebody else's");
    Outgoing { ssrc: 7, cname: "ours", bye: true, ..Outgoing::default() }.write(&mut bytes);
    receiver.handle_rtcp(at(20), &bytes);
    assert_eq!(outputs(&mut receiver), [Output::End]);
}

#[test]
fn what_was_lost_is_still_known_after_the_end() {
    let mut receiver = receiver();
    [0, 1, 2, 5].into_iter().for_each(|n| drop(handle(&mut receiver, n)));
    let mut bytes = Vec::new();
    Outgoing { ssrc: 7, cname: "ours", bye: true, ..Outgoing::default() }.write(&mut bytes);
    receiver.handle_rtcp(at(30), &bytes);
    assert_eq!(receiver.stats().packets_lost, 2);
}

#[test]
fn every_stray_packet_is_counted() {
    let mut receiver = receiver();
    handle(&mut receiver, 0);
    for n in 1..11 {
        handle(&mut receiver, n);
        receiver.handle_rtp(at(n * 5), &Rtp { sequence: 20_000, ..packet(0, 97) });
    }
    let stats = receiver.stats();
    // The last may yet begin a run.
    assert_eq!((stats.packets_received, stats.packets_refused), (11, 9));
}
