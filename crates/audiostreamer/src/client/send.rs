//! The send thread: captured blocks in, packets out. Each frame is coded once for all feeds that can take it.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use audiostreamer_core::rungs::{Rung, Rungs};
use audiostreamer_core::{Fallback, Format, Instant};
use tokio::sync::mpsc::UnboundedSender;

use super::coding::{UNLIMITED, code_for, fall_back, reach};
use super::feed::{Answer, Feed, To};
use super::media::{below_ceiling, packetizer_config, sender_config};
use super::shaping::Shaping;
use super::silence::Silence;
use super::status::{Counted, Status};
use super::voice::Cleaner;
use super::{Config, mapped};
use crate::capture::{Block, Captured};
use crate::clock;
use crate::device::{Notice, Shape, Xruns, priority};
use crate::error::Error;
use crate::link::{LinkEvent, SharedLink};
use crate::recording::{Packet, PacketRecorder, Recorders};
use crate::report::{Event, Report};
use crate::volume::Volume;

/// What the send thread is told, besides captured blocks.
pub enum SendEvent {
    /// A device was opened: from now on blocks come from here.
    Captured(Captured),
    Source(Notice),
    /// Somebody is to hear, from now on; the number is what that feed is called.
    Add(usize, To),
    /// That one is to hear no more, and is told so.
    Remove(usize),
    /// It has a link now.
    Up(usize, SharedLink),
    /// What else happens to its link.
    Link(usize, LinkEvent),
    Volume(Volume),
    /// Say good-bye and end.
    Finish,
}

/// What the send thread says to the runtime.
pub enum FromSend {
    /// There is somebody who hears, as far as can be known, and nobody else is still being tried.
    Ready,
    /// The source has come to its end, or there is no going on.
    Ended(Result<(), Error>),
}

/// How often a status is reported.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// Runs until it is told to finish. What it leaves is what was counted, and the links, over which
/// the last packets may still be on their way.
pub fn run(
    config: &Config,
    inbox: &Receiver<SendEvent>,
    report: impl Fn(Report),
    tell: &UnboundedSender<FromSend>,
    (xruns, recorders): (Xruns, Option<Recorders>),
) -> (Counted, Vec<SharedLink>) {
    if !priority::raise_for_audio() {
        report(Report::Event(Event::NoRealTime));
    }
    let mut thread = SendThread::new(config, report, tell, (xruns, recorders));
    loop {
        match thread.turn(inbox) {
            Ok(Turn::Again) => std::thread::park_timeout(STATUS_INTERVAL),
            Ok(Turn::Finished) => break,
            Ok(Turn::Ended) => drop(tell.send(FromSend::Ended(Ok(())))),
            Err(error) => drop(tell.send(FromSend::Ended(Err(error)))),
        }
    }
    thread.feeds.iter_mut().for_each(|(_, feed)| feed.say_goodbye());
    (thread.counted(), thread.feeds.into_iter().filter_map(|(_, feed)| feed.into_link()).collect())
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
    recorders: Option<Recorders>,
    captured: Option<Captured>,
    /// As last told.
    volume: Volume,
    stream: Option<Stream>,
    /// In the order in which they were added.
    feeds: Vec<(usize, Feed)>,
    counted: Counted,
    send_delay: Duration,
    next_status: Instant,
    started: Option<Instant>,
    last_sent: Instant,
}

/// What belongs to one format: a source that comes back with another shape gets a new one.
struct Stream {
    /// For who reads it.
    description: String,
    /// Of what is captured, with its channels mapped.
    shape: Shape,
    cleaner: Option<Cleaner>,
    shaping: Shaping,
    silence: Option<Silence>,
    rungs: Rungs,
    /// Of the first rung, in this format.
    recorder: Option<PacketRecorder>,
    recorded: Format,
}

impl Stream {
    /// What those are sent whom nothing limits.
    fn format(&self) -> Format {
        self.rungs.first().wish.format
    }

    /// Takes a captured block: what is to be heard of it waits in the packetizers.
    fn take(&mut self, block: &Block, samples: &[f32]) {
        let Self { cleaner, shaping, silence, rungs, shape, .. } = self;
        rungs.skip(block.lost_frames);
        let mut pass = |captured, sound: &[f32]| {
            let sound = shaping.apply(sound);
            let frames = sound.len() / usize::from(shape.channels);
            match silence.as_mut().is_some_and(|silence| silence.covers(frames, sound)) {
                true => rungs.pause(frames as u64),
                false => rungs.push(captured, sound),
            }
        };
        let Some(cleaner) = cleaner else { return pass(block.captured, samples) };
        cleaner.push(block.captured, samples);
        while let Some((captured, clean)) = cleaner.poll() {
            pass(captured, clean);
        }
    }
}

