//! The send thread: captured blocks in, packets out.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use audiostreamer_core::rtcp::Outgoing;
use audiostreamer_core::sender::{self, Redundancy};
use audiostreamer_core::{Format, Instant, Packetizer, Sender};
use tokio::sync::mpsc::UnboundedSender;

use super::media::{packetizer_config, sender_config};
use super::shaping::Shaping;
use super::status::{State, Status};
use super::{Config, WireFormat, mapped};
use crate::capture::Captured;
use crate::clock;
use crate::device::{Notice, Xruns, priority};
use crate::error::Error;
use crate::link::{Link, LinkEvent, Sent, Transport, mismatch};
use crate::report::{Event, Report};
use crate::trust::AuthError;
use crate::volume::Volume;

/// What the send thread is told, besides captured blocks.
pub enum SendEvent {
    /// A device was opened: from now on blocks come from here.
    Captured(Captured),
    Source(Notice),
    Link(LinkEvent),
    Volume(Volume),
    /// Say good-bye and end.
    Finish,
}

/// What the send thread says to the runtime.
pub enum FromSend {
    /// There is somebody who hears, as far as can be known.
    Ready,
    /// The source has come to its end, or there is no going on.
    Ended(Result<(), Error>),
}

/// What was sent in all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    /// From the first packet to the last.
    pub duration: Duration,
    /// Of the last stream; a source that changed its shape began a new one.
    pub stats: sender::Stats,
    /// Packets that the socket had no room for.
    pub packets_dropped: u64,
    /// Captured frames that were lost before they could be sent.
    pub frames_lost: u64,
    /// How often the sound card has lost sound.
    pub xruns: u64,
}

/// How often a status is reported.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// No word from a server that was heard before, for so long, is worth a message.
const SILENT: Duration = Duration::from_secs(5);

/// Runs until it is told to finish. What it leaves is what was counted, and the link, over which
/// the last packets may still be on their way.
pub fn run(
    config: &Config,
    inbox: &Receiver<SendEvent>,
    report: impl Fn(Report),
    tell: &UnboundedSender<FromSend>,
    xruns: Xruns,
) -> (Counted, Option<Link>) {
    if !priority::raise_for_audio() {
        report(Report::Event(Event::NoRealTime));
    }
    let mut thread = SendThread::new(config, report, tell, xruns);
    loop {
        match thread.turn(inbox) {
            Ok(Turn::Again) => std::thread::park_timeout(STATUS_INTERVAL),
            Ok(Turn::Finished) => break,
            Ok(Turn::Ended) => drop(tell.send(FromSend::Ended(Ok(())))),
            Err(error) => drop(tell.send(FromSend::Ended(Err(error)))),
        }
    }
    thread.say_goodbye();
    (thread.counted(), thread.link)
}

enum Turn {
    Again,
    /// The source has ended; the word to finish will come.
    Ended,
    Finished,
}

struct SendThread<'a, R> {
    config: &'a Config,
    report: R,
    tell: &'a UnboundedSender<FromSend>,
    xruns: Xruns,
    captured: Option<Captured>,
    /// As last told.
    volume: Volume,
    stream: Option<Stream>,
    link: Option<Link>,
    /// Why there is no link, as last reported: the same reason is reported once.
    down: Option<String>,
    /// When the link came up, and when the server was last heard over it.
    up_since: Option<Instant>,
    heard: Option<Instant>,
    packet: Vec<u8>,
    packets_dropped: u64,
    frames_lost: u64,
    send_delay: Duration,
    next_status: Instant,
    started: Option<Instant>,
    last_sent: Instant,
}

/// What belongs to one format: a source that comes back with another shape gets a new one.
struct Stream {
    format: Format,
    shaping: Shaping,
    packetizer: Packetizer,
    sender: Sender,
    description: String,
}

impl<'a, R: Fn(Report)> SendThread<'a, R> {
    fn new(config: &'a Config, report: R, tell: &'a UnboundedSender<FromSend>, xruns: Xruns) -> Self {
        Self {
            config,
            report,
            tell,
            xruns,
            captured: None,
            volume: config.volume,
            stream: None,
            link: None,
            down: None,
            up_since: None,
            heard: None,
            packet: Vec::new(),
            packets_dropped: 0,
            frames_lost: 0,
            send_delay: Duration::ZERO,
            next_status: clock::now(),
            started: None,
            last_sent: clock::now(),
        }
    }

    /// Does everything that there is to do now.
    fn turn(&mut self, inbox: &Receiver<SendEvent>) -> Result<Turn, Error> {
        let mut turn = Turn::Again;
        while let Ok(event) = inbox.try_recv() {
            match event {
                SendEvent::Captured(captured) => self.open(captured)?,
                SendEvent::Source(notice) => {
                    if let Turn::Ended = self.handle_notice(notice)? {
                        turn = Turn::Ended;
                    }
                }
                SendEvent::Link(event) => self.handle_link(event)?,
                SendEvent::Volume(volume) => {
                    self.volume = volume;
                    self.stream.iter_mut().for_each(|stream| stream.shaping.set(volume));
                }
                SendEvent::Finish => {
                    self.send_captured()?;
                    self.send_rest()?;
                    return Ok(Turn::Finished);
                }
            }
        }
        self.send_captured()?;
        self.report_status();
        Ok(turn)
    }

