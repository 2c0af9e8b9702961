//! One destination's half of the send thread: its sender, its link, and what is known of it. What
//! becomes of one feed is nothing to the others.

use std::time::Duration;

use audiostreamer_core::packet::HEADER_BYTES;
use audiostreamer_core::packetizer::Frame;
use audiostreamer_core::rtcp::Outgoing;
use audiostreamer_core::sender::{self, Redundancy};
use audiostreamer_core::{Instant, Sender, copies};

use super::status::{FeedStatus, Sent, State};
use super::{Media, WireFormat};
use crate::clock;
use crate::error::Error;
use crate::link::quic::DATAGRAM_BYTES_MIN;
use crate::link::{self, Link, LinkEvent, SharedLink, Transport, Via, mismatch};
use crate::report::Event;
use crate::trust::AuthError;

/// No word from a server that was heard before, for so long, is worth a message.
const SILENT: Duration = Duration::from_secs(5);

/// A link that has not been refused for so long counts as streaming even if nothing comes back.
const UNREFUSED: Duration = Duration::from_millis(500);

/// So many reasons why there is no link are reported; more would be one that is never the same twice.
const REASONS_MAX: usize = 8;

/// What a feed has to know of its destination.
#[derive(Clone, Debug)]
pub(crate) struct To {
    /// As its user has written it.
    pub peer: String,
    /// Whether others on the way can't listen.
    pub encrypted: bool,
    /// Give it up when it is not there.
    pub no_wait: bool,
}

pub(super) struct Feed {
    to: To,
    media: Media,
    /// Of the present format, none until the source is open.
    stream: Option<Stream>,
    /// What was counted for those before it.
    before: sender::Stats,
    link: Option<SharedLink>,
    /// Why there is no link, as reported: the same reason is reported once.
    down: Vec<String>,
    /// Ways that are down, as reported.
    ways_down: Vec<Via>,
    /// When the link came up, and when the server was last heard over it.
    up_since: Option<Instant>,
    heard: Option<Instant>,
    answer: Answer,
    /// Why it is given up.
    failed: Option<Error>,
    packet: Vec<u8>,
    packets_dropped: u64,
    target_bps: f64,
    last_sent: Instant,
}

struct Stream {
    sender: Sender,
    /// What is sent, for who reads it.
    description: String,
}

/// Whether somebody hears, for a source that can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Unknown,
    /// Yes, as far as can be known.
    Ready,
    /// Not at the first try.
    NotThere,
}

impl Feed {
    pub fn new(media: Media, to: To) -> Self {
        Self {
            to,
            media,
            stream: None,
            before: sender::Stats::default(),
            link: None,
            down: Vec::new(),
            ways_down: Vec::new(),
            up_since: None,
            heard: None,
            answer: Answer::Unknown,
            failed: None,
            packet: Vec::new(),
            packets_dropped: 0,
            target_bps: 0.0,
            last_sent: clock::now(),
        }
    }

    /// Goes on with a stream of another format, described so.
    pub fn open(&mut self, config: sender::Config, description: String) {
        if let Some(old) = &mut self.stream {
            old.sender.finish(); // or the server would wait for it to fall silent
            self.transmit();
            self.before = self.stats();
        }
        let mut sender = Sender::new(config);
        sender.set_padding(self.media.padding, DATAGRAM_BYTES_MIN);
        sender.set_ceiling_bps(self.media.ceiling_bps.map(f64::from));
        self.stream = Some(Stream { sender, description });
        self.heard = self.heard.map(|_| clock::now()); // from now on an answer can be expected
        self.adjust_to_link();
    }

    /// Says what the sound is coded in, bits per second without headers.
    pub fn set_target_bps(&mut self, bits_per_second: f64) {
        self.target_bps = bits_per_second;
    }

    /// Goes on with the same stream in another format.
    pub fn set_format(&mut self, config: &sender::Config) {
        if let (Some(stream), sender::Wire::Rtp { payload_type }) = (&mut self.stream, config.wire) {
            stream.sender.set_format(payload_type, config.rate, config.beside);
        }
    }

    /// What is sent where nothing limits it, bits per second with headers.
    pub fn set_full_bps(&mut self, bits_per_second: f64) {
        self.stream.iter_mut().for_each(|stream| stream.sender.set_full_bps(bits_per_second));
    }

    /// Of all headers and padding of a packet at the most, as far as that is known.
    pub fn overhead_bytes(&self) -> usize {
        self.stream.as_ref().map_or(HEADER_BYTES, |stream| stream.sender.headers_max())
    }

