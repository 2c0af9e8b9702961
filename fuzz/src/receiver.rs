//! The network side of a stream, with and without RTP.

use std::time::Duration;

use arbitrary::Arbitrary;
use audiostreamer_core::codec::payload_frames;
use audiostreamer_core::packet::{Packet, Rtp};
use audiostreamer_core::playout::Origin;
use audiostreamer_core::raw::RawReceiver;
use audiostreamer_core::receiver::Output;
use audiostreamer_core::rtcp::{self, Ntp, Outgoing, Report, SenderInfo};
use audiostreamer_core::{Codec, Encoding, Format, Instant, PayloadTypes, Receiver};

const SOURCE: u32 = 7;

/// Packets good, bad and nearly good, reports and pauses in any order: units come only in runs,
/// each as long as its payload; every packet is counted once; every report can be read.
pub fn receiver(bytes: &[u8]) {
    let Some((start, steps)) = super::input::<(u64, Vec<Step>)>(bytes) else { return };
    let mut now = Instant::from_nanos(start);
    let mut receiver = Receiver::new(now, 1, "fuzz", SOURCE, PayloadTypes::default());
    let mut stream = Stream { sequence: start as u16, timestamp: (start >> 16) as u32 };
    let mut run = None;
    let (mut handled, mut units) = (0, 0);
    for step in steps {
        match step {
            Step::Rtp { sequence, timestamp, payload_type, payload } => {
                let rtp = stream.packet(sequence.into(), timestamp, payload_type, payload);
                receiver.handle_rtp(now, &rtp);
                handled += 1;
            }
            Step::Next { count, lost } => {
                for n in 0..=count {
                    let payload = [n; 960];
                    let rtp = stream.packet(1, 240, 97, &payload);
                    if n != lost {
                        receiver.handle_rtp(now, &rtp);
                        handled += 1;
                    }
                    now += Duration::from_millis(5);
                }
            }
            Step::Bytes(bytes) => match Packet::parse(bytes) {
                Some(Packet::Rtp(rtp)) => {
                    receiver.handle_rtp(now, &rtp);
                    handled += 1;
                }
                Some(Packet::Rtcp(rtcp)) => receiver.handle_rtcp(now, rtcp),
                None => receiver.handle_rtcp(now, bytes),
            },
            Step::Report { ours, ntp, bye } => {
                let ssrc = if ours { SOURCE } else { SOURCE + 1 };
                let sender = ntp.map(|ntp| SenderInfo { ntp: Ntp(ntp), timestamp: 0, packets: 0, bytes: 0 });
                let mut packet = Vec::new();
                Outgoing { ssrc, cname: "peer", sender, report: Some(Report::default()), bye, ..Outgoing::default() }
                    .write(&mut packet);
                receiver.handle_rtcp(now, &packet);
            }
            Step::Wait { micros } => now += Duration::from_micros(micros.into()),
            Step::Jump { nanos } => now = Instant::from_nanos(nanos),
            Step::Close => receiver.close(),
        }
        while let Some(output) = receiver.poll_output() {
            match output {
                Output::Start(format) => run = Some(format),
                Output::End => run = None,
                Output::Unit(unit) if unit.origin == Origin::Lost => receiver.recycle(unit.payload),
                Output::Unit(unit) => {
                    let format = run.expect("a unit belongs to a run");
                    let copy = unit.origin == Origin::Copy;
                    let format = if copy { Format::OPUS } else { format };
                    assert_eq!(payload_frames(format, &unit.payload), Some(unit.frames as usize));
                    units += u64::from(!copy);
                    receiver.recycle(unit.payload);
                }
            }
        }
        transmitted(&mut receiver, now);
        let stats = receiver.stats();
        assert_eq!(stats.packets_received, units);
        let believed = stats.packets_received + stats.packets_refused;
        assert!(believed == handled || believed + 1 == handled, "all but one that waits for its next: {stats:?}");
    }
}

fn transmitted(receiver: &mut Receiver, now: Instant) {
    let mut packet = Vec::new();
    if receiver.poll_transmit(now, &mut packet) {
        assert!(rtcp::parse(&packet, |_| {}));
        assert!(now == Instant::from_nanos(u64::MAX) || !receiver.poll_transmit(now, &mut packet), "once is enough");
    }
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    /// A packet of any content, this far from the last one.
    Rtp {
        sequence: i16,
        timestamp: i32,
        payload_type: u8,
        payload: &'a [u8],
    },
    /// Packets as they should be, one of them missing.
    Next {
        count: u8,
        lost: u8,
    },
    /// Any bytes.
    Bytes(&'a [u8]),
    /// A compound packet as it should be.
    Report {
        ours: bool,
        ntp: Option<u64>,
        bye: bool,
    },
    Wait {
        micros: u32,
    },
    /// To any moment, back too.
    Jump {
        nanos: u64,
    },
    Close,
}

/// The wire's counters of a sender.
struct Stream {
    sequence: u16,
    timestamp: u32,
}

impl Stream {
    fn packet<'a>(&mut self, sequence: i32, timestamp: i32, payload_type: u8, payload: &'a [u8]) -> Rtp<'a> {
        self.sequence = self.sequence.wrapping_add(sequence as u16);
        self.timestamp = self.timestamp.wrapping_add_signed(timestamp);
        Rtp {
            ssrc: SOURCE,
            payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: timestamp % 2 == 1,
            payload,
        }
    }
}

/// A header-less stream in any pieces at any time, or datagrams: whole frames come out in their
/// order, units follow each other, and only a moment's bytes are held.
pub fn raw(bytes: &[u8]) {
    let Some(input) = super::input::<Raw>(bytes) else { return };
    let name = Encoding::names().nth(usize::from(input.encoding) % Encoding::names().count()).unwrap();
    let codec = Codec::Pcm(Encoding::from_name(name).unwrap());
    let format = Format { codec, rate: input.rate, channels: input.channels };
    let Some(mut receiver) = RawReceiver::new(format) else { return };
    let frame_bytes = format.frame_bytes().unwrap();
    let (mut sent, mut played) = (Vec::<u8>::new(), Vec::<u8>::new());
    let mut next = 0;
    for (nanos, bytes) in input.pieces {
        let now = Instant::from_nanos(nanos);
        if input.datagrams {
            receiver.handle_datagram(now, bytes);
            sent.extend(&bytes[..bytes.len() / frame_bytes * frame_bytes]);
        } else {
            receiver.handle_stream(now, bytes);
            sent.extend(bytes);
        }
        while let Some(output) = receiver.poll_output() {
            let Output::Unit(unit) = output else { continue };
            assert!(unit.time.0 >= next, "units never overlap");
            next = unit.end().0;
            assert_eq!(payload_frames(format, &unit.payload), Some(unit.frames as usize));
            played.extend(unit.payload);
        }
    }
    assert_eq!(played, sent[..sent.len() / frame_bytes * frame_bytes]);
    assert_eq!(receiver.received().1, played.len() as u64);
}

#[derive(Arbitrary, Debug)]
struct Raw<'a> {
    encoding: u8,
    rate: u32,
    channels: u8,
    datagrams: bool,
    pieces: Vec<(u64, &'a [u8])>,
}
