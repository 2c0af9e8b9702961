//! What must be true, as sentences.

mod adaptation;
mod budget;
mod cards;
mod ceiling;
mod clients;
mod clocks;
mod congestion;
mod fidelity;
mod hostile;
mod live_tcp;
mod loss;
mod network;
mod opus;
mod overruns;
mod replay;
mod smoothness;
mod striping;
mod traces;
mod transports;
mod ways;

use audiostreamer_core::Format;
use audiostreamer_core::packet::Rtp;

use crate::also::Share;
use crate::card::Card;
use crate::client::Client;
use crate::netem::Netem;
use crate::server::Server;
use crate::signal::Signal;
use crate::signal::code::TimeCode;
use crate::tuning::Profile;
use crate::world::{Id, World};
use crate::{millis, paths, seconds};
