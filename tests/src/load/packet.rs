//! The mark in each frame: who sent it, and when.

/// Bytes of a mark, at the start of a frame.
pub const MARK_LEN: usize = 24;

/// What a frame carries instead of sound. The rest of it is noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When it was sent, in ns of the system's clock.
    pub sent_ns: u64,
    /// Which client sent it.
    pub talker: u32,
    /// Its packet's sequence.
    pub sequence: u32,
}

/// Tells a frame of this program from any other.
const MAGIC: u64 = 0x766f_6970_2d6c_6f61;

impl Mark {
    /// Writes it at the start of a frame, which has [`MARK_LEN`] bytes or more.
    pub fn write(self, frame: &mut [u8]) {
        frame[..8].copy_from_slice(&MAGIC.to_be_bytes());
        frame[8..16].copy_from_slice(&self.sent_ns.to_be_bytes());
        frame[16..20].copy_from_slice(&self.talker.to_be_bytes());
        frame[20..24].copy_from_slice(&self.sequence.to_be_bytes());
    }

    /// Reads it from the start of a frame; none from a frame that is not one of this program.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let (magic, rest) = frame.split_first_chunk()?;
        let (sent_ns, rest) = rest.split_first_chunk()?;
        let (talker, rest) = rest.split_first_chunk()?;
        let sequence = rest.first_chunk()?;
        (u64::from_be_bytes(*magic) == MAGIC).then(|| Self {
            sent_ns: u64::from_be_bytes(*sent_ns),
            talker: u32::from_be_bytes(*talker),
            sequence: u32::from_be_bytes(*sequence),
        })
    }
}

/// A frame of noise, as little compressible as Opus.
pub fn noise(length: usize) -> Vec<u8> {
    // Marsaglia's xorshift64, from any seed but zero.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(byte).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark { sent_ns: 1 << 60, talker: 77, sequence: u32::MAX };
        let mut frame = noise(80);
        assert_eq!(Mark::read(&frame), None);
        mark.write(&mut frame);
        assert_eq!(Mark::read(&frame), Some(mark));
        assert_eq!(Mark::read(&frame[..MARK_LEN]), Some(mark));
        assert_eq!(Mark::read(&frame[..MARK_LEN - 1]), None);
    }
}
