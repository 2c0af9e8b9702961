//! How values are written on the command line.

use std::time::Duration;

use crate::link::DEFAULT_PORT;
use crate::trust::Invite;
use crate::volume::{GAIN_MAX, GAIN_MIN};
use audiostreamer_core::playout::Latency;
use audiostreamer_core::sender::Redundancy;

/// A duration with its unit: `20ms`, `2.5ms`, `1s`, `500us`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_number(text);
    let scale = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err("a number with its unit, like 20ms, 2.5ms or 1s".into()),
    };
    match number.parse::<f64>() {
        Ok(value) if (0.0..=3600.0).contains(&(value * scale)) => Ok(Duration::from_secs_f64(value * scale)),
        _ => Err("a number with its unit, like 20ms, 2.5ms or 1s".into()),
    }
}

/// A playout delay: auto, or at most 2 s, which is what the buffer holds at the smallest packets.
pub fn latency(text: &str) -> Result<Latency, String> {
    if text == "auto" {
        return Ok(Latency::Auto);
    }
    let latency = duration(text).map_err(|error| format!("auto, or {error}"))?;
    if latency > Duration::from_secs(2) {
        return Err("at most 2s".into());
    }
    Ok(Latency::Fixed(latency))
}

/// The length of a frame: 1 to 20 ms.
pub fn frame(text: &str) -> Result<Duration, String> {
    let frame = duration(text)?;
    if !(Duration::from_millis(1)..=Duration::from_millis(20)).contains(&frame) {
        return Err("1ms to 20ms; Opus knows 2.5ms, 5ms, 10ms and 20ms".into());
    }
    Ok(frame)
}

/// How long something holds: `30m`, `24h`, `7d`, `90s`, `never`.
pub fn expiry(text: &str) -> Result<super::trust::Validity, String> {
    const MEANT: &str = "a time with its unit, like 30m, 24h or 7d, or never";
    if text == "never" {
        return Ok(super::trust::Validity(None));
    }
    let (number, unit) = split_number(text);
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(MEANT.into()),
    };
    match number.parse::<u32>() {
        Ok(value) => Ok(super::trust::Validity(Some(Duration::from_secs(u64::from(value) * scale)))),
        Err(_) => Err(MEANT.into()),
    }
}

/// How long nobody must have been there: `10s`, `5m`, `1h`.
pub fn idle(text: &str) -> Result<Duration, String> {
    match expiry(text) {
        Ok(super::trust::Validity(Some(time))) if !time.is_zero() => Ok(time),
        _ => Err("a time with its unit, like 10s, 5m or 1h".into()),
    }
}

/// What an invite is called: one word.
pub fn name(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_.@".contains(c);
    match text.chars().all(is_plain) && (1..=64).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("letters, digits and - _ . @, at most 64".into()),
    }
}

/// A gain in dB.
pub fn gain(text: &str) -> Result<f32, String> {
    match text.trim_end_matches("dB").trim_end().parse() {
        Ok(gain) if (GAIN_MIN..=GAIN_MAX).contains(&gain) => Ok(gain),
        _ => Err(format!("decibels, {GAIN_MIN} to {GAIN_MAX}, like -6 or 3.5")),
    }
}

/// Below full scale: `-60dBFS`, `-60dB` or `-60`.
pub fn level(text: &str) -> Result<f32, String> {
    match text.trim_end_matches("FS").trim_end_matches("dB").trim_end().parse() {
        Ok(level) if (LEVEL_MIN..=0.0).contains(&level) => Ok(level),
        _ => Err(format!("decibels below full scale, {LEVEL_MIN} to 0, like -60dBFS")),
    }
}

/// Less than the last bit of 24.
const LEVEL_MIN: f32 = -150.0;

/// Bits per second on the wire: `96k`, `128000`, `0.5M`.
pub fn bitrate(text: &str) -> Result<u32, String> {
    let (number, unit) = split_number(text);
    let scale = match unit {
        "" => 1.0,
        "k" | "K" => 1e3,
        "m" | "M" => 1e6,
        _ => return Err("bits per second, like 96k".into()),
    };
    match number.parse::<f64>() {
        Ok(value) if BITRATES.contains(&(value * scale)) => Ok((value * scale) as u32),
        _ => Err("56k to 100M bits per second with all headers, like 128k".into()),
    }
}

/// With less, headers leave nothing for the sound; with more, it is a mistake.
const BITRATES: std::ops::RangeInclusive<f64> = 56e3..=100e6;

/// Where a server is: `HOST`, `HOST:PORT`, `[IPv6]:PORT` or a bare IPv6 address.
pub fn host_port(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let port = |text: &str| text.parse().ok().filter(|&port: &u16| port != 0).ok_or_else(|| format!("no port: {text}"));
    let (host, port) = if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        match rest.strip_prefix(':') {
            Some(number) => (host, port(number)?),
            None if rest.is_empty() => (host, default_port),
            None => return Err("an IPv6 address with a port is written [::1]:5004".into()),
        }
    } else {
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (text, default_port),
            Some((host, number)) => (host, port(number)?),
            None => (text, default_port),
        }
    };
    if !is_host(host) {
        return Err("a host name or address, like studio.local or 192.168.1.20".into());
    }
    Ok((host.to_owned(), port))
}