    fn open(&mut self, captured: Captured) -> Result<(), Error> {
        let shaping = Shaping::new(&self.config.map, &captured.shape, self.volume)?;
        let shape = mapped(&self.config.map, &captured.shape);
        let packetizer_config = packetizer_config(&self.config.media, &shape, self.config.payload_bytes_max());
        let format = packetizer_config.format;
        let packetizer = Packetizer::new(packetizer_config)?;
        let frame = audiostreamer_core::duration_of(packetizer_config.frames as u64, format.rate);
        let sender = Sender::new(sender_config(&self.config.media, format)?);
        let description = format!("{format}, frames of {} ms", frame.as_micros() as f64 / 1e3);
        if let Some(old) = &mut self.stream {
            old.sender.finish(); // the server need not wait for it to fall silent
            self.transmit();
        }
        self.stream = Some(Stream { format, shaping, packetizer, sender, description });
        self.captured = Some(captured);
        self.heard = self.heard.map(|_| clock::now()); // from now on an answer can be expected
        self.set_redundancy();
        Ok(())
    }

    /// What a connection carries is not lost, but late; sending it twice would make it later.
    fn set_redundancy(&mut self) {
        let (Some(stream), Some(link)) = (&mut self.stream, &self.link) else { return };
        stream.sender.set_redundancy(match link.transport() {
            Transport::Udp => self.config.media.redundancy,
            Transport::Tcp => Redundancy::Off,
        });
    }

    fn handle_notice(&mut self, notice: Notice) -> Result<Turn, Error> {
        match notice {
            Notice::Opened { name, shape } => (self.report)(Report::Event(Event::Capturing { name, shape })),
            Notice::Lost { name, why } => (self.report)(Report::Event(Event::DeviceLost { name, why })),
            Notice::Gap(gap) => (self.report)(Report::Event(Event::Gap(gap))),
            Notice::Ended => return Ok(Turn::Ended),
            Notice::Failed(error) => return Err(error.into()),
        }
        Ok(Turn::Again)
    }

    fn handle_link(&mut self, event: LinkEvent) -> Result<(), Error> {
        let now = clock::now();
        match event {
            LinkEvent::Up(link) => {
                if self.link.is_none() {
                    self.discard_captured(); // captured while there was no link: the past
                }
                self.link = Some(link);
                self.set_redundancy();
                self.up_since = Some(now);
                self.heard = None;
                self.say_hello();
            }
            LinkEvent::Down(why) => {
                self.link = None;
                self.heard = None; // or its silence would be reported, too
                if self.config.no_wait {
                    return Err(Error::Network { peer: self.peer(), why });
                }
                if self.down.as_ref() != Some(&why) {
                    (self.report)(Report::Event(Event::Waiting { peer: self.peer(), why: why.clone() }));
                    self.down = Some(why);
                }
            }
            LinkEvent::Failed(error) => return Err(error),
            LinkEvent::Met(key) => (self.report)(Report::Event(Event::Met { peer: self.peer(), key })),
            LinkEvent::Silent | LinkEvent::Heard => {}
            LinkEvent::Packet(bytes) if self.is_plain() && mismatch::is_encrypted_only(&bytes) => {
                return Err(AuthError::ServerIsSecure { peer: self.peer() }.into());
            }
            LinkEvent::Packet(bytes) => {
                if let Some(stream) = &mut self.stream {
                    stream.sender.handle_packet(now, &bytes);
                }
                self.transmit(); // what it asks for once more
                self.handle_sender_events(now);
                let _ = self.tell.send(FromSend::Ready);
            }
        }
        Ok(())
    }

    fn handle_sender_events(&mut self, now: Instant) {
        match self.stream.as_mut().and_then(|stream| stream.sender.poll_event()) {
            Some(sender::Event::Heard) => {
                self.heard = Some(now);
                self.report_streaming();
            }
            Some(sender::Event::Ended) => (self.report)(Report::Event(Event::ServerEnded { peer: self.peer() })),
            None => {}
        }
    }

    /// Says once for each link that sound gets through, as far as can be known.
    fn report_streaming(&mut self) {
        if let (Some(stream), Some(link)) = (&self.stream, &self.link)
            && self.up_since.take().is_some()
        {
            self.down = None;
            let transport = link.transport();
            let (peer, encrypted, format) = (self.peer(), link.is_encrypted(), stream.description.clone());
            (self.report)(Report::Event(Event::Streaming { peer, transport, encrypted, format }));
        }
    }

    fn send_captured(&mut self) -> Result<(), Error> {
        while let Some((block, samples)) = self.captured.as_mut().and_then(Captured::next_block) {
            let Some(stream) = &mut self.stream else { break };
            self.frames_lost += block.lost_frames;
            stream.packetizer.skip(block.lost_frames);
            stream.packetizer.push(block.captured, stream.shaping.apply(samples));
            self.send_frames()?;
        }
        Ok(())
    }

