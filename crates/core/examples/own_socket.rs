//! The core on a socket of one's own: a tone is sent over UDP on this machine, and what comes out is measured.
//!
//! Whoever embeds the core brings the socket, the clock and the loop; all that the two ends must do for each
//! other is in `Sending::run` and `Receiving::run`. Here both take turns in one loop.
//!
//! ```sh
//! cargo run -p audiostreamer-core --example own_socket
//! ```

use std::error::Error;
use std::f32::consts::TAU;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::thread::sleep;
use std::time::{Duration, Instant as Clock};

use audiostreamer_core::packet::Packet;
use audiostreamer_core::playout::{self, Latency, Playout, Profile};
use audiostreamer_core::receiver::{Output, Receiver};
use audiostreamer_core::rtcp::Ntp;
use audiostreamer_core::sender::{self, Sender};
use audiostreamer_core::{Codec, Encoding, Error as CoreError, Format, Instant, Packetizer, PayloadTypes, packetizer};

const RATE: u32 = 48_000;
const CHANNELS: u16 = 1;
const FORMAT: Format = Format { codec: Codec::Pcm(Encoding::S16Be), rate: RATE, channels: 1 };

/// A packet's worth, and the block of both cards.
const FRAMES: usize = 240;

/// Random in earnest, as are the sequence number and the timestamp that a stream begins with.
const SSRC: u32 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    let (mut sending, mut receiving) = (Sending::new(here)?, Receiving::new(there)?);
    let begin = clock();
    for block in 1..=200_u32 {
        // What the cards' callbacks would say when they are due.
        let due = begin + Duration::from_millis(5) * block;
        sleep(due.saturating_duration_since(clock()));
        let now = Instant::from_nanos((clock() - begin).as_nanos() as u64);
        sending.run(now)?;
        receiving.run(now)?;
    }
    let loudest = receiving.heard.iter().fold(0.0_f32, |loudest, sample| loudest.max(sample.abs()));
    let stats = receiving.receiver.stats();
    println!(
        "{} frames heard, the loudest sample {loudest:.2}; {} packets lost",
        receiving.heard.len(),
        stats.packets_lost
    );
    assert!((loudest - 0.5).abs() < 0.05, "the tone did not come through");
    Ok(())
}

/// A clock of one's own: the core reads none.
#[expect(clippy::disallowed_methods, reason = "whoever embeds the core has the clock")]
fn clock() -> Clock {
    Clock::now()
}

/// The end with the microphone.
struct Sending {
    socket: UdpSocket,
    packetizer: Packetizer,
    sender: Sender,
    frame: u32,
    packet: Vec<u8>,
}

impl Sending {
    fn new(socket: UdpSocket) -> Result<Self, Box<dyn Error>> {
        socket.set_nonblocking(true)?;
        let payload_type = PayloadTypes::default().payload_type(FORMAT).ok_or("L16 is agreed")?;
        let packetizer = Packetizer::new(packetizer::Config {
            rate: RATE,
            channels: CHANNELS,
            format: FORMAT,
            frames: FRAMES,
            opus: Default::default(),
        })?;
        let sender = Sender::new(sender::Config {
            ssrc: SSRC,
            first_sequence: 1,
            first_timestamp: 0,
            cname: "example".into(),
            wire: sender::Wire::Rtp { payload_type },
            rate: RATE,
            beside: None,
            wall_epoch: Ntp::default(),
        });
        Ok(Self { socket, packetizer, sender, frame: 0, packet: Vec::new() })
    }

    /// Captures a block, sends what is due and reads what the other end says.
    fn run(&mut self, now: Instant) -> Result<(), Box<dyn Error>> {
        let block: Vec<f32> = (self.frame..self.frame + FRAMES as u32).map(tone).collect();
        self.frame += FRAMES as u32;
        self.packetizer.push(now, &block);
        while let Some(frame) = self.packetizer.poll()? {
            self.sender.handle_frame(now, &frame);
            while self.sender.poll_transmit(now, &mut self.packet) {
                self.socket.send(&self.packet)?;
            }
        }
        let mut buffer = [0; 2048];
        while let Some(length) = read(&self.socket, &mut buffer)? {
            self.sender.handle_packet(now, &buffer[..length]);
        }
        Ok(())
    }
}

/// The end with the speakers.
struct Receiving {
    socket: UdpSocket,
    receiver: Receiver,
    playout: Option<Playout>,
    heard: Vec<f32>,
    packet: Vec<u8>,
}

impl Receiving {
    fn new(socket: UdpSocket) -> Result<Self, Box<dyn Error>> {
        socket.set_nonblocking(true)?;
        let receiver = Receiver::new(Instant::default(), 8, "example", SSRC, PayloadTypes::default());
        Ok(Self { socket, receiver, playout: None, heard: Vec::new(), packet: Vec::new() })
    }

    /// Reads what has come, answers, and plays a block.
    fn run(&mut self, now: Instant) -> Result<(), Box<dyn Error>> {
        let mut buffer = [0; 2048];
        while let Some(length) = read(&self.socket, &mut buffer)? {
            match Packet::parse(&buffer[..length]) {
                Some(Packet::Rtp(rtp)) => self.receiver.handle_rtp(now, &rtp),
                Some(Packet::Rtcp(report)) => self.receiver.handle_rtcp(now, report),
                None => {} // weather
            }
        }
        while let Some(output) = self.receiver.poll_output() {
            self.take(output)?;
        }
        while self.receiver.poll_transmit(now, &mut self.packet) {
            self.socket.send(&self.packet)?;
        }
        if let Some(playout) = &mut self.playout {
            let mut block = [0.0; FRAMES];
            playout.fill(now, &mut block);
            self.heard.extend(block);
            std::iter::from_fn(|| playout.reclaim()).for_each(|payload| self.receiver.recycle(payload));
        }
        Ok(())
    }

    fn take(&mut self, output: Output) -> Result<(), CoreError> {
        match (output, &mut self.playout) {
            (Output::Start(format), _) => {
                let (latency, profile) = (Latency::Auto, Profile::Live);
                let config = playout::Config { latency, profile, rate: RATE, channels: CHANNELS, frames_max: FRAMES };
                self.playout = Some(Playout::new(format, config)?);
            }
            (Output::Unit(unit), Some(playout)) => playout.insert(unit),
            _ => {}
        }
        Ok(())
    }
}

fn tone(frame: u32) -> f32 {
    0.5 * (TAU * 440.0 * frame as f32 / RATE as f32).sin()
}

/// The next datagram, if there is one.
fn read(socket: &UdpSocket, buffer: &mut [u8]) -> Result<Option<usize>, std::io::Error> {
    match socket.recv(buffer) {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
