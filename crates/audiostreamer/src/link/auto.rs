//! Keeps both ways to a peer and uses the better one; what is better is decided in `chooser`.

use std::pin::Pin;

use audiostreamer_core::Instant;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep;

use super::chooser::{Change, Chooser, Step};
use super::connect::{LinkEvent, Target, keep_connected};
use super::{Link, Transport};
use crate::clock;

type Trying = Pin<Box<dyn Future<Output = ()> + Send>>;

/// As [`keep_connected`], over UDP where that gets through and TCP where it does not. The target's
/// own transport is not looked at.
pub async fn keep_connected_either_way(target: Target, handle: impl Fn(LinkEvent)) {
    let (tell, mut events) = unbounded_channel();
    let start = |transport| try_over(transport, target.clone(), tell.clone());
    let (mut udp, mut tcp): (Trying, Option<Trying>) = (start(Transport::Udp), None);
    let mut chooser = Chooser::new(clock::now());
    let (mut udp_link, mut tcp_link) = (None, None);
    loop {
        let event = tokio::select! {
            biased;
            event = events.recv() => event,
            () = &mut udp => None,
            () = or_never(tcp.as_mut()) => None,
            () = until(chooser.timeout()) => None,
        };
        let now = clock::now();
        let change = match event {
            Some((transport, LinkEvent::Up(link))) => {
                match transport {
                    Transport::Udp => udp_link = Some(link),
                    Transport::Tcp => tcp_link = Some(link),
                }
                Some((transport, Change::Up))
            }
            Some((transport, LinkEvent::Down(why))) => Some((transport, Change::Down(why))),
            Some((transport, LinkEvent::Silent)) => Some((transport, Change::Silent)),
            Some((transport, LinkEvent::Heard)) => Some((transport, Change::Heard)),
            Some((_, LinkEvent::Replaced(link))) => {
                match chooser.uses(Transport::Tcp) {
                    true => handle(LinkEvent::Replaced(link)),
                    false => tcp_link = tcp_link.map(|_| link), // as before, but fresh
                }
                None
            }
            Some((_, event)) => {
                handle(event);
                None
            }
            None => None,
        };
        let mut steps = change.map_or(Vec::new(), |(transport, change)| {
            tracing::debug!(%transport, ?change, "link");
            chooser.handle(now, transport, change)
        });
        steps.extend(chooser.handle_timeout(now));
        for step in steps {
            tracing::debug!(?step, "link");
            match step {
                Step::StartTcp => tcp = Some(start(Transport::Tcp)),
                Step::StopTcp => (tcp, tcp_link) = (None, None),
                Step::RestartUdp => (udp, udp_link) = (start(Transport::Udp), None),
                Step::Use(Transport::Udp) => use_link(udp_link.take(), &handle),
                Step::Use(Transport::Tcp) => use_link(tcp_link.take(), &handle),
                Step::Down(why) => handle(LinkEvent::Down(why)),
            }
        }
    }
}

fn try_over(transport: Transport, target: Target, tell: UnboundedSender<(Transport, LinkEvent)>) -> Trying {
    let target = Target { transport, ..target };
    Box::pin(keep_connected(target, move |event| drop(tell.send((transport, event)))))
}

fn use_link(link: Option<Link>, handle: &impl Fn(LinkEvent)) {
    if let Some(link) = link {
        handle(LinkEvent::Up(link));
    }
}

async fn or_never(trying: Option<&mut Trying>) {
    match trying {
        Some(trying) => trying.await,
        None => std::future::pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep(time - clock::now()).await,
        None => std::future::pending().await,
    }
}
