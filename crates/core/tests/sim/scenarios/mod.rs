//! What must be true, as sentences.

mod cards;
mod clients;
mod hostile;
mod network;
mod opus;
mod replay;
mod smoothness;
mod transports;

use audiostreamer_core::Format;
use audiostreamer_core::packet::Rtp;

use crate::card::Card;
use crate::client::Client;
use crate::code::TimeCode;
use crate::netem::Netem;
use crate::server::Server;
use crate::signal::Signal;
use crate::world::{Id, World};
use crate::{millis, paths, seconds};
