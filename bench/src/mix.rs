//! How many clients one server mixes: packets of one real client, sent again from many sockets.
//!
//! Many real clients would fill the machine with encoders and leave no room for the server.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::jackd::Jackd;
use crate::os;
use crate::process::{Process, pause};
use crate::systems::Ours;

/// How the mixing is measured.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Numbers of clients to try, until one does not hold
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32, 64])]
    pub clients: Vec<usize>,
    /// Where the server plays
    #[arg(long, value_name = "SINK", default_value = "jack:")]
    pub output: String,
    /// Seconds for each number
    #[arg(long, value_name = "S", default_value_t = 15)]
    pub seconds: u64,
    /// Try each number again, so many times at most: a busy machine makes gaps too
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub attempts: usize,
    /// Frames per period of the JACK server
    #[arg(long, value_name = "FRAMES", default_value_t = 128)]
    pub period: u32,
    #[command(flatten)]
    pub ours: Ours,
}

/// Tries the numbers one after the other and returns a Markdown table.
pub fn run(options: &Options) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let _jackd = Jackd::start(options.period, None, dir.path())?;
    let stream = record_client(&options.ours, dir.path())?;
    let mut table =
        String::from("| clients | server CPU % | server RSS MiB | its summary |\n| ---: | ---: | ---: | --- |\n");
    print!("{table}");
    for &clients in &options.clients {
        let mut attempts = 0;
        let (line, holds) = loop {
            attempts += 1;
            let (line, holds) = mix(options, clients, &stream, dir.path())?;
            if holds || attempts == options.attempts {
                break (line, holds);
            }
        };
        print!("{line}");
        table += &line;
        if !holds {
            break;
        }
    }
    Ok(table)
}

/// One number of clients: the line of the table, and whether nothing was concealed.
fn mix(options: &Options, clients: usize, stream: &Arc<Stream>, logs: &std::path::Path) -> Result<(String, bool)> {
    let Ours { binary, server_args, .. } = &options.ours;
    let line = format!(
        "{binary} server --plain --listen {SERVER} --protocol udp --max-clients {clients} --output {} {server_args}",
        options.output
    );
    let argv: Vec<String> = line.split_whitespace().map(String::from).collect();
    let mut server = Process::start("server", &argv, &[], logs)?;
    pause(Duration::from_secs(1))?;
    let swarm = Swarm::start(stream.clone(), clients)?;
    pause(stream.interval() * TURNS_PER_CLIENT * clients as u32 + Duration::from_secs(1))?;
    let before = server.cpu_time();
    pause(Duration::from_secs(options.seconds))?;
    server.check_alive()?;
    let cpu = (server.cpu_time() - before).as_secs_f64() / options.seconds as f64 * 100.0;
    let rss = server.resident_kib() as f64 / 1024.0;
    server.stop(); // before the swarm: an end in mid-stream would be concealed, and counted
    swarm.stop();
    let summary = server.log_tail(1).replace("audiostreamer: ", "");
    let holds = summary.contains(&format!("played {clients} client")) && summary.contains(" 0.0 ms concealed");
    Ok((format!("| {clients} | {cpu:.1} | {rss:.1} | {summary} |\n"), holds))
}

/// Two seconds of RTP as a real client sends it.
struct Stream {
    packets: Vec<Vec<u8>>,
    /// RTP timestamp units (1/48000 s) from one packet to the next.
    step: u32,
}

impl Stream {
    fn interval(&self) -> Duration {
        Duration::from_secs_f64(f64::from(self.step) / 48_000.0)
    }
}

fn record_client(ours: &Ours, logs: &std::path::Path) -> Result<Arc<Stream>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let line = format!(
        "{} client {} --plain --protocol udp --input tone:440 --codec opus --frame 10ms {}",
        ours.binary,
        socket.local_addr()?,
        ours.client_args
    );
    let argv: Vec<String> = line.split_whitespace().map(String::from).collect();
    let client = Process::start("client", &argv, &[], logs)?;
    let mut packets: Vec<Vec<u8>> = Vec::new();
    let mut buffer = [0; 2048];
    while packets.len() < RECORDED {
        let length =
            socket.recv(&mut buffer).with_context(|| format!("the client sends nothing:\n{}", client.log_tail(5)))?;
        if is_rtp(&buffer[..length]) {
            packets.push(buffer[..length].to_vec());
        }
    }
    let step = timestamp(&packets[1]).wrapping_sub(timestamp(&packets[0]));
    if !(120..=2880).contains(&step) {
        bail!("the client's packets are {step} samples apart, which is no Opus frame");
    }
    Ok(Arc::new(Stream { packets, step }))
}

/// Clients that send the same stream under different names, spread evenly over the frame's length;
/// they join one after the other.
struct Swarm {
    ending: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Swarm {
    fn start(stream: Arc<Stream>, clients: usize) -> Result<Self> {
        let sockets: Vec<UdpSocket> = (0..clients).map(|_| connected()).collect::<Result<_>>()?;
        let ending = Arc::new(AtomicBool::new(false));
        let flag = ending.clone();
        let thread = std::thread::spawn(move || {
            os::raise_thread(PRIORITY);
            send(&stream, &sockets, &flag);
        });
        Ok(Self { ending, thread })
    }

    fn stop(self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

fn connected() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(SERVER)?;
    Ok(socket)
}

fn send(stream: &Stream, sockets: &[UdpSocket], ending: &AtomicBool) {
    let start = Instant::now();
    let interval = stream.interval();
    for turn in 0u32.. {
        let joined = (turn / TURNS_PER_CLIENT) as usize + 1;
        for (client, socket) in sockets.iter().enumerate().take(joined) {
            if ending.load(Ordering::Relaxed) {
                return;
            }
            let due = interval * turn + interval * client as u32 / sockets.len() as u32;
            std::thread::sleep(due.saturating_sub(start.elapsed()));
            let mut packet = stream.packets[turn as usize % stream.packets.len()].clone();
            packet[2..4].copy_from_slice(&(turn as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&turn.wrapping_mul(stream.step).to_be_bytes());
            packet[8..12].copy_from_slice(&(client as u32 + 1).to_be_bytes());
            let _ = socket.send(&packet); // a server that is ending refuses it
        }
    }
}

/// RTP, and not the RTCP that comes on the same port (RFC 5761).
fn is_rtp(packet: &[u8]) -> bool {
    packet.len() > 12 && packet[0] >> 6 == 2 && !(64..96).contains(&(packet[1] & 0x7f))
}

fn timestamp(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])
}

const SERVER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5014);
/// Packets that each client has sent before the next joins.
const TURNS_PER_CLIENT: u32 = 4;
const RECORDED: usize = 200;
/// The senders stand for other machines, which the server's load does not slow down.
const PRIORITY: i32 = 40;
