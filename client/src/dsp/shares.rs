//! Frames into shares and back: the code of [`voip_protocol::voice::Code`], and what collects shares.
//!
//! A frame of `needed` times `n` bytes is as many blocks of `n`. At each place in the blocks, the bytes are the values
//! at 0, 1, … of a polynomial over GF(256); the share of a number is its values there, so the first shares are the
//! blocks themselves, and any `needed` of them determine the rest by Lagrange's formula (Reed and Solomon, 1960;
//! the field is that of RFC 5510 §8.1). On the wire all bits are inverted: a share that is all zeros is of no frame,
//! and Opus fills frames up with zeros.

use voip_protocol::voice::{Code, MAX_SHARED, SHARED, Share};

/// x⁸ + x⁴ + x³ + x² + 1.
const POLYNOMIAL: u16 = 0x11d;
/// Powers of x, twice over so that sums of two logarithms need no remainder, and their logarithms.
const POWERS: [u8; 510] = tables().0;
const LOGARITHMS: [u8; 256] = tables().1;
/// Frames that shares are collected of at the same time: 320 ms.
const COLLECTED: usize = 16;
/// The most shares that a frame is put together from.
const MOST_NEEDED: usize = 3;

const fn tables() -> ([u8; 510], [u8; 256]) {
    let (mut powers, mut logarithms) = ([0; 510], [0; 256]);
    let (mut value, mut power) = (1u16, 0);
    while power < 255 {
        powers[power] = value as u8;
        powers[power + 255] = value as u8;
        logarithms[value as usize] = power as u8;
        value <<= 1;
        if value > 255 {
            value ^= POLYNOMIAL;
        }
        power += 1;
    }
    (powers, logarithms)
}

fn times(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 {
        return 0;
    }
    POWERS[usize::from(LOGARITHMS[usize::from(a)]) + usize::from(LOGARITHMS[usize::from(b)])]
}

/// `b` is not 0.
fn over(a: u8, b: u8) -> u8 {
    if a == 0 {
        return 0;
    }
    POWERS[usize::from(LOGARITHMS[usize::from(a)]) + 255 - usize::from(LOGARITHMS[usize::from(b)])]
}

/// How much the value at `points[of]` counts in the value at `at`.
fn weight(points: &[u8], of: usize, at: u8) -> u8 {
    let others = points.iter().enumerate().filter(|(other, _)| *other != of);
    others.fold(1, |weight, (_, point)| times(weight, over(at ^ point, points[of] ^ point)))
}

/// The values at `at`, of those at `points`, which stand one after another in `values`.
fn interpolate(points: &[u8], values: &[u8], at: u8, result: &mut [u8]) {
    result.fill(0);
    for (of, values) in values.chunks_exact(result.len()).enumerate().take(points.len()) {
        let weight = weight(points, of, at);
        for (result, value) in result.iter_mut().zip(values) {
            *result ^= times(weight, *value);
        }
    }
}

/// How long a share may be, in bytes, where all packets together have `bitrate` bits a second of payload.
pub fn share_len(code: Code, bitrate: u32) -> usize {
    let frame = bitrate as usize * SHARED.samples() / super::RATE as usize / 8;
    (frame / code.shares()).min(MAX_SHARED / code.needed())
}

/// Makes the payload of packets.
#[derive(Debug)]
pub struct Split {
    code: Code,
    len: usize,
    /// The youngest frame and the one before it; none: no frame.
    frames: [Option<[u8; MAX_SHARED]>; 2],
}

impl Split {
    /// Into shares of `len` bytes, as [`share_len`] says.
    pub fn new(code: Code, len: usize) -> Self {
        debug_assert!(len * code.needed() <= MAX_SHARED);
        Self { code, len: len.min(MAX_SHARED / code.needed()), frames: [None; 2] }
    }

    /// How frames become shares.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Bytes that frames have.
    pub fn frame_len(&self) -> usize {
        self.len * self.code.needed()
    }

    /// The next frame, of [`Split::frame_len`]. None, or one of another length: there is none.
    pub fn push(&mut self, frame: Option<&[u8]>) {
        self.frames[1] = self.frames[0].take();
        self.frames[0] = frame.filter(|frame| frame.len() == self.frame_len()).map(|frame| {
            let mut kept = [0; MAX_SHARED];
            kept[..frame.len()].copy_from_slice(frame);
            kept
        });
    }

