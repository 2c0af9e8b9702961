//! A connection to a PulseAudio server, or to PipeWire in its place.
//!
//! Only what a stream needs: a blocking socket, used by one thread. The protocol itself is the
//! `pulseaudio` crate's; its own client is not used because it clears a megabyte of memory for
//! each message, which costs a third of a core where a source delivers crumbs of 24 frames.

use std::ffi::CString;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pulseaudio::protocol::{
    self, AuthParams, AuthReply, Command, CommandReply, DESCRIPTOR_SIZE, Prop, Props, ProtocolError, PulseError,
    SetClientNameReply, TagStructReader,
};

use crate::error::plain;

/// A connection that has introduced itself.
#[derive(Debug)]
pub(super) struct Server {
    socket: UnixStream,
    inbox: Inbox,
    version: u16,
    sequence: u32,
}

/// What the server says.
pub(super) enum Message<'a> {
    /// Samples of the one stream that is recorded.
    Sound(&'a [u8]),
    /// The answer to the command with this sequence number.
    Reply { sequence: u32, answer: Answer<'a> },
    /// The command with this sequence number has failed.
    Refused { sequence: u32, error: PulseError },
    /// So many more bytes are to be played.
    Request(usize),
    /// Sound was lost or missing.
    Xrun,
    /// The stream is closed: its device is gone, or somebody wants it so.
    Killed,
    /// Something that this program has no use for.
    Other,
}

impl Server {
    /// Connects to the server that the environment names, within two seconds.
    pub(super) fn connect() -> Result<Self, WireError> {
        let path = pulseaudio::socket_path_from_env().ok_or(WireError::NoServer)?;
        let socket = UnixStream::connect(path)?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut server = Self { socket, inbox: Inbox::default(), version: protocol::MAX_VERSION, sequence: 0 };
        server.introduce()?;
        Ok(server)
    }

    fn introduce(&mut self) -> Result<(), WireError> {
        let cookie = pulseaudio::cookie_path_from_env().and_then(|path| std::fs::read(path).ok());
        let mut cookie = cookie.unwrap_or_default();
        // The server throws out who sends none. It needs none of a user whom it knows otherwise.
        cookie.resize(COOKIE_BYTES, 0);
        let reply: AuthReply = self.ask(&Command::Auth(AuthParams {
            version: protocol::MAX_VERSION,
            supports_shm: false,
            supports_memfd: false,
            cookie,
        }))?;
        self.version = self.version.min(reply.version);
        let _: SetClientNameReply = self.ask(&Command::SetClientName(properties()))?;
        Ok(())
    }

    /// Sends a command and waits for its answer; what else comes meanwhile is lost.
    pub(super) fn ask<R: CommandReply>(&mut self, command: &Command) -> Result<R, WireError> {
        let asked = self.tell(command)?;
        loop {
            match self.next()?.ok_or(WireError::Silent)? {
                Message::Reply { sequence, answer } if sequence == asked => return answer.read(),
                Message::Refused { sequence, error } if sequence == asked => {
                    return Err(WireError::Refused(error));
                }
                _ => {}
            }
        }
    }

    /// Sends a command, and returns the number that its answer will have.
    pub(super) fn tell(&mut self, command: &Command) -> Result<u32, WireError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        protocol::encode_command_message(&mut bytes, self.sequence, command, self.version)?;
        self.socket.write_all(&bytes)?;
        Ok(self.sequence)
    }

    /// Sends what has been put behind the first [`DESCRIPTOR_SIZE`] bytes of `message`, which
    /// are overwritten, to be played on `channel`.
    pub(super) fn play(&mut self, channel: u32, message: &mut [u8]) -> Result<(), WireError> {
        let length = (message.len() - DESCRIPTOR_SIZE) as u32;
        let head = message.first_chunk_mut().expect("room for a descriptor");
        let descriptor = protocol::Descriptor { length, channel, offset: 0, flags: protocol::DescriptorFlags::empty() };
        protocol::encode_descriptor(head, &descriptor);
        Ok(self.socket.write_all(message)?)
    }

    /// The next message, or `None` if there is none for as long as [`be_patient`] allows.
    ///
    /// [`be_patient`]: Self::be_patient
    pub(super) fn next(&mut self) -> Result<Option<Message<'_>>, WireError> {
        while !self.inbox.has_message() {
            if !self.inbox.fill(&mut self.socket)? {
                return Ok(None);
            }
        }
        let version = self.version;
        let (channel, payload) = self.inbox.take();
        Ok(Some(if channel == CONTROL { parse(payload, version) } else { Message::Sound(payload) }))
    }

    /// How long [`next`](Self::next) waits.
    pub(super) fn be_patient(&self, patience: Duration) -> Result<(), WireError> {
        Ok(self.socket.set_read_timeout(Some(patience))?)
    }
}

/// An answer that is still to be read.
pub(super) struct Answer<'a> {
    body: &'a [u8],
    version: u16,
}

impl Answer<'_> {
    /// Reads it as what the command that was asked is answered by.
    pub(super) fn read<R: CommandReply>(mut self) -> Result<R, WireError> {
        Ok(TagStructReader::new(&mut self.body, self.version).read()?)
    }
}

