//! The one source of randomness: the operating system's.

use std::hash::{BuildHasher, RandomState};

/// A random number, different at each call and each start.
pub fn u64() -> u64 {
    // The standard library's only door to the system's randomness; enough for identifiers.
    RandomState::new().hash_one(std::process::id())
}

/// A canonical name for RTCP that names nobody: RFC 7022 section 4.2, short-term persistent.
pub fn cname() -> String {
    format!("{:016x}", u64())
}