    /// Writes the payload of the packet that comes as number `at` after the first of the youngest frame; says its length.
    pub fn packet(&self, at: u8, payload: &mut [u8; 2 * MAX_SHARED]) -> usize {
        let share = Share { code: self.code, at };
        let mut end = 0;
        for (frame, number) in self.frames.iter().zip([Some(usize::from(at)), share.older()]) {
            let Some(number) = number else { continue };
            let place = &mut payload[end..end + self.len];
            place.fill(0);
            if let Some(frame) = frame {
                interpolate(&POINTS[..self.code.needed()], frame, number as u8, place);
                for byte in place.iter_mut() {
                    *byte = !*byte;
                }
            }
            end += self.len;
        }
        end
    }
}

/// Where the blocks of a frame are the values.
const POINTS: [u8; MOST_NEEDED] = [0, 1, 2];

/// A packet with shares.
#[derive(Clone, Copy, Debug)]
pub struct SharePacket<'a> {
    /// Which shares it has.
    pub share: Share,
    /// Number of the talker's packet.
    pub sequence: u32,
    /// Of the younger frame.
    pub capture_time: u32,
    /// The younger frame that there is ends its burst.
    pub last_of_burst: bool,
    /// The shares.
    pub payload: &'a [u8],
}

/// A frame that has been put together.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    /// Number of the packet with its first share.
    pub sequence: u32,
    /// When the first sample that a decoder makes of it was captured.
    pub capture_time: u32,
    /// Packets from its first to that of the next frame.
    pub packets: u32,
    /// It ends its burst.
    pub last_of_burst: bool,
    /// Without the code it would have been lost.
    pub repaired: bool,
    /// The Opus frame.
    pub opus: &'a [u8],
}

/// Collects shares of one talker. Allocates nothing after it is made.
#[derive(Debug)]
pub struct Gather {
    /// Each in the place that its number says; a later one takes it over.
    frames: Box<[Partial; COLLECTED]>,
}

/// A frame of which some shares are there.
#[derive(Clone, Copy, Debug)]
struct Partial {
    /// None: nothing is there.
    known: Option<Known>,
    last_of_burst: bool,
    numbers: [u8; MOST_NEEDED],
    count: usize,
    shares: [u8; MAX_SHARED],
}

/// What the shares of one frame have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    sequence: u32,
    code: Code,
    len: usize,
}

const NOTHING: Partial = Partial {
    known: None,
    last_of_burst: false,
    numbers: [0; MOST_NEEDED],
    count: 0,
    shares: [0; MAX_SHARED],
};

impl Default for Gather {
    fn default() -> Self {
        Self { frames: Box::new([NOTHING; COLLECTED]) }
    }
}

impl Gather {
    /// Takes in a packet, and gives `take` the frames that it makes whole. False: no sender makes such a packet.
    pub fn insert(&mut self, packet: &SharePacket<'_>, mut take: impl FnMut(Whole<'_>)) -> bool {
        let Share { code, at } = packet.share;
        let (packets, older) = (code.packets() as u32, packet.share.older());
        let count = 1 + usize::from(older.is_some());
        let len = packet.payload.len() / count;
        if len == 0 || len * count != packet.payload.len() || len * code.needed() > MAX_SHARED {
            return false;
        }
        let (young, old) = packet.payload.split_at(len);
        let first = packet.sequence.wrapping_sub(at.into());
        let before = (first.wrapping_sub(packets), packet.capture_time.wrapping_sub(SHARED.samples() as u32));
        // The older one first: it comes out first.
        let shares = [
            older.map(|number| (number, old, before, packet.last_of_burst && is_none(young))),
            Some((usize::from(at), young, (first, packet.capture_time), packet.last_of_burst)),
        ];
        for (number, share, (sequence, capture_time), last) in shares.into_iter().flatten() {
            if is_none(share) {
                continue;
            }
            let Some(partial) = self.partial(Known { sequence, code, len }) else { continue };
            partial.last_of_burst |= last;
            if let Some((opus, repaired)) = partial.add(number as u8, share, code.needed()) {
                let last_of_burst = partial.last_of_burst;
                let opus = &opus[..len * code.needed()];
                take(Whole { sequence, capture_time, packets, last_of_burst, repaired, opus });
            }
        }
        true
    }

    /// What is there of a frame; none: it is too old.
    fn partial(&mut self, known: Known) -> Option<&mut Partial> {
        let at = known.sequence as usize / known.code.packets() % COLLECTED;
        let place = &mut self.frames[at];
        if place.known != Some(known) {
            let later = |other: Known| known.sequence.wrapping_sub(other.sequence).cast_signed() > 0;
            place.known.is_none_or(later).then(|| {
                (place.known, place.last_of_burst, place.count) = (Some(known), false, 0);
            })?;
        }
        Some(place)
    }
}