/// How mixers and volume controls show this program and its streams.
pub(super) fn properties() -> Props {
    let name = CString::from(c"AudioStreamer");
    let mut properties = Props::new();
    properties.set(Prop::ApplicationName, name.as_c_str());
    properties.set(Prop::MediaName, name.as_c_str());
    if let Ok(id) = CString::new(std::process::id().to_string()) {
        properties.set(Prop::ApplicationProcessId, id.as_c_str());
    }
    properties
}

fn parse(mut payload: &[u8], version: u16) -> Message<'_> {
    let Ok((sequence, command)) = Command::read_tag_prefixed(&mut payload, version) else {
        return Message::Other; // a newer server's; its length is known, so it is skipped
    };
    match command {
        Command::Reply => Message::Reply { sequence, answer: Answer { body: payload, version } },
        Command::Error(error) => Message::Refused { sequence, error },
        Command::Request(request) => Message::Request(request.length as usize),
        Command::Overflow(_) | Command::Underflow(_) => Message::Xrun,
        Command::PlaybackStreamKilled(_) | Command::RecordStreamKilled(_) => Message::Killed,
        _ => Message::Other,
    }
}

/// What has been received and not yet been read.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Inbox {
    /// The channel and the length of the next message, once its head is there.
    fn head(&self) -> Option<(u32, usize)> {
        let bytes = &self.bytes[self.from..self.to];
        let (length, rest) = bytes.split_first_chunk()?;
        let (channel, rest) = rest.split_first_chunk()?;
        let rest_of_head = DESCRIPTOR_SIZE - 8;
        (rest.len() >= rest_of_head).then(|| {
            let length = u32::from_be_bytes(*length) as usize;
            (u32::from_be_bytes(*channel), length)
        })
    }

    fn has_message(&self) -> bool {
        let length = self.head().map(|(_, length)| length);
        length.is_some_and(|length| length <= self.to - self.from - DESCRIPTOR_SIZE)
    }

    /// The channel and payload of a message that is there.
    fn take(&mut self) -> (u32, &[u8]) {
        let (channel, length) = self.head().expect("only called with a message");
        let start = self.from + DESCRIPTOR_SIZE;
        self.from = start + length;
        (channel, &self.bytes[start..start + length])
    }

    /// Receives once. `false`: nothing has come in time.
    fn fill(&mut self, socket: &mut UnixStream) -> Result<bool, WireError> {
        let wanted = match self.head() {
            Some((_, length)) if length > LONGEST => return Err(WireError::Garbled),
            Some((_, length)) => DESCRIPTOR_SIZE + length,
            None => DESCRIPTOR_SIZE,
        };
        self.bytes.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        if self.bytes.len() < wanted.max(USUAL) {
            self.bytes.resize(wanted.max(USUAL), 0);
        }
        match socket.read(&mut self.bytes[self.to..]) {
            Ok(0) => Err(WireError::Gone),
            Ok(count) => {
                self.to += count;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Why the server can't be used, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("no PulseAudio or PipeWire server runs for this user")]
    NoServer,
    #[error("the sound server is gone")]
    Gone,
    #[error("the sound server does not answer")]
    Silent,
    #[error("the sound server has closed the stream")]
    Killed,
    #[error("the sound server refuses: {0}")]
    Refused(PulseError),
    #[error("the sound server talks nonsense")]
    Garbled,
    #[error("the sound server can't be understood: {0}")]
    Protocol(#[from] ProtocolError),
    #[error("{}", plain(.0))]
    Io(#[from] io::Error),
}

/// The channel of everything that is not sound.
const CONTROL: u32 = u32::MAX;

/// `PA_NATIVE_COOKIE_LENGTH`.
const COOKIE_BYTES: usize = 256;

/// A server that runs answers in milliseconds, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// Room for several blocks of sound, or a description of several devices.
const USUAL: usize = 1 << 16;

/// The protocol's own limit for sound is 4 MiB (`MAX_MEMBLOCKQ_LENGTH`).
const LONGEST: usize = 1 << 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::default();
        let message = [0, 0, 0, 3, 0, 0, 0, 7].into_iter().chain([0; DESCRIPTOR_SIZE - 8]).chain([1, 2, 3]);
        for byte in message {
            assert!(!inbox.has_message());
            far.write_all(&[byte]).unwrap();
            assert!(inbox.fill(&mut near).unwrap());
        }
        assert!(inbox.has_message());
        assert_eq!(inbox.take(), (7, &[1, 2, 3][..]));
        assert!(!inbox.has_message());
    }

    #[test]
    fn a_length_that_no_server_sends_is_refused() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let mut inbox = Inbox::default();
        far.write_all(&[0xFF; DESCRIPTOR_SIZE]).unwrap();
        assert!(inbox.fill(&mut near).unwrap());
        assert!(matches!(inbox.fill(&mut near), Err(WireError::Garbled)));
    }

    #[test]
    fn a_closed_connection_is_noticed() {
        let (mut near, far) = UnixStream::pair().unwrap();
        drop(far);
        let received = Inbox::default().fill(&mut near);
        assert!(matches!(received, Err(WireError::Gone)));
    }
}
