//! Several ways to one peer at the same time: what is sent goes over all of them, so that an outage of one
//! is not heard.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

use super::connect::{LinkEvent, Target, keep_connected};
use super::{Link, Protocol, Sent, Transport, Via, keep_connected_either_way};

/// The sending halves of those ways that are up. What they hold changes while it is in use.
#[derive(Clone)]
pub struct Ways(Arc<[Mutex<Option<Link>>]>);

impl Ways {
    fn new(count: usize) -> Self {
        Self((0..count).map(|_| Mutex::new(None)).collect())
    }

    pub(super) fn send(&self, packet: &[u8]) -> Sent {
        let send = |mut way: MutexGuard<'_, Option<Link>>| {
            way.as_mut().is_some_and(|link| matches!(link.send(packet), Ok(Sent::Sent)))
        };
        match self.all().map(send).filter(|sent| *sent).count() {
            0 => Sent::Dropped,
            _ => Sent::Sent,
        }
    }

    /// UDP, where one of them is.
    pub(super) fn transport(&self) -> Transport {
        match self.all().any(|way| way.as_ref().is_some_and(|link| link.transport() == Transport::Udp)) {
            true => Transport::Udp,
            false => Transport::Tcp,
        }
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.all().find_map(|way| way.as_ref().and_then(Link::address))
    }

    pub(super) async fn finish(self) {
        let links: Vec<Link> = self.all().filter_map(|mut way| way.take()).collect();
        for link in links {
            Box::pin(link.finish()).await;
        }
    }

    pub(super) fn close(&self, code: u32) {
        self.all().filter_map(|way| way.as_ref().map(|link| link.close(code))).for_each(drop);
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Option<Link>>> {
        self.0.iter().map(|way| way.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there was any before.
    fn set(&self, way: usize, link: Option<Link>) -> bool {
        let was_up = self.is_up();
        *self.0[way].lock().unwrap_or_else(PoisonError::into_inner) = link;
        was_up
    }

    fn is_up(&self) -> bool {
        self.all().any(|way| way.is_some())
    }
}

/// Keeps a link over the target's own way and each of `also`, all at the same time. The peer counts as
/// reached while one of them works.
pub async fn keep_connected_every_way(target: Target, also: Vec<Via>, protocol: Protocol, handle: impl Fn(LinkEvent)) {
    let vias: Vec<Via> = [target.via.clone()].into_iter().chain(also).collect();
    let (tell, mut events) = unbounded_channel();
    let mut keeping = JoinSet::new();
    for (way, via) in vias.iter().cloned().enumerate() {
        let (target, tell) = (Target { via, ..target.clone() }, tell.clone());
        keeping.spawn(keep(target, protocol, move |event| drop(tell.send((way, event)))));
    }
    let ways = Ways::new(vias.len());
    while let Some((way, event)) = events.recv().await {
        match event {
            LinkEvent::Up(link) => {
                let was_up = ways.set(way, Some(link));
                handle(LinkEvent::Way { via: vias[way].clone(), down: None });
                if !was_up {
                    handle(LinkEvent::Up(Link::Ways(ways.clone())));
                }
            }
            LinkEvent::Replaced(link) => _ = ways.set(way, Some(link)),
            LinkEvent::Down(why) => {
                ways.set(way, None);
                match ways.is_up() {
                    true => handle(LinkEvent::Way { via: vias[way].clone(), down: Some(why) }),
                    false => handle(LinkEvent::Down(why)),
                }
            }
            // Each of them has to be asked: none speaks for another.
            LinkEvent::Silent | LinkEvent::Heard => {}
            event @ (LinkEvent::Failed(_) | LinkEvent::Packet(_) | LinkEvent::Met(_) | LinkEvent::Way { .. }) => {
                handle(event)
            }
        }
    }
}

/// Keeps one link over the protocol that was asked for.
pub async fn keep(target: Target, protocol: Protocol, handle: impl Fn(LinkEvent)) {
    match protocol {
        Protocol::Auto if target.is_encrypted() => keep_connected_either_way(target, handle).await,
        Protocol::Auto => keep_connected(Target { transport: Transport::Udp, ..target }, handle).await,
        Protocol::Only(transport) => keep_connected(Target { transport, ..target }, handle).await,
    }
}