impl Partial {
    /// One more share; if it is the last that was needed, the frame, and whether one of its blocks was missing.
    fn add(&mut self, number: u8, share: &[u8], needed: usize) -> Option<([u8; MAX_SHARED], bool)> {
        if self.count >= needed || self.numbers[..self.count].contains(&number) {
            return None;
        }
        let (start, len) = (self.count * share.len(), share.len());
        for (kept, byte) in self.shares[start..start + len].iter_mut().zip(share) {
            *kept = !byte;
        }
        self.numbers[self.count] = number;
        self.count += 1;
        if self.count < needed {
            return None;
        }
        let mut opus = [0; MAX_SHARED];
        for (block, place) in opus[..len * needed].chunks_exact_mut(len).enumerate() {
            interpolate(&self.numbers[..needed], &self.shares[..len * needed], block as u8, place);
        }
        let repaired = self.numbers[..needed].iter().any(|number| usize::from(*number) >= needed);
        Some((opus, repaired))
    }
}

fn is_none(share: &[u8]) -> bool {
    share.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A packet that was sent.
    #[derive(Clone, Debug)]
    struct Sent {
        share: Share,
        sequence: u32,
        capture_time: u32,
        last: bool,
        payload: Vec<u8>,
    }

    /// A burst of frames, as the talker sends it: the last one's shares all at once.
    fn burst(code: Code, frames: &[Vec<u8>], first: u32) -> Vec<Sent> {
        let mut split = Split::new(code, frames[0].len() / code.needed());
        let (mut sequence, mut capture_time, mut sent) = (first, 7u32.wrapping_sub(960), Vec::new());
        for n in 0..=frames.len() {
            split.push(frames.get(n).map(Vec::as_slice));
            capture_time = capture_time.wrapping_add(960);
            let packets = if n < frames.len() { code.packets() } else { code.shares() - code.packets() };
            for at in 0..packets as u8 {
                let mut payload = [0; 2 * MAX_SHARED];
                let len = split.packet(at, &mut payload);
                let last = n + 1 >= frames.len();
                let payload = payload[..len].to_vec();
                sent.push(Sent { share: Share { code, at }, sequence, capture_time, last, payload });
                sequence = sequence.wrapping_add(1);
            }
        }
        sent
    }

    /// Frames that came out: number, capture time, whether the last, whether repaired, bytes.
    type Out = Vec<(u32, u32, bool, bool, Vec<u8>)>;

    fn gather(gather: &mut Gather, packets: &[Sent]) -> Out {
        let mut out = Out::new();
        for sent in packets {
            let packet = SharePacket {
                share: sent.share,
                sequence: sent.sequence,
                capture_time: sent.capture_time,
                last_of_burst: sent.last,
                payload: &sent.payload,
            };
            assert!(gather.insert(&packet, |frame| {
                assert_eq!(frame.packets, sent.share.code.packets() as u32);
                let Whole { sequence, capture_time, last_of_burst, repaired, opus, .. } = frame;
                out.push((sequence, capture_time, last_of_burst, repaired, opus.to_vec()));
            }));
        }
        out
    }

    fn frames(code: Code, count: usize, len: usize, seed: u8) -> Vec<Vec<u8>> {
        // Some are all zeros but for their first byte, as Opus fills up silence.
        let byte =
            |n: usize, at: usize| if n % 3 == 2 && at > 0 { 0 } else { (n * 37 + at * 101) as u8 ^ seed | 1 };
        let frame = |n| (0..len * code.needed()).map(|at| byte(n, at)).collect();
        (0..count).map(frame).collect()
    }

    #[test]
    fn the_field_is_a_field() {
        for a in 1..=255 {
            assert_eq!(times(a, over(1, a)), 1);
            for b in 1..=255 {
                assert_eq!(over(times(a, b), b), a);
                assert_eq!(times(a, b ^ 1), times(a, b) ^ a);
            }
        }
        // By hand: x⁷ · x = x⁴ + x³ + x² + 1.
        assert_eq!(times(0x80, 2), 0x1d);
    }

    /// The vectors of docs/voice-packet.md.
    #[test]
    fn agrees_with_the_written_vectors() {
        let vectors = include_str!("../../../docs/voice-packet.md");
        for code in Code::ALL {
            let frame = [0x48, 1, 2, 0xfe, 0, 0x10];
            assert!(vectors.contains(&format!("`{}`", hex(&frame))));
            let shares: Vec<_> = burst(code, &[frame.to_vec()], 0)
                .iter()
                .filter_map(|sent| {
                    let (young, old) = sent.payload.split_at(frame.len() / code.needed());
                    [young, old]
                        .into_iter()
                        .find(|share| !is_none(share))
                        .map(|share| format!("`{}`", hex(share)))
                })
                .collect();
            assert_eq!(shares.len(), code.shares());
            assert!(vectors.contains(&shares.join(", ")), "{shares:?}");
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
    }

    #[test]
    fn without_loss_all_frames_come_whole_in_order() {
        for code in Code::ALL {
            let said = frames(code, 20, 14, 0);
            let sent = burst(code, &said, u32::MAX - 10);
            assert_eq!(sent.len(), 19 * code.packets() + code.shares());
            let out = gather(&mut Gather::default(), &sent);
            assert_eq!(out.iter().map(|frame| frame.4.clone()).collect::<Vec<_>>(), said);
            for (n, (sequence, capture_time, last, repaired, _)) in out.iter().enumerate() {
                assert_eq!(*sequence, (u32::MAX - 10).wrapping_add((n * code.packets()) as u32));
                assert_eq!((*capture_time, *last, *repaired), (7 + n as u32 * 960, n == 19, false));
            }
        }
    }

    #[test]
    fn any_shares_that_are_enough_give_the_frame_back_and_fewer_do_not() {
        for code in Code::ALL {
            let said = frames(code, 3, 11, 9);
            let sent = burst(code, &said, 100);
            let middle = 100 + code.packets() as u32;
            for lost in 0u32..1 << code.shares() {
                let kept: Vec<_> = sent
                    .iter()
                    .filter(|packet| {
                        let number = packet.sequence.wrapping_sub(middle);
                        number >= code.shares() as u32 || lost & 1 << number == 0
                    })
                    .cloned()
                    .collect();
                let out = gather(&mut Gather::default(), &kept);
                let found = out.iter().find(|frame| frame.0 == middle);
                let there = code.shares() - lost.count_ones() as usize;
                assert_eq!(found.is_some(), there >= code.needed(), "{code:?} {lost:b}");
                if let Some((_, _, _, repaired, opus)) = found {
                    assert_eq!(*opus, said[1]);
                    assert_eq!(*repaired, lost & ((1 << code.needed()) - 1) != 0);
                }
            }
        }
    }

    #[test]
    fn a_share_is_as_long_as_the_rate_allows() {
        // 40 kbit/s: 100 bytes in 20 ms.
        assert_eq!(Code::ALL.map(|code| share_len(code, 40_000)), [25, 12]);
        assert_eq!(share_len(Code::ThreeOfEight, 0), 0);
        for code in Code::ALL {
            assert!(share_len(code, u32::MAX) * code.needed() <= MAX_SHARED);
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_right_or_not_at_all(
            code in 0usize..2,
            // In fewer bytes a share may be all zeros by chance.
            len in 8usize..22,
            lost in proptest::collection::vec(any::<bool>(), 200),
            order in proptest::collection::vec(0usize..6, 200),
            first: u32, seed: u8,
        ) {
            let code = Code::ALL[code];
            let said = frames(code, 20, len, seed);
            let mut sent: Vec<_> =
                burst(code, &said, first).into_iter().zip(&lost).filter(|(_, lost)| !**lost).map(|(sent, _)| sent).collect();
            for (at, later) in order.iter().enumerate() {
                if at + later < sent.len() {
                    sent.swap(at, at + later);
                }
            }
            let out = gather(&mut Gather::default(), &sent);
            let mut numbers: Vec<_> = out.iter().map(|frame| frame.0.wrapping_sub(first)).collect();
            for (sequence, _, last, _, opus) in &out {
                let number = sequence.wrapping_sub(first) as usize / code.packets();
                prop_assert_eq!(opus, &said[number]);
                prop_assert!(!last || number == 19);
            }
            numbers.sort_unstable();
            numbers.dedup();
            prop_assert_eq!(numbers.len(), out.len(), "no frame twice");
        }

        #[test]
        fn any_packets_are_taken_or_refused(
            packets in proptest::collection::vec(
                (0usize..2, 0u8..5, 0u32..40, any::<(u32, bool)>(), proptest::collection::vec(any::<u8>(), 0..120)),
                1..60,
            ),
        ) {
            let mut gather = Gather::default();
            for (code, at, sequence, (capture_time, last_of_burst), payload) in packets {
                let code = Code::ALL[code];
                let share = Share { code, at: at % code.packets() as u8 };
                let payload = &payload[..];
                gather.insert(&SharePacket { share, sequence, capture_time, last_of_burst, payload }, |frame| {
                    assert!(frame.opus.len() <= MAX_SHARED);
                });
            }
        }
    }
}
