//! The server's name: whether it leads to an address, and how soon.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use super::finding::{Finding, Verdict};
use super::machine::millis;
use crate::clock;
use crate::error::plain;

/// A resolver gives up after 5 to 10 s by itself.
const PATIENCE: Duration = Duration::from_secs(12);

/// Each attempt to connect asks anew, and so takes that much longer.
const SLOW: Duration = Duration::from_millis(300);

/// Looks the name up; the addresses in the order in which a client tries them.
pub async fn check(host: &str, port: u16) -> (Finding, Vec<SocketAddr>) {
    if let Ok(address) = host.parse::<IpAddr>() {
        let finding = Finding::good("name", format!("{host} is an address: nothing has to be looked up"));
        return (finding, vec![(address, port).into()]);
    }
    let begin = clock::now();
    let addresses: Result<Vec<_>, String> = match timeout(PATIENCE, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(plain(&error)),
        Err(_) => Err("no name server answers".into()),
    };
    let took = clock::now() - begin;
    match addresses {
        Ok(addresses) if !addresses.is_empty() => (found(host, &addresses, took), addresses),
        Ok(_) => (missing(host, "it has no address"), Vec::new()),
        Err(why) => (missing(host, &why), Vec::new()),
    }
}

fn found(host: &str, addresses: &[SocketAddr], took: Duration) -> Finding {
    let list: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let says = format!("{host} is {}, found in {}", list.join(", "), millis(took));
    let finding = match took < SLOW {
        true => Finding::good("name", says),
        false => Finding::new("name", Verdict::Limits, says)
            .advise("the name server is slow, so connecting is, too: use the address, or a faster name server"),
    };
    finding.figure("addresses", list).figure("took", took.as_secs_f64())
}

fn missing(host: &str, why: &str) -> Finding {
    let advice = match host.ends_with(".local") {
        true => {
            "names that end in .local are found by multicast DNS, which needs `libnss-mdns` on this machine; \
             `audiostreamer discover` finds servers without it"
        }
        false => {
            "is it spelled right? Try the server's address, which `hostname -I` shows there, or `audiostreamer discover`"
        }
    };
    Finding::new("name", Verdict::NoPath, format!("{host} does not resolve: {why}")).advise(advice)
}
