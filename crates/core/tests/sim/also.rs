//! A second link of a client, and what of its stream goes over which.

use audiostreamer_core::Instant;

use crate::netem::{Link, RTCP};

/// How a stream is laid over two links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Everything over both, which are ways of their own to the receiver.
    Ways,
    /// Everything over both connections, which are one way to it.
    Both,
    /// Packets take turns.
    Turns,
}

pub struct Also {
    pub link: Link,
    pub share: Share,
    is_its_turn: bool,
}

impl Also {
    pub fn new(link: Link, share: Share) -> Self {
        Self { link, share, is_its_turn: false }
    }

    /// Sends a packet over the first link, this one or both.
    pub fn handle_input(&mut self, now: Instant, first: &mut Link, bytes: &[u8]) {
        if self.share != Share::Turns {
            first.handle_input(now, bytes);
            self.link.handle_input(now, bytes);
            return;
        }
        // Reports have no turn. Before a packet is its length (RFC 4571).
        let is_report = bytes.get(3).is_some_and(|kind| RTCP.contains(kind));
        let link = if self.is_its_turn && !is_report { &mut self.link } else { first };
        link.handle_input(now, bytes);
        self.is_its_turn ^= !is_report;
    }
}