    /// Sends what fills no frame.
    fn send_rest(&mut self) -> Result<(), Error> {
        if let Some(stream) = &mut self.stream {
            stream.packetizer.finish();
        }
        self.send_frames()
    }

    fn send_frames(&mut self) -> Result<(), Error> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while let Some(frame) = stream.packetizer.poll()? {
            if self.link.is_none() {
                continue; // nobody to send to: media time runs on
            }
            let now = clock::now();
            stream.sender.handle_frame(now, &frame);
            self.send_delay = now - frame.captured;
            self.started.get_or_insert(now);
            self.last_sent = now;
            while stream.sender.poll_transmit(now, &mut self.packet) {
                send(&mut self.link, &self.packet, &mut self.packets_dropped);
            }
        }
        Ok(())
    }

    /// Asks over plain UDP whether anybody is there, before a source that can wait is started: an
    /// empty report, which our server answers with its own. Bare PCM has no such question, and on
    /// other links somebody has answered already.
    fn say_hello(&mut self) {
        match (&self.config.media.wire, &self.link) {
            (WireFormat::Rtp { .. }, Some(Link::Udp { .. })) if self.stream.is_none() => {
                let cname = crate::random::cname();
                let ssrc = crate::random::u64() as u32;
                Outgoing { ssrc, cname: &cname, ..Outgoing::default() }.write(&mut self.packet);
                send(&mut self.link, &self.packet, &mut self.packets_dropped);
            }
            _ => drop(self.tell.send(FromSend::Ready)),
        }
    }

    /// Takes captured blocks without sending them; media time runs on.
    fn discard_captured(&mut self) {
        while let Some((block, _)) = self.captured.as_mut().and_then(Captured::next_block) {
            if let Some(stream) = &mut self.stream {
                stream.packetizer.skip(block.lost_frames + block.frames as u64);
            }
        }
    }

    fn transmit(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while stream.sender.poll_transmit(clock::now(), &mut self.packet) {
            send(&mut self.link, &self.packet, &mut self.packets_dropped);
        }
    }

    fn say_goodbye(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.sender.finish();
        }
        self.transmit();
    }

    fn report_status(&mut self) {
        let now = clock::now();
        if now < self.next_status {
            return;
        }
        self.next_status = now + STATUS_INTERVAL;
        if self.up_since.is_some_and(|since| now - since > UNREFUSED) {
            // Receivers that never report are receivers too.
            let _ = self.tell.send(FromSend::Ready);
            self.report_streaming();
        }
        // A server answers sound: while there is none to send, its silence means nothing.
        if self.heard.is_some_and(|heard| self.last_sent - heard > SILENT) {
            self.heard = None;
            (self.report)(Report::Event(Event::ServerSilent { peer: self.peer(), silent: SILENT }));
        }
        let state = match (&self.link, self.heard) {
            (None, _) => State::Waiting,
            (Some(_), None) => State::Sending,
            (Some(_), Some(_)) => State::Heard,
        };
        let (packets_dropped, xruns, send_delay) = (self.packets_dropped, self.xruns.count(), self.send_delay);
        let (mut peak, mut stats) = (0.0, sender::Stats::default());
        if let Some(stream) = &mut self.stream {
            peak = stream.packetizer.take_peak();
            stats = stream.sender.stats();
        }
        (self.report)(Report::Client(Status {
            state,
            peer: self.peer(),
            transport: self.link.as_ref().map(Link::transport),
            encrypted: self.link.as_ref().is_some_and(Link::is_encrypted),
            format: self.stream.as_ref().map(|stream| stream.format),
            volume: self.volume,
            peak,
            stats,
            packets_dropped,
            xruns,
            send_delay,
        }));
    }

    fn is_plain(&self) -> bool {
        self.config.credentials.is_none()
    }

    fn peer(&self) -> String {
        crate::report::host_port(&self.config.host, self.config.port)
    }

    fn counted(&self) -> Counted {
        Counted {
            duration: self.started.map_or(Duration::ZERO, |started| self.last_sent - started),
            stats: self.stream.as_ref().map(|stream| stream.sender.stats()).unwrap_or_default(),
            packets_dropped: self.packets_dropped,
            frames_lost: self.frames_lost,
            xruns: self.xruns.count(),
        }
    }
}

/// A link that has not been refused for so long counts as streaming even if nothing comes back.
const UNREFUSED: Duration = Duration::from_millis(500);

fn send(link: &mut Option<Link>, packet: &[u8], dropped: &mut u64) {
    match link.as_mut().map(|link| link.send(packet)) {
        Some(Ok(Sent::Dropped)) => *dropped += 1,
        // The reading side says that the link is down, and why. But each refusal of a datagram is
        // told to one side only, so the link stays until the reading side has heard of one, too.
        Some(Ok(Sent::Sent) | Err(_)) | None => {}
    }
}