    /// The sender, where there is a link: what is known of a path that is gone limits nobody.
    fn linked(&self) -> Option<&Sender> {
        self.stream.as_ref().filter(|_| self.has_link()).map(|stream| &stream.sender)
    }

    /// Whether its path carries less than is wanted.
    pub fn is_limited(&self) -> bool {
        self.linked().is_some_and(|sender| sender.budget_bps().is_some())
    }

    /// What frames may take, bits per second with headers, where that is less than is wanted.
    pub fn frames_bps(&self) -> Option<f64> {
        self.linked()?.frames_bps()
    }

    /// There is a link now.
    pub fn begin(&mut self, link: SharedLink) {
        self.link = Some(link);
        self.adjust_to_link();
        self.up_since = Some(clock::now());
        self.heard = None;
        self.say_hello();
    }

    /// Takes what happens to the link.
    pub fn handle_link(&mut self, event: LinkEvent, say: &impl Fn(Event)) {
        let now = clock::now();
        match event {
            LinkEvent::Up(link) => self.begin(link::shared(link)),
            LinkEvent::Replaced(link) => self.link = self.link.take().map(|_| link::shared(link)),
            LinkEvent::Down(why) => {
                self.link = None;
                self.heard = None; // or its silence would be reported, too
                if self.answer == Answer::Unknown {
                    self.answer = Answer::NotThere;
                }
                if self.to.no_wait {
                    return self.fail(Error::Network { peer: self.peer(), why });
                }
                if !self.down.contains(&why) && self.down.len() < REASONS_MAX {
                    say(Event::Waiting { peer: self.peer(), why: why.clone() });
                    self.down.push(why);
                }
            }
            LinkEvent::Failed(error) => self.fail(error),
            LinkEvent::Met(key) => say(Event::Met { peer: self.peer(), key }),
            LinkEvent::Way { via, down } => self.handle_way(via, down, say),
            LinkEvent::Silent | LinkEvent::Heard => {}
            LinkEvent::Packet(bytes) if !self.to.encrypted && mismatch::is_encrypted_only(&bytes) => {
                self.fail(AuthError::ServerIsSecure { peer: self.peer() }.into());
            }
            LinkEvent::Packet(bytes) => {
                if let Some(stream) = &mut self.stream {
                    stream.sender.handle_packet(now, &bytes);
                    if let Some(mut link) = self.link.as_ref().and_then(|link| link.lock().ok()) {
                        link.set_patience(stream.sender.room().unwrap_or_default());
                    }
                }
                self.transmit(); // what it asks for once more
                self.handle_sender_events(now, say);
                self.answer = Answer::Ready;
            }
        }
    }

    /// One of several ways is up, or down; it is tried again all the time, and that it is still down is no news.
    fn handle_way(&mut self, via: Via, down: Option<String>, say: &impl Fn(Event)) {
        let reported = self.ways_down.iter().position(|way| *way == via);
        match (&down, reported) {
            (Some(_), Some(_)) => return,
            (Some(_), None) => self.ways_down.push(via.clone()),
            (None, Some(index)) => _ = self.ways_down.swap_remove(index),
            (None, None) => {}
        }
        say(Event::Way { peer: self.peer(), via, down });
    }

    /// Sends one frame, where there is a link. Where there is none, media time runs on.
    pub fn send(&mut self, now: Instant, frame: &Frame<'_>) {
        if self.link.is_none() {
            return;
        }
        if let Some(stream) = &mut self.stream {
            stream.sender.handle_frame(now, frame);
            self.last_sent = now;
            self.transmit();
        }
    }

    /// Looks at what time has brought.
    pub fn handle_time(&mut self, now: Instant, say: &impl Fn(Event)) {
        if self.up_since.is_some_and(|since| now - since > UNREFUSED) {
            // Receivers that never report are receivers too.
            self.answer = Answer::Ready;
            self.report_streaming(say);
        }
        // A server answers sound: while there is none to send, its silence means nothing.
        if self.heard.is_some_and(|heard| self.last_sent - heard > SILENT) {
            self.heard = None;
            say(Event::ServerSilent { peer: self.peer(), silent: SILENT });
        }
        // In a pause there is nothing else that says that we are still there.
        if let (Some(stream), true) = (&mut self.stream, self.link.is_some()) {
            stream.sender.handle_time(now);
            self.transmit();
        }
    }

    /// How copies are to be coded, where some are to be sent.
    pub fn copies(&self) -> Option<copies::Settings> {
        self.linked()?.copies()
    }

    /// The share of what is sent that is lost, 0 to 1, where repairs and copies bring too little of it back.
    pub fn unprotected(&self) -> f64 {
        self.linked().map_or(0.0, Sender::unprotected)
    }

