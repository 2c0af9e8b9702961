//! Every target: what core takes, and what comes to the program.

mod app;
#[path = "lib.rs"]
mod core;

pub use app::{control, door, found, invite, state};
pub use core::*;
