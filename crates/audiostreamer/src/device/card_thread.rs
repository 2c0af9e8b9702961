//! The thread that has a card open: whatever blocks or hangs there, hangs alone.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::card::{Place, Target};
use super::card_error::CardError;
use super::host::Direction;
use super::vitals::{Callback, Vitals};
use super::{Shape, Wanted};
use crate::clock;

/// A thread that opens a card, waits for its callback and then lives as long as the stream.
pub(super) struct CardThread {
    vitals: Arc<Vitals>,
    events: Receiver<Event>,
    hand_over: Sender<Callback>,
    thread: JoinHandle<()>,
}

/// What happens to a card.
pub(super) enum Event {
    /// It is open and waits for its callback.
    Opened { target: Target, name: String, shape: Shape },
    /// It could not be opened.
    Refused(CardError),
    /// The sound has ended, for this reason.
    Ended(String),
}

impl CardThread {
    /// Begins to open the device.
    pub(super) fn spawn(place: Place, direction: Direction, wanted: Wanted, vitals: Vitals) -> Result<Self, CardError> {
        let vitals = Arc::new(vitals);
        let (tell, events) = mpsc::channel();
        let (hand_over, callback) = mpsc::channel();
        let seen = vitals.clone();
        let thread = thread::Builder::new()
            .name(format!("{direction} card"))
            .spawn(move || work(&place, direction, &wanted, &seen, &tell, &callback))
            .map_err(CardError::Thread)?;
        Ok(Self { vitals, events, hand_over, thread })
    }

    pub(super) fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// The next event, if there is one in time.
    pub(super) fn next_event(&self, patience: Duration) -> Option<Event> {
        match self.events.recv_timeout(patience) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Event::Ended("its thread has died".into())),
        }
    }

    /// Gives it the callback that it waits for after [`Event::Opened`].
    pub(super) fn start(&self, callback: Callback) {
        let _ = self.hand_over.send(callback); // a thread that has died says so by an event
    }

    /// Ends the stream. Returns the thread if it hangs for longer than `patience`.
    pub(super) fn close(self, patience: Duration) -> Option<JoinHandle<()>> {
        self.vitals.close();
        drop(self.hand_over);
        self.thread.thread().unpark();
        let deadline = clock::now() + patience;
        while !self.thread.is_finished() {
            if clock::now() > deadline {
                return Some(self.thread);
            }
            thread::sleep(Duration::from_millis(1));
        }
        let _ = self.thread.join(); // its panic has been printed
        None
    }
}

/// What the thread does. Nobody listens any more when sending fails, which is no reason to stop
/// earlier than `vitals` says.
fn work(
    place: &Place,
    direction: Direction,
    wanted: &Wanted,
    vitals: &Arc<Vitals>,
    tell: &Sender<Event>,
    callback: &Receiver<Callback>,
) {
    let (target, card) = match place.open(direction, wanted) {
        Ok(opened) => opened,
        Err(error) => {
            let _ = tell.send(Event::Refused(error));
            return;
        }
    };
    let (name, shape) = (card.name(), card.shape());
    let _ = tell.send(Event::Opened { target, name, shape });
    let Ok(callback) = callback.recv() else {
        return; // given up meanwhile
    };
    if let Err(why) = card.run(callback, vitals) {
        let _ = tell.send(Event::Ended(why));
    }
}