    pub fn say_goodbye(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.sender.finish();
        }
        self.transmit();
    }

    /// Why it is given up; once.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failed.take()
    }

    pub fn answer(&self) -> Answer {
        self.answer
    }

    pub fn has_link(&self) -> bool {
        self.link.is_some()
    }

    /// What is left of it: the last packets may still be on their way.
    pub fn into_link(self) -> Option<SharedLink> {
        self.link
    }

    pub fn status(&self) -> FeedStatus {
        FeedStatus {
            state: match (&self.link, self.heard) {
                (None, _) => State::Waiting,
                (Some(_), None) => State::Sending,
                (Some(_), Some(_)) => State::Heard,
            },
            peer: self.peer(),
            transport: self.look(Link::transport),
            encrypted: self.look(Link::is_encrypted).unwrap_or_default(),
            stats: self.stats(),
            packets_dropped: self.packets_dropped,
            target_bps: self.target_bps,
        }
    }

    pub fn sent(&self) -> Sent {
        Sent { peer: self.peer(), stats: self.stats(), packets_dropped: self.packets_dropped }
    }

    pub fn peer(&self) -> String {
        self.to.peer.clone()
    }

    fn look<T>(&self, at: impl Fn(&Link) -> T) -> Option<T> {
        Some(at(&*self.link.as_ref()?.lock().ok()?))
    }

    fn fail(&mut self, error: Error) {
        self.link = None;
        self.failed = Some(error);
    }

    /// What a connection carries is not lost, but late; sending it twice would make it later.
    fn adjust_to_link(&mut self) {
        let link = self.look(|link| (link.transport(), link.overhead_bytes()));
        let (Some(stream), Some((transport, overhead_bytes))) = (&mut self.stream, link) else { return };
        stream.sender.set_overhead(overhead_bytes);
        stream.sender.set_redundancy(match transport {
            Transport::Udp => self.media.redundancy,
            Transport::Tcp => Redundancy::Off,
        });
    }

    fn handle_sender_events(&mut self, now: Instant, say: &impl Fn(Event)) {
        match self.stream.as_mut().and_then(|stream| stream.sender.poll_event()) {
            Some(sender::Event::Heard) => {
                self.heard = Some(now);
                self.report_streaming(say);
            }
            Some(sender::Event::Ended) => say(Event::ServerEnded { peer: self.peer() }),
            None => {}
        }
    }

    /// Says once for each link that sound gets through, as far as can be known.
    fn report_streaming(&mut self, say: &impl Fn(Event)) {
        let link = self.look(|link| (link.transport(), link.is_encrypted()));
        if let (Some(stream), Some((transport, encrypted))) = (&self.stream, link)
            && self.up_since.take().is_some()
        {
            self.down.clear();
            say(Event::Streaming { peer: self.peer(), transport, encrypted, format: stream.description.clone() });
        }
    }

    /// Asks over plain UDP whether anybody is there, before a source that can wait is started: an
    /// empty report, which our server answers with its own. Bare PCM has no such question, and on
    /// other links somebody has answered already.
    fn say_hello(&mut self) {
        let is_plain_udp = self.look(|link| matches!(link, Link::Udp { .. })).unwrap_or_default();
        match self.media.wire {
            WireFormat::Rtp { .. } if is_plain_udp && self.stream.is_none() => {
                let cname = crate::random::cname();
                let ssrc = crate::random::u64() as u32;
                Outgoing { ssrc, cname: &cname, ..Outgoing::default() }.write(&mut self.packet);
                send(self.link.as_ref(), &self.packet, &mut self.packets_dropped);
            }
            _ => self.answer = Answer::Ready,
        }
    }

    fn transmit(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        while stream.sender.poll_transmit(clock::now(), &mut self.packet) {
            send(self.link.as_ref(), &self.packet, &mut self.packets_dropped);
        }
    }

    fn stats(&self) -> sender::Stats {
        self.stream.as_ref().map(|stream| stream.sender.stats()).unwrap_or_default().after(self.before)
    }
}

fn send(link: Option<&SharedLink>, packet: &[u8], dropped: &mut u64) {
    let link = link.and_then(|link| link.lock().ok());
    match link.map(|mut link| link.send(packet)) {
        Some(Ok(link::Sent::Dropped)) => *dropped += 1,
        // The reading side says that the link is down, and why. But each refusal of a datagram is
        // told to one side only, so the link stays until the reading side has heard of one, too.
        Some(Ok(link::Sent::Sent) | Err(_)) | None => {}
    }
}
