//! The sending side of a stream.

use std::time::Duration;

use arbitrary::Arbitrary;
use audiostreamer_core::codec::opus::Application;
use audiostreamer_core::copies::Copied;
use audiostreamer_core::packet::Packet;
use audiostreamer_core::packetizer::Frame;
use audiostreamer_core::red::Red;
use audiostreamer_core::rtcp::{self, Ntp, Outgoing, Report};
use audiostreamer_core::sender::{Beside, Config, Wire};
use audiostreamer_core::{Format, Instant, MediaTime, PayloadTypes, Sender};

const SSRC: u32 = 7;
const PAYLOAD_TYPE: u8 = 96;

/// Frames out, anything back, in any order: each frame leaves once and as it was, what else leaves
/// is RTCP, and no report makes a share or a time that can't be.
pub fn sender(bytes: &[u8]) {
    let Some(input) = super::input::<Input>(bytes) else { return };
    let wire = if input.raw { Wire::Raw } else { Wire::Rtp { payload_type: PAYLOAD_TYPE } };
    let mut sender = Sender::new(Config {
        ssrc: SSRC,
        first_sequence: input.first_sequence,
        first_timestamp: input.first_timestamp,
        cname: "fuzz".into(),
        wire,
        rate: input.rate,
        beside: Some(Beside { format: Format::OPUS, application: Application::Voice }),
        wall_epoch: Ntp(input.wall_epoch),
    });
    let mut now = Instant::default();
    for step in input.steps {
        match step {
            Step::Frame { time, captured, payload } => {
                let copy = sender.copies().map(|_| Copied { time: MediaTime(time), payload });
                let frame = Frame {
                    time: MediaTime(time),
                    frames: 240,
                    captured: Instant::from_nanos(captured),
                    begins: captured % 2 == 1,
                    payload,
                    copy,
                };
                sender.handle_frame(now, &frame);
                sent(&mut sender, now, Some(payload), input.raw);
            }
            Step::Bytes(bytes) => sender.handle_packet(now, bytes),
            Step::Report { fraction_lost, lost, jitter, last_sender_report, delay_since, bye } => {
                let report = Report {
                    ssrc: SSRC,
                    fraction_lost,
                    lost,
                    highest_sequence: 0,
                    jitter,
                    last_sender_report,
                    delay_since,
                };
                let mut packet = Vec::new();
                Outgoing { ssrc: 1, cname: "peer", report: Some(report), bye, ..Outgoing::default() }
                    .write(&mut packet);
                sender.handle_packet(now, &packet);
                assert!(sender.poll_event().is_some());
            }
            Step::Wait { micros } => now += Duration::from_micros(micros.into()),
            Step::Jump { nanos } => now = Instant::from_nanos(nanos),
            Step::Finish => sender.finish(),
        }
        sent(&mut sender, now, None, input.raw);
        let stats = sender.stats();
        assert!((0.0..=1.0).contains(&stats.fraction_lost));
        assert!(stats.round_trip_time.is_none_or(|trip| trip < Duration::from_secs(60)));
    }
}

/// Takes all that the sender has to send; a frame's payload comes first, then at most a report.
fn sent(sender: &mut Sender, now: Instant, payload: Option<&[u8]>, raw: bool) {
    let mut packet = Vec::new();
    if let Some(payload) = payload {
        assert!(sender.poll_transmit(now, &mut packet));
        match Packet::parse(&packet) {
            _ if raw => assert_eq!(packet, payload),
            Some(Packet::Rtp(rtp)) if rtp.payload_type == PayloadTypes::REDUNDANCY => {
                assert_eq!(
                    Red::parse(rtp.payload).map(|red| (red.payload_type, red.payload)),
                    Some((PAYLOAD_TYPE, payload))
                );
            }
            Some(Packet::Rtp(rtp)) => assert_eq!((rtp.ssrc, rtp.payload), (SSRC, payload)),
            _ => panic!("no RTP"),
        }
    }
    if sender.poll_transmit(now, &mut packet) {
        assert!(!raw && rtcp::parse(&packet, |_| {}));
        assert!(!sender.poll_transmit(now, &mut packet));
    }
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    raw: bool,
    first_sequence: u16,
    first_timestamp: u32,
    rate: u32,
    wall_epoch: u64,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Frame {
        time: i64,
        captured: u64,
        payload: &'a [u8],
    },
    Bytes(&'a [u8]),
    /// A receiver report as it should be, with any figures.
    Report {
        fraction_lost: u8,
        lost: u32,
        jitter: u32,
        last_sender_report: u32,
        delay_since: u32,
        bye: bool,
    },
    Wait {
        micros: u32,
    },
    /// To any moment, back too.
    Jump {
        nanos: u64,
    },
    Finish,
}
