//! Whether the server's port can be reached over UDP and TCP, and what it means where it can't.

use std::net::SocketAddr;

use super::finding::{Finding, Verdict};
use super::machine::millis;
use crate::link::probe::{self, Answer};
use crate::link::{Protocol, Transport};

/// Tries the addresses one after the other until one answers. What the stream should go by, if any.
pub async fn check(protocol: Protocol, encrypted: bool, addresses: &[SocketAddr]) -> (Vec<Finding>, Option<Transport>) {
    let mut last = (Vec::new(), None);
    for address in addresses.iter().take(ADDRESSES_MAX) {
        let (udp, tcp) = tokio::join!(probe::udp(*address), probe::tcp(*address));
        let judged = judge(*address, &udp, &tcp, protocol, encrypted);
        let found = judged.1.is_some();
        last.0.extend(judged.0);
        last.1 = judged.1;
        if found {
            break;
        }
    }
    last
}

/// Each takes seconds.
const ADDRESSES_MAX: usize = 3;

fn judge(
    address: SocketAddr,
    udp: &Answer,
    tcp: &Answer,
    protocol: Protocol,
    encrypted: bool,
) -> (Vec<Finding>, Option<Transport>) {
    let way = way(udp, tcp, protocol, encrypted);
    let verdict = |answer: &Answer| match (answer, way) {
        (Answer::Open(_), _) => Verdict::Good,
        (Answer::Plain, _) if !encrypted => Verdict::Good,
        (Answer::Plain, None) => Verdict::NoEntry,
        (_, Some(_)) => Verdict::Limits,
        _ => Verdict::NoPath,
    };
    let mut findings =
        vec![over(Transport::Udp, address, udp, verdict(udp)), over(Transport::Tcp, address, tcp, verdict(tcp))];
    if let Some((verdict, says, advice)) = symptoms(address, udp, tcp, encrypted) {
        let verdict = if way.is_some() && verdict == Verdict::NoPath { Verdict::Limits } else { verdict };
        findings.push(Finding::new("firewall", verdict, says).advise(advice));
    }
    if let Answer::Open(path) = udp {
        findings.extend(path.datagram_bytes.map(datagrams));
    }
    (findings, way)
}

/// What the stream goes by: as asked for, else UDP where it gets through.
fn way(udp: &Answer, tcp: &Answer, protocol: Protocol, encrypted: bool) -> Option<Transport> {
    // What is plain answers no handshake; only the stream can tell.
    let is_open =
        |answer: &Answer| matches!(answer, Answer::Open(_) | Answer::Busy) || !encrypted && *answer == Answer::Plain;
    let open = |transport: Transport| match transport {
        Transport::Udp => is_open(udp),
        Transport::Tcp => is_open(tcp),
    };
    match protocol {
        Protocol::Only(transport) => open(transport).then_some(transport),
        Protocol::Auto => [Transport::Udp, Transport::Tcp].into_iter().find(|transport| open(*transport)),
    }
}

fn over(transport: Transport, address: SocketAddr, answer: &Answer, verdict: Verdict) -> Finding {
    let check = match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    };
    let says = match answer {
        Answer::Open(path) => format!("{address} answers; there and back in {}", millis(path.round_trip)),
        Answer::Plain => format!("{address} answers, and does not encrypt"),
        Answer::Busy => format!("{address} answers, and takes no more connections at the moment"),
        Answer::Refused => format!("nobody listens at {address}: it was refused"),
        Answer::Silent => format!("nothing comes back from {address}"),
        Answer::Unsent(why) => format!("nothing can be sent to {address}: {why}"),
    };
    let finding = Finding::new(check, verdict, says).figure("address", address.to_string());
    match answer {
        Answer::Open(path) => finding.figure("roundTrip", path.round_trip.as_secs_f64()),
        _ => finding,
    }
}

