//! How the rungs of a source are coded: as the paths of those allow that stand on them.

use audiostreamer_core::coding::Wish;
use audiostreamer_core::rungs::{Reach, Rung};
use audiostreamer_core::{Codec, packetizer};

use super::Config;
use super::feed::Feed;
use super::media::{packetizer_config, sender_config};
use crate::clock;
use crate::device::Shape;
use crate::error::Error;
use crate::report::Event;

/// Where nothing is known of a path.
pub const UNLIMITED: Reach = Reach { limited: false, coding: None };

fn wish(feed: &Feed, rung: &Rung) -> Wish {
    let packetizer::Config { opus, frames, .. } = rung.wish;
    Wish { opus, frames, overhead_bytes: feed.overhead_bytes() }
}

/// What the path of a feed carries of what its rung is.
pub fn reach(feed: &Feed, rung: &Rung) -> Reach {
    let wish = wish(feed, rung);
    match rung.packetizer.coding().map(|now| wish.coding(now, feed.frames_bps())) {
        Some(coding) => Reach { limited: coding != wish.full(), coding: Some(coding) },
        None => Reach { limited: rung.fallback.is_some() && feed.is_limited(), coding: None },
    }
}

/// Codes as the narrowest path of a rung allows.
pub fn code_for(rung: &mut Rung, feeds: &mut [&mut Feed]) -> Result<(), Error> {
    for feed in &mut *feeds {
        feed.set_full_bps(wish(feed, rung).full_bps(rung.wish.format));
    }
    let codings = feeds.iter().filter_map(|feed| reach(feed, rung).coding);
    if let Some(narrowest) = codings.min_by_key(|coding| coding.bitrate_bps) {
        rung.packetizer.set_coding(narrowest)?;
    }
    let target = rung.packetizer.target_bps();
    feeds.iter_mut().for_each(|feed| feed.set_target_bps(target));
    Ok(())
}

/// Sends lossless as long as the paths of a rung carry that, where the user leaves it to us; what there is to
/// say of it.
pub fn fall_back(
    config: &Config,
    shape: &Shape,
    rung: &mut Rung,
    feeds: &mut [&mut Feed],
) -> Result<Option<Event>, Error> {
    let Some(fallback) = &mut rung.fallback else { return Ok(None) };
    let limited = feeds.iter().any(|feed| feed.is_limited());
    let lossless = fallback.handle(clock::now(), limited);
    if lossless == (rung.wish.format.codec != Codec::Opus) {
        return Ok(None);
    }
    let media = if lossless { config.media.clone() } else { config.media.coded() };
    rung.wish = packetizer_config(&media, shape, config.payload_max());
    rung.packetizer.set_format(rung.wish.format, rung.wish.frames)?;
    for feed in feeds.iter_mut() {
        feed.set_format(&sender_config(&media, rung.wish.format)?);
    }
    let peers = feeds.iter().map(|feed| feed.peer()).collect();
    Ok(Some(Event::Recoded { peers, format: rung.wish.format, lossless }))
}
