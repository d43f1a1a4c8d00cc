//! A connection to the server: messages one after the other, and what is said to it. Its wire format is the
//! `pulseaudio` crate's.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, SystemTime},
};

use pulseaudio::{
    cookie_path_from_env,
    protocol::{
        AuthParams, AuthReply, Command, CommandReply, DESCRIPTOR_SIZE, Descriptor, DescriptorFlags,
        MAX_VERSION, Prop, Props, ProtocolError, SetClientNameReply, TagStructReader, encode_command_message,
        encode_descriptor, read_descriptor,
    },
    socket_path_from_env,
};

use super::Refused;

/// How long the server may take to answer before the stream runs.
const ANSWER: Duration = Duration::from_secs(3);
/// Bytes of the largest message that is taken: half a second of sound, or any answer that is asked for here.
const LARGEST: usize = 512 * 1024;

/// What the server says.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for a moment, and a box would allocate for each of them"
)]
pub(super) enum Message<'a> {
    /// Sound of a microphone.
    Sound(&'a [u8]),
    /// An answer, and what is in it.
    Reply { sequence: u32, content: &'a [u8] },
    /// Something that was not asked for.
    Command(Command),
    /// Something that is not known here.
    Unknown,
}

pub(super) struct Connection {
    socket: UnixStream,
    version: u16,
    sequence: u32,
    message: Vec<u8>,
    /// What has been read: `buffer[start..end]`, of which the first `taken` bytes are the last message.
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    taken: usize,
}

impl Connection {
    /// Connects and introduces this program.
    pub(super) fn open() -> Result<Self, Refused> {
        let path =
            socket_path_from_env().ok_or_else(|| Refused::Failed("there is no sound server".into()))?;
        let cookie = cookie_path_from_env().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        let socket = UnixStream::connect(path)?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.set_write_timeout(Some(ANSWER))?;
        Self::over(socket, cookie)
    }

    fn over(socket: UnixStream, cookie: Vec<u8>) -> Result<Self, Refused> {
        let buffer = vec![0; LARGEST].into_boxed_slice();
        let mut connection = Self {
            socket,
            version: MAX_VERSION,
            sequence: 0,
            message: Vec::new(),
            buffer,
            start: 0,
            end: 0,
            taken: 0,
        };
        let auth = AuthParams { version: MAX_VERSION, supports_shm: false, supports_memfd: false, cookie };
        let known: AuthReply = connection.ask(&Command::Auth(auth))?;
        connection.version = known.version.min(MAX_VERSION);
        let mut about = Props::new();
        about.set(Prop::ApplicationName, c"VoIP");
        let _: SetClientNameReply = connection.ask(&Command::SetClientName(about))?;
        Ok(connection)
    }

    /// The same socket once more.
    pub(super) fn socket(&self) -> io::Result<UnixStream> {
        self.socket.try_clone()
    }

    /// From now on the server takes what time it needs.
    pub(super) fn patient(&self) -> io::Result<()> {
        self.socket.set_read_timeout(None)
    }

    /// Sends a command; says by which sequence number its answer is known.
    pub(super) fn send(&mut self, command: &Command) -> Result<u32, ProtocolError> {
        self.sequence += 1;
        self.message.clear();
        encode_command_message(&mut self.message, self.sequence, command, self.version)?;
        self.socket.write_all(&self.message)?;
        Ok(self.sequence)
    }

    /// Sends a command and waits for its answer. What else the server says meanwhile is of no interest.
    pub(super) fn ask<R: CommandReply>(&mut self, command: &Command) -> Result<R, ProtocolError> {
        let asked = self.send(command)?;
        let version = self.version;
        loop {
            match self.next()? {
                Message::Reply { sequence, content } if sequence == asked => return answer(content, version),
                Message::Command(Command::Error(error)) => return Err(ProtocolError::ServerError(error)),
                _ => {}
            }
        }
    }

    /// Of the protocol, as both know it.
    pub(super) fn version(&self) -> u16 {
        self.version
    }

    /// Sends sound: `block` is room for a header, and behind it the sound.
    pub(super) fn play(&mut self, channel: u32, block: &mut [u8]) -> Result<(), ProtocolError> {
        let Some((header, sound)) = block.split_first_chunk_mut::<DESCRIPTOR_SIZE>() else { return Ok(()) };
        let length = sound.len() as u32;
        encode_descriptor(
            header,
            &Descriptor { length, channel, offset: 0, flags: DescriptorFlags::empty() },
        );
        Ok(self.socket.write_all(block)?)
    }

    /// Waits for the next message.
    pub(super) fn next(&mut self) -> Result<Message<'_>, ProtocolError> {
        self.start += std::mem::take(&mut self.taken);
        let (header, length) = loop {
            let have = &self.buffer[self.start..self.end];
            if let Some(mut header) = have.get(..DESCRIPTOR_SIZE) {
                let header = read_descriptor(&mut header)?;
                let length = DESCRIPTOR_SIZE.saturating_add(header.length as usize);
                if length > self.buffer.len() {
                    return Err(ProtocolError::Invalid(format!("a message of {length} bytes")));
                }
                if length <= have.len() {
                    break (header, length);
                }
            }
            self.read()?;
        };
        self.taken = length;
        let content = &self.buffer[self.start + DESCRIPTOR_SIZE..self.start + length];
        if header.channel != u32::MAX {
            return Ok(Message::Sound(content));
        }
        let mut rest = content;
        Ok(match Command::read_tag_prefixed(&mut rest, self.version) {
            Ok((sequence, Command::Reply)) => Message::Reply { sequence, content: rest },
            Ok((_, command)) => Message::Command(command),
            // Servers learn new words.
            Err(_) => Message::Unknown,
        })
    }

    fn read(&mut self) -> Result<(), ProtocolError> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        // There is room: a message that does not fit is refused as soon as its length is known.
        match self.socket.read(&mut self.buffer[self.end..]) {
            Ok(0) => Err(ProtocolError::Io(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.end += count;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Reads an answer.
pub(super) fn answer<R: CommandReply>(mut content: &[u8], version: u16) -> Result<R, ProtocolError> {
    TagStructReader::new(&mut content, version).read()
}

/// The time that the server is told, and tells again: nobody looks at it.
pub(super) const NO_TIME: SystemTime = SystemTime::UNIX_EPOCH;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use pulseaudio::protocol::{PulseError, encode_reply_message};

    use super::*;

    /// A server that says `bytes` and nothing more.
    fn told(bytes: &[u8]) -> (Connection, UnixStream) {
        let (socket, mut theirs) = UnixStream::pair().unwrap();
        // It fits into the socket.
        theirs.write_all(bytes).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let (buffer, message) = (vec![0; 4_096].into_boxed_slice(), Vec::new());
        let version = MAX_VERSION;
        (Connection { socket, version, sequence: 0, message, buffer, start: 0, end: 0, taken: 0 }, theirs)
    }

    fn sound(channel: u32, sound: &[u8]) -> Vec<u8> {
        let mut message = vec![0; DESCRIPTOR_SIZE];
        message.extend_from_slice(sound);
        let (length, flags) = (sound.len() as u32, DescriptorFlags::empty());
        let header = message.first_chunk_mut().unwrap();
        encode_descriptor(header, &Descriptor { length, channel, offset: 0, flags });
        message
    }

    #[test]
    fn messages_come_one_after_the_other() {
        let mut said = sound(3, &[1; 1_000]);
        let mut command = Vec::new();
        encode_command_message(&mut command, u32::MAX, &Command::RecordStreamKilled(3), MAX_VERSION).unwrap();
        said.extend(command);
        let mut reply = Vec::new();
        let name = SetClientNameReply { client_id: 7 };
        encode_reply_message(&mut reply, 5, &name, MAX_VERSION).unwrap();
        said.extend(reply);
        said.extend(sound(3, &[2; 3_900]));
        said.extend(sound(u32::MAX, &[7; 40]));
        let (mut connection, _server) = told(&said);
        assert!(matches!(connection.next(), Ok(Message::Sound(sound)) if sound == [1; 1_000]));
        assert!(matches!(connection.next(), Ok(Message::Command(Command::RecordStreamKilled(3)))));
        let Ok(Message::Reply { sequence: 5, content }) = connection.next() else { panic!("no reply") };
        assert_eq!(answer::<SetClientNameReply>(content, MAX_VERSION).unwrap().client_id, 7);
        assert!(matches!(connection.next(), Ok(Message::Sound(sound)) if sound == [2; 3_900]));
        assert!(matches!(connection.next(), Ok(Message::Unknown)));
        assert!(connection.next().is_err());
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_at_once() {
        let (mut connection, _server) = told(&sound(3, &[0; 5_000]));
        assert!(matches!(connection.next(), Err(ProtocolError::Invalid(_))));
    }

    #[test]
    fn a_refusal_is_the_answer() {
        let mut said = Vec::new();
        encode_command_message(&mut said, 1, &Command::Error(PulseError::NoEntity), MAX_VERSION).unwrap();
        let (mut connection, _server) = told(&said);
        let asked = connection.ask::<SetClientNameReply>(&Command::GetServerInfo);
        assert!(matches!(asked, Err(ProtocolError::ServerError(PulseError::NoEntity))));
    }

    proptest! {
        #[test]
        fn whatever_a_server_says_ends_well(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
            whole in any::<bool>(),
        ) {
            // Bytes, or a command of them.
            let said = if whole { sound(u32::MAX, &bytes) } else { bytes };
            let (mut connection, _server) = told(&said);
            for _ in 0..64 {
                if connection.next().is_err() {
                    break;
                }
            }
            let (mut connection, _server) = told(&said);
            prop_assert!(connection.ask::<AuthReply>(&Command::GetServerInfo).is_err());
        }
    }
}