/// What the two answers together mean: the verdict, what it looks like, and the way out.
fn symptoms(address: SocketAddr, udp: &Answer, tcp: &Answer, encrypted: bool) -> Option<(Verdict, String, String)> {
    use Answer::{Busy, Open, Plain, Refused, Silent, Unsent};
    let (host, port) = (address.ip(), address.port());
    let (verdict, says, advice) = match (udp, tcp) {
        (Open(_) | Busy, Open(_)) => return None,
        (Plain, _) if !encrypted => return None,
        (Plain, _) => (
            Verdict::NoEntry,
            "the server was started with --plain (or --raw)".to_owned(),
            "start it without, or this client with the same option".to_owned(),
        ),
        (Silent, Open(_)) => (
            Verdict::NoPath,
            "TCP gets through and UDP does not: that is how a firewall or a router looks that lets no UDP pass. Sound \
             goes over TCP, and a lost packet then holds up those behind it"
                .into(),
            format!(
                "let UDP to port {port} through to {host}: on the server `sudo ufw allow {port}/udp` or its like, and in \
                 the router a forwarding for UDP as well as TCP"
            ),
        ),
        (Refused, Open(_)) => (
            Verdict::NoPath,
            "the server listens to TCP only, or a firewall refuses UDP".into(),
            format!("start it without --protocol tcp, or let UDP to port {port} through"),
        ),
        (Open(_) | Busy, _) => (
            Verdict::Limits,
            "UDP gets through and TCP does not: there is no way round where UDP fails one day".into(),
            format!("start the server without --protocol udp, or let TCP to port {port} through"),
        ),
        (Refused, _) | (_, Refused) => (
            Verdict::NoPath,
            "the machine is there, and nobody listens at that port".into(),
            format!("start `audiostreamer server` there, or name its port: HOST:PORT (it is {port} now)"),
        ),
        (Unsent(_), Unsent(_)) => (
            Verdict::NoPath,
            "this machine knows no way to that address".into(),
            "is the network connected, and the address right? `ip route get` with the address says which way it would \
             take"
                .into(),
        ),
        _ => (
            Verdict::NoPath,
            "neither UDP nor TCP brings anything back: the machine is off, the address is another one's, or a firewall \
             drops everything to that port"
                .into(),
            format!(
                "see on the server whether it runs and what its address is (`hostname -I`); then let UDP and TCP to \
                 port {port} through its firewall and, from outside, through its router"
            ),
        ),
    };
    Some((verdict, says, advice))
}

fn datagrams(bytes: u16) -> Finding {
    let finding = match bytes > DATAGRAM_SMALL {
        true => Finding::good("mtu", format!("datagrams of {bytes} bytes get through: as large as they need to be")),
        false => Finding::new("mtu", Verdict::Limits, format!("only datagrams of {bytes} bytes get through"))
            .advise("a tunnel or VPN is on the way; lossless sound is sent in shorter packets, which costs bandwidth"),
    };
    finding.figure("datagramBytes", bytes)
}

/// QUIC's least, which it begins with (RFC 9000 section 14); Ethernet carries 1452.
const DATAGRAM_SMALL: u16 = 1250;

#[cfg(test)]
mod tests {
    use super::*;
    use probe::Path;
    use std::time::Duration;

    const PATH: Path = Path { round_trip: Duration::from_millis(2), datagram_bytes: Some(1452) };

    fn judged(udp: Answer, tcp: Answer) -> (Vec<&'static str>, Option<u8>, Option<Transport>) {
        let address = ([192, 0, 2, 1], 5004).into();
        let (findings, way) = judge(address, &udp, &tcp, Protocol::Auto, true);
        let bad = findings.iter().filter(|finding| finding.verdict != Verdict::Good).map(|finding| finding.check);
        (bad.collect(), findings.iter().find_map(|finding| finding.verdict.exit_code()), way)
    }

    #[test]
    fn what_answers_says_what_is_wrong() {
        use Answer::{Open, Plain, Refused, Silent};
        assert_eq!(judged(Open(PATH), Open(PATH)), (vec![], None, Some(Transport::Udp)));
        assert_eq!(judged(Silent, Open(PATH)), (vec!["udp", "firewall"], None, Some(Transport::Tcp)));
        assert_eq!(judged(Open(PATH), Refused), (vec!["tcp", "firewall"], None, Some(Transport::Udp)));
        assert_eq!(judged(Refused, Refused), (vec!["udp", "tcp", "firewall"], Some(4), None));
        assert_eq!(judged(Silent, Silent).1, Some(4));
        assert_eq!(judged(Plain, Open(PATH)).2, Some(Transport::Tcp));
    }
}