/// Whether a text can be a name or an address at all: what can't is a mistake, and no name to look up and
/// to keep.
fn is_host(text: &str) -> bool {
    let is_plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-._".contains(c));
    let is_ipv6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    match text.split_once('%') {
        Some((address, interface)) => is_ipv6(address) && is_plain(interface),
        None => is_plain(text) || is_ipv6(text),
    }
}

/// Whom a client is to reach: a host, or an invite.
pub fn server(text: &str) -> Result<super::ServerArg, String> {
    if Invite::is_meant(text) {
        return text.parse().map(super::ServerArg::Invite);
    }
    host_port(text, DEFAULT_PORT).map(|(host, port)| super::ServerArg::Host(host, port))
}

/// Where to listen: `ADDR:PORT`, `ADDR`, `PORT` or `:PORT`.
pub fn listen(text: &str, default_port: u16) -> Result<std::net::SocketAddr, String> {
    let any = std::net::Ipv6Addr::UNSPECIFIED;
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        return Ok((any, port).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    match text.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>() {
        Ok(address) => Ok((address, default_port).into()),
        Err(_) => Err("ADDR:PORT, like 0.0.0.0:5004 or [::]:5004, or a PORT alone".into()),
    }
}

fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// What is sent more than once: `off`, `auto`, `30%`.
pub fn redundancy(text: &str) -> Result<Redundancy, String> {
    match (text, text.strip_suffix('%').map(str::parse)) {
        ("off", _) => Ok(Redundancy::Off),
        ("auto", _) => Ok(Redundancy::Auto),
        (_, Some(Ok(percent @ 0..=300))) => Ok(Redundancy::AtMost(percent)),
        _ => Err("off, auto, or a share of the stream from 0% to 300%".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("2.5ms"), Ok(Duration::from_micros(2500)));
        assert_eq!(duration("1s"), Ok(Duration::from_secs(1)));
        for bad in ["20", "ms", "-1ms", "1 h", "", "1e9s", "NaNs"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(latency("auto"), Ok(Latency::Auto));
        assert_eq!(latency("12ms"), Ok(Latency::Fixed(Duration::from_millis(12))));
        assert!(latency("3s").is_err());
        assert!(frame("50ms").is_err());
    }

    #[test]
    fn redundancy_is_off_or_auto_or_limited() {
        assert_eq!(redundancy("off"), Ok(Redundancy::Off));
        assert_eq!(redundancy("auto"), Ok(Redundancy::Auto));
        assert_eq!(redundancy("30%"), Ok(Redundancy::AtMost(30)));
        for bad in ["", "30", "-1%", "301%", "on", "%"] {
            assert!(redundancy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_invite_holds_for_a_time_or_for_ever() {
        use super::super::trust::Validity;
        assert_eq!(expiry("90s"), Ok(Validity(Some(Duration::from_secs(90)))));
        assert_eq!(expiry("24h"), Ok(Validity(Some(Duration::from_secs(86_400)))));
        assert_eq!(expiry("never"), Ok(Validity(None)));
        for bad in ["", "24", "1.5h", "-1h", "1w", "99999999999d"] {
            assert!(expiry(bad).is_err(), "{bad}");
        }
        assert!(name("drums.left").is_ok() && name("two words").is_err() && name("").is_err());
    }

    #[test]
    fn gains_are_decibels() {
        assert_eq!((gain("-6"), gain("3.5dB"), gain("+1 dB")), (Ok(-6.0), Ok(3.5), Ok(1.0)));
        for bad in ["", "loud", "100", "-61", "NaN", "inf"] {
            assert!(gain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bitrates_may_be_short() {
        assert_eq!(bitrate("96k"), Ok(96_000));
        assert_eq!(bitrate("128000"), Ok(128_000));
        assert_eq!(bitrate("1.5M"), Ok(1_500_000));
        for bad in ["55k", "1G", "96kb", "k"] {
            assert!(bitrate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_port() {
        let parsed = |text| host_port(text, 5004).unwrap();
        assert_eq!(parsed("studio"), ("studio".into(), 5004));
        assert_eq!(parsed("studio:6000"), ("studio".into(), 6000));
        assert_eq!(parsed("192.168.1.20:1"), ("192.168.1.20".into(), 1));
        assert_eq!(parsed("::1"), ("::1".into(), 5004));
        assert_eq!(parsed("[::1]"), ("::1".into(), 5004));
        assert_eq!(parsed("[::1]:6000"), ("::1".into(), 6000));
        for bad in ["", ":5004", "studio:", "studio:0", "studio:70000", "[::1]6000"] {
            assert!(host_port(bad, 5004).is_err(), "{bad}");
        }
    }

    #[test]
    fn listening_takes_an_address_a_port_or_both() {
        let parsed = |text| listen(text, 5004).map(|address| address.to_string());
        assert_eq!(parsed("6000"), Ok("[::]:6000".into()));
        assert_eq!(parsed(":6000"), Ok("[::]:6000".into()));
        assert_eq!(parsed("127.0.0.1"), Ok("127.0.0.1:5004".into()));
        assert_eq!(parsed("127.0.0.1:0"), Ok("127.0.0.1:0".into()));
        assert_eq!(parsed("[::1]:6000"), Ok("[::1]:6000".into()));
        assert!(parsed("studio").is_err());
    }
}