impl<'a, R: Fn(Report)> SendThread<'a, R> {
    fn new(
        config: &'a Config,
        report: R,
        tell: &'a UnboundedSender<FromSend>,
        (xruns, recorders): (Xruns, Option<Recorders>),
    ) -> Self {
        let now = clock::now();
        Self {
            config,
            report,
            tell,
            xruns,
            recorders,
            captured: None,
            volume: config.volume,
            stream: None,
            feeds: Vec::new(),
            counted: Counted::default(),
            send_delay: Duration::ZERO,
            next_status: now,
            started: None,
            last_sent: now,
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
                SendEvent::Add(id, to) => self.add(id, to)?,
                SendEvent::Remove(id) => self.remove(id),
                SendEvent::Up(id, link) => {
                    if !self.feeds.iter().any(|(_, feed)| feed.has_link()) {
                        self.discard_captured(); // captured while there was no link: the past
                    }
                    self.feeds
                        .iter_mut()
                        .filter(|(known, _)| *known == id)
                        .for_each(|(_, feed)| feed.begin(link.clone()));
                    self.adapt()?;
                    self.tell_ready();
                }
                SendEvent::Link(id, event) => self.handle_link(id, event)?,
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
        self.handle_time();
        Ok(turn)
    }

    fn open(&mut self, captured: Captured) -> Result<(), Error> {
        let map = &self.config.map;
        let shaping = Shaping::new(map, &captured.shape, self.config.agc, self.volume)?;
        let cleaning = &self.config.cleaning;
        let cleaner = cleaning.is_wanted().then(|| Cleaner::new(captured.shape, cleaning.clone()));
        let silence = self.config.silence.map(|threshold| Silence::new(threshold, &captured.shape));
        let shape = mapped(map, &captured.shape);
        let media = &below_ceiling(&self.config.media, &shape, self.config.payload_max())?;
        let wish = packetizer_config(media, &shape, self.config.payload_max());
        let format = wish.format;
        let mut rungs = Rungs::new(wish, media.falls_back.then(|| Fallback::new(clock::now())))?;
        let frame = audiostreamer_core::duration_of(wish.frames as u64, format.rate);
        let description = format!("{format}, frames of {} ms", frame.as_micros() as f64 / 1e3);
        for (id, feed) in &mut self.feeds {
            feed.open(sender_config(media, format)?, description.clone());
            rungs.add(*id);
        }
        let recorder = packet_recorder(self.recorders.as_ref(), format);
        let recorded = format;
        self.stream = Some(Stream { description, shape, cleaner, shaping, silence, rungs, recorder, recorded });
        self.adapt()?;
        self.captured = Some(captured);
        Ok(())
    }

    fn add(&mut self, id: usize, to: To) -> Result<(), Error> {
        let media = &self.config.media;
        let mut feed = Feed::new(media.clone(), to);
        if let Some(stream) = &mut self.stream {
            feed.open(sender_config(media, stream.format())?, stream.description.clone());
            stream.rungs.add(id);
        }
        self.feeds.push((id, feed));
        Ok(())
    }

    fn remove(&mut self, id: usize) {
        let Some(index) = self.feeds.iter().position(|(known, _)| *known == id) else { return };
        let (_, mut feed) = self.feeds.remove(index);
        feed.say_goodbye();
        self.forget(id, &feed);
    }

    /// Keeps of a feed that has gone what it has sent.
    fn forget(&mut self, id: usize, feed: &Feed) {
        self.counted.destinations.push(feed.sent());
        self.stream.iter_mut().for_each(|stream| stream.rungs.remove(id));
    }

    fn handle_notice(&mut self, notice: Notice) -> Result<Turn, Error> {
        match notice {
            Notice::Opened { name, shape } => self.say(Event::Capturing { name, shape }),
            Notice::Lost { name, why } => self.say(Event::DeviceLost { name, why }),
            Notice::Gap(gap) => self.say(Event::Gap(gap)),
            Notice::Ended => return Ok(Turn::Ended),
            Notice::Failed(error) => return Err(error.into()),
        }
        Ok(Turn::Again)
    }

    fn handle_link(&mut self, id: usize, event: LinkEvent) -> Result<(), Error> {
        let Some(index) = self.feeds.iter().position(|(known, _)| *known == id) else { return Ok(()) };
        let feed = &mut self.feeds[index].1;
        feed.handle_link(event, &|event| (self.report)(Report::Event(event)));
        match feed.take_failure() {
            Some(error) => self.give_up(index, error),
            None => {
                self.tell_ready();
                self.adapt()
            }
        }
    }

    /// Codes for each path what it carries, and as little as may be twice.
    fn adapt(&mut self) -> Result<(), Error> {
        let Self { stream: Some(stream), feeds, config, .. } = self else { return Ok(()) };
        stream.rungs.arrange(|id, rung| feed_of(feeds, id).map_or(UNLIMITED, |feed| reach(feed, rung)));
        let mut news = Vec::new();
        for rung in stream.rungs.iter_mut() {
            let mut feeds: Vec<&mut Feed> = members(feeds, rung).collect();
            news.extend(fall_back(config, &stream.shape, rung, &mut feeds)?);
            code_for(rung, &mut feeds)?;
        }
        if stream.recorded != stream.format() {
            stream.recorded = stream.format();
            stream.recorder = packet_recorder(self.recorders.as_ref(), stream.recorded);
        }
        news.into_iter().for_each(|event| self.say(event));
        Ok(())
    }

    /// Goes on with the others; where there are none left, the error is that of the whole.
    fn give_up(&mut self, index: usize, error: Error) -> Result<(), Error> {
        let (id, feed) = self.feeds.remove(index);
        self.forget(id, &feed);
        if self.feeds.is_empty() {
            return Err(error);
        }
        self.say(Event::GivenUp { peer: feed.peer(), why: error.to_string() });
        self.tell_ready();
        Ok(())
    }

    /// A source that can wait waits until all have answered who are there.
    fn tell_ready(&self) {
        let answers = || self.feeds.iter().map(|(_, feed)| feed.answer());
        if answers().any(|answer| answer == Answer::Ready) && answers().all(|answer| answer != Answer::Unknown) {
            let _ = self.tell.send(FromSend::Ready);
        }
    }

    fn send_captured(&mut self) -> Result<(), Error> {
        while let Some((block, samples)) = self.captured.as_mut().and_then(Captured::next_block) {
            let Some(stream) = &mut self.stream else { break };
            self.counted.frames_lost += block.lost_frames;
            stream.take(&block, samples);
            self.send_frames()?;
        }
        Ok(())
    }

    /// Sends what fills no frame.
    fn send_rest(&mut self) -> Result<(), Error> {
        if let Some(stream) = &mut self.stream {
            stream.rungs.finish();
        }
        self.send_frames()
    }

    fn send_frames(&mut self) -> Result<(), Error> {
        let Self { stream: Some(stream), feeds, .. } = self else { return Ok(()) };
        let mut recorder = stream.recorder.as_ref();
        for rung in stream.rungs.iter_mut() {
            // Coded once, for all who need copies as for the one who has room for the best.
            let copies = members(feeds, rung).filter_map(|feed| feed.copies());
            let copies = copies.max_by_key(|copies| copies.opus.bitrate_bps);
            let unprotected = members(feeds, rung).map(|feed| feed.unprotected()).fold(0.0, f64::max);
            rung.packetizer.set_copies(copies)?;
            rung.packetizer.set_loss(unprotected)?;
            let recorder = recorder.take(); // the first rung's
            let mut feeds: Vec<&mut Feed> = members(feeds, rung).filter(|feed| feed.has_link()).collect();
            while let Some(frame) = rung.packetizer.poll()? {
                if let Some(recorder) = recorder {
                    let (time, frames, payload) = (frame.time, frame.frames as u32, frame.payload.to_vec());
                    recorder.record(Packet { time, frames, at: clock::now(), payload });
                }
                let now = clock::now();
                if !feeds.is_empty() {
                    self.send_delay = now - frame.captured;
                    self.started.get_or_insert(now);
                    self.last_sent = now;
                }
                feeds.iter_mut().for_each(|feed| feed.send(now, &frame));
            }
        }
        Ok(())
    }

    /// Takes captured blocks without sending them; media time runs on.
    fn discard_captured(&mut self) {
        while let Some((block, _)) = self.captured.as_mut().and_then(Captured::next_block) {
            if let Some(stream) = &mut self.stream {
                stream.rungs.skip(block.lost_frames + block.frames as u64);
            }
        }
    }

    fn handle_time(&mut self) {
        let now = clock::now();
        if now < self.next_status {
            return;
        }
        self.next_status = now + STATUS_INTERVAL;
        for (_, feed) in &mut self.feeds {
            feed.handle_time(now, &|event| (self.report)(Report::Event(event)));
        }
        self.tell_ready();
        let peak = self.stream.as_mut().map_or(0.0, |stream| stream.rungs.take_peak());
        (self.report)(Report::Client(Status {
            format: self.stream.as_ref().map(Stream::format),
            volume: self.volume,
            peak,
            xruns: self.xruns.count(),
            send_delay: self.send_delay,
            destinations: self.feeds.iter().map(|(_, feed)| feed.status()).collect(),
            talkback: None,
        }));
    }

    fn say(&self, event: Event) {
        (self.report)(Report::Event(event));
    }

    fn counted(&self) -> Counted {
        let mut counted = self.counted.clone();
        counted.duration = self.started.map_or(Duration::ZERO, |started| self.last_sent - started);
        counted.xruns = self.xruns.count();
        counted.destinations.extend(self.feeds.iter().map(|(_, feed)| feed.sent()));
        counted
    }
}

fn feed_of(feeds: &[(usize, Feed)], id: usize) -> Option<&Feed> {
    feeds.iter().find(|(known, _)| *known == id).map(|(_, feed)| feed)
}

/// The feeds that stand on a rung.
fn members<'f>(feeds: &'f mut [(usize, Feed)], rung: &Rung) -> impl Iterator<Item = &'f mut Feed> {
    feeds.iter_mut().filter(|(id, _)| rung.has(*id)).map(|(_, feed)| feed)
}

fn packet_recorder(recorders: Option<&Recorders>, format: Format) -> Option<PacketRecorder> {
    recorders.and_then(|recorders| recorders.of_packets(format, None))
}
