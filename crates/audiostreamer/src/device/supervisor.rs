//! Keeps a sound card going: opens it, watches it, opens it again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use audiostreamer_core::{Instant, duration_of};

use super::card::Place;
use super::card_error::CardError;
use super::card_thread::{CardThread, Event};
use super::host::Direction;
use super::running::Running;
use super::spec::DeviceSpec;
use super::vitals::{Callback, Vitals, Xruns};
use super::{Capture, Notice, Render, Shape, Wanted};
use crate::clock;

/// Captures from a sound card until the returned [`Running`] is dropped.
///
/// Returns when the first sound has come. Overruns are added to `xruns`; everything else that
/// happens is told to `notify`, on a thread of its own. `make` is called each time that the card
/// has been opened, before its first sound.
///
/// # Errors
///
/// When the card can't be opened for the first time. Later it is tried again for as long as it
/// takes.
pub fn start_source(
    spec: &DeviceSpec,
    wanted: Wanted,
    xruns: Xruns,
    mut make: impl FnMut(&Shape) -> Capture + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, CardError> {
    let make = move |shape: &Shape| Callback::Capture(make(shape));
    start(spec, Direction::Input, wanted, xruns, make, notify)
}

/// Plays on a sound card until the returned [`Running`] is dropped. All else is as with
/// [`start_source`].
///
/// # Errors
///
/// As with [`start_source`].
pub fn start_sink(
    spec: &DeviceSpec,
    wanted: Wanted,
    xruns: Xruns,
    mut make: impl FnMut(&Shape) -> Render + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, CardError> {
    let make = move |shape: &Shape| Callback::Render(make(shape));
    start(spec, Direction::Output, wanted, xruns, make, notify)
}

fn start(
    spec: &DeviceSpec,
    direction: Direction,
    wanted: Wanted,
    xruns: Xruns,
    make: impl FnMut(&Shape) -> Callback + Send + 'static,
    notify: impl Fn(Notice) + Send + 'static,
) -> Result<Running, CardError> {
    let stop = Arc::new(AtomicBool::new(false));
    let supervisor = Supervisor {
        place: Place::Meant(spec.clone()),
        direction,
        wanted,
        xruns,
        make,
        notify,
        stop: stop.clone(),
        stuck: None,
    };
    let (opened, first) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(format!("{direction} watch"))
        .spawn(move || supervisor.run(&opened))
        .map_err(CardError::Thread)?;
    match first.recv() {
        Ok(Ok(())) => Ok(Running::new(stop, vec![thread])),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(CardError::Thread(io::Error::other("it has panicked"))),
    }
}

struct Supervisor<M, N> {
    place: Place,
    direction: Direction,
    wanted: Wanted,
    xruns: Xruns,
    make: M,
    notify: N,
    stop: Arc<AtomicBool>,
    /// A thread that does not come back from its sound system, and since when.
    stuck: Option<(JoinHandle<()>, Instant)>,
}

/// A card that moves sound.
struct Session {
    card: CardThread,
    name: String,
    shape: Shape,
    since: Instant,
}

/// Why a session is over.
enum Over {
    /// Nobody wants it any more.
    Stopped,
    /// It may come back.
    Lost(String),
    /// It is no sound card.
    Useless(CardError),
}

impl<M, N> Supervisor<M, N>
where
    M: FnMut(&Shape) -> Callback,
    N: Fn(Notice),
{
    fn run(mut self, opened: &Sender<Result<(), CardError>>) {
        let first = self.open();
        let (result, session) = match first {
            Ok(session) => (Ok(()), Some(session)),
            Err(error) => (Err(error), None),
        };
        let _ = opened.send(result); // `start` waits for it
        let mut backoff = Backoff::default();
        let mut next = session;
        while let Some(session) = next {
            let over = self.watch(&session);
            let lasted = clock::now() - session.since;
            self.close(session.card);
            match over {
                Over::Stopped => return,
                Over::Useless(error) => return (self.notify)(Notice::Failed(error.into())),
                Over::Lost(why) => (self.notify)(Notice::Lost { name: session.name, why }),
            }
            backoff.after(lasted);
            next = self.reopen(&mut backoff);
        }
    }

    /// Returns when the session is over.
    fn watch(&self, session: &Session) -> Over {
        loop {
            if let Some(Event::Ended(why)) = session.card.next_event(TICK) {
                return Over::Lost(why);
            }
            if self.is_stopped() {
                return Over::Stopped;
            }
            if session.card.vitals().is_too_fast(session.shape.rate) {
                return Over::Useless(self.too_fast(&session.name));
            }
            let now = clock::now();
            let quiet = now - session.card.vitals().last_beat().unwrap_or(session.since);
            let period = duration_of(session.card.vitals().longest(), session.shape.rate);
            if quiet > patience(now - session.since, self.place.to_start(), period) {
                let why = format!("it has moved no sound for {} ms", quiet.as_millis());
                return Over::Lost(why);
            }
        }
    }

    /// Opens the card again and again until it works; `None` when stopped.
    fn reopen(&mut self, backoff: &mut Backoff) -> Option<Session> {
        loop {
            self.rest(backoff.next());
            if self.is_stopped() {
                return None;
            }
            match self.open() {
                Ok(session) => return Some(session),
                Err(error) => tracing::debug!("can't open the card again: {error}"),
            }
        }
    }

    /// Opens the card and waits for its first sound.
    fn open(&mut self) -> Result<Session, CardError> {
        self.wait_for_the_stuck()?;
        let vitals = Vitals::new(self.xruns.clone());
        let card = CardThread::spawn(self.place.clone(), self.direction, self.wanted, vitals)?;
        match self.bring_up(&card) {
            Ok((name, shape)) => Ok(Session { card, name, shape, since: clock::now() }),
            Err(error) => {
                self.close(card);
                Err(error)
            }
        }
    }

    fn bring_up(&mut self, card: &CardThread) -> Result<(String, Shape), CardError> {
        let (name, shape) = self.await_open(card)?;
        card.start((self.make)(&shape));
        self.await_sound(card, &name, &shape)?;
        (self.notify)(Notice::Opened { name: name.clone(), shape });
        Ok((name, shape))
    }

    fn await_open(&mut self, card: &CardThread) -> Result<(String, Shape), CardError> {
        let deadline = clock::now() + TO_OPEN;
        while clock::now() < deadline && !self.is_stopped() {
            match card.next_event(TICK) {
                Some(Event::Opened { target, name, shape }) => {
                    self.place = Place::Found(target);
                    return Ok((name, shape));
                }
                Some(Event::Refused(error)) => return Err(error),
                Some(Event::Ended(why)) => return Err(self.refused(why)),
                None => {}
            }
        }
        Err(self.hangs())
    }

    /// Waits until sound moves, and a moment more, in which what is no sound card shows itself.
    fn await_sound(&self, card: &CardThread, name: &str, shape: &Shape) -> Result<(), CardError> {
        let deadline = clock::now() + self.place.to_start();
        let mut moving_since = None;
        while clock::now() < deadline && !self.is_stopped() {
            if let Some(Event::Ended(why)) = card.next_event(MOMENT) {
                let name = name.into();
                return Err(CardError::Open { name, why });
            }
            if card.vitals().is_too_fast(shape.rate) {
                return Err(self.too_fast(name));
            }
            moving_since = moving_since.or(card.vitals().last_beat());
            if moving_since.is_some_and(|since| clock::now() > since + TO_SETTLE) {
                return Ok(());
            }
        }
        Err(CardError::Still { name: name.into() })
    }

    /// Ends a stream, and keeps its thread in mind if it hangs.
    fn close(&mut self, card: CardThread) {
        let thread = card.close(TO_CLOSE);
        self.stuck = thread.map(|thread| (thread, clock::now()));
    }

    /// One thread may hang in a sound system; a second would only hang as well. A system that
    /// never lets go is tried again all the same, but rarely.
    fn wait_for_the_stuck(&mut self) -> Result<(), CardError> {
        match &self.stuck {
            Some((thread, since)) if !thread.is_finished() && clock::now() < *since + TO_GIVE_UP => Err(self.hangs()),
            _ => {
                self.stuck = None;
                Ok(())
            }
        }
    }

    fn rest(&self, pause: Duration) {
        let end = clock::now() + pause;
        while clock::now() < end && !self.is_stopped() {
            thread::park_timeout(end - clock::now());
        }
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn hangs(&self) -> CardError {
        let name = self.place.to_string();
        CardError::Hangs { name }
    }

    fn too_fast(&self, name: &str) -> CardError {
        let (name, direction) = (name.into(), self.direction);
        CardError::TooFast { name, direction }
    }

    fn refused(&self, why: String) -> CardError {
        let name = self.place.to_string();
        CardError::Open { name, why }
    }
}

/// How long a card may move no sound that has run for `age`, may take `to_start`, and has blocks as
/// long as `period`.
fn patience(age: Duration, to_start: Duration, period: Duration) -> Duration {
    if age < to_start {
        return to_start;
    }
    QUIET.max(4 * period)
}

/// How long to wait before the next attempt: twice as long each time, until the card has held.
#[derive(Debug, Default)]
struct Backoff {
    failures: u32,
    /// Cards in a row that were opened, and lost at once.
    stillborn: u32,
}

impl Backoff {
    fn after(&mut self, lasted: Duration) {
        if lasted >= STABLE {
            *self = Self::default();
        } else {
            self.stillborn += 1;
        }
    }

    fn next(&mut self) -> Duration {
        let pause = SHORTEST_PAUSE * 2_u32.saturating_pow(self.failures);
        self.failures = (self.failures + 1).min(16);
        pause.min(if self.stillborn > 1 { LONGEST_PAUSE } else { LONGEST_ABSENCE })
    }
}

/// How often a card is looked at, and how soon it notices that it is no longer wanted.
const TICK: Duration = Duration::from_millis(50);

const MOMENT: Duration = Duration::from_millis(5);

/// No card stops that long by itself.
const QUIET: Duration = Duration::from_millis(200);

/// A Bluetooth speaker takes seconds to connect.
const TO_OPEN: Duration = Duration::from_secs(6);

/// ALSA's `null` moves seconds of sound in this time, even on a slow machine.
const TO_SETTLE: Duration = Duration::from_millis(50);

/// Less than [`Running`] waits for its threads.
const TO_CLOSE: Duration = Duration::from_millis(200);

const TO_GIVE_UP: Duration = Duration::from_secs(10);

/// A stream that holds that long was not stillborn.
const STABLE: Duration = Duration::from_secs(2);

const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
/// To ask whether a device is there again costs less than a millisecond, and a listener waits.
const LONGEST_ABSENCE: Duration = Duration::from_millis(250);
/// One that is opened and lost again and again costs more, and a line in the log each time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_quarter_of_a_second_until_the_card_has_held() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..5).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 250, 250]);
        backoff.after(STABLE);
        assert_eq!(backoff.next(), SHORTEST_PAUSE);
    }

    #[test]
    fn a_card_that_is_lost_at_once_again_and_again_is_opened_once_a_second() {
        let mut backoff = Backoff { failures: 10, stillborn: 0 };
        backoff.after(Duration::from_millis(100));
        assert_eq!(backoff.next(), LONGEST_ABSENCE, "once: as while a sound server starts");
        backoff.after(Duration::from_millis(100));
        assert_eq!(backoff.next(), LONGEST_PAUSE);
        backoff.after(STABLE);
        assert_eq!(backoff.next(), SHORTEST_PAUSE);
    }

    #[test]
    fn a_card_may_be_quiet_for_four_of_its_periods() {
        let (settled, to_start) = (Duration::from_secs(60), Duration::from_secs(4));
        let short = patience(settled, to_start, Duration::from_millis(5));
        assert_eq!(short, Duration::from_millis(200));
        let long = patience(settled, to_start, Duration::from_millis(500));
        assert_eq!(long, Duration::from_secs(2));
    }

    #[test]
    fn a_card_that_has_just_been_opened_may_hesitate() {
        let to_start = Duration::from_secs(4);
        let young = patience(Duration::from_secs(1), to_start, Duration::from_millis(5));
        assert_eq!(young, to_start);
    }
}
