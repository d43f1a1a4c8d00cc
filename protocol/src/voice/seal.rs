//! Sealing of Opus frames: SFrame (RFC 9605) with `AES_128_GCM_SHA256_128`.
//!
//! The SFrame header is not sent: key id and counter are functions of the packet's own header, so both ends
//! rebuild it, and nine bytes a packet are saved. It is authenticated as RFC 9605 §4.4.3 says, the packet's
//! header behind it as the metadata. Reasons: docs/decisions/001-voice-packet.md.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};
use sframe::{
    CipherSuite,
    crypto::{
        AeadDecrypt, AeadEncrypt, DecryptionBufferView, EncryptionBufferView, KeyDerivation,
        get_hkdf_key_expand_label, get_hkdf_salt_expand_label,
    },
    error::SframeError,
    header::{Counter, KeyId, SframeHeader},
    key::{GenericDecryptionKey, GenericEncryptionKey},
};
use zeroize::Zeroizing;

use super::header::{HEADER_LEN, Header};
use crate::{Epoch, SessionId, secret::ContextSecret};

/// What sealing adds to a frame, in bytes.
pub const SEAL_LEN: usize = 16;

const SUITE: CipherSuite = CipherSuite::AesGcm128Sha256;
const KEY_LEN: usize = 16;
/// Config byte, eight bytes of key id, eight of counter.
const MAX_SFRAME_HEADER: usize = 17;

/// SFrame's key id of a talker in an epoch: both are in it, so late packets of the last epoch still open.
pub fn key_id(epoch: Epoch, talker: SessionId) -> u64 {
    u64::from(epoch.0) << 32 | u64::from(talker.0)
}

/// The seal does not fit: forged, damaged, or under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the packet does not open under this key")]
pub struct CannotOpen;

/// A talker's own key in one epoch of a context.
pub struct SealingKey {
    key: GenericEncryptionKey<AwsLc, AwsLc>,
    epoch: Epoch,
    talker: SessionId,
}

impl SealingKey {
    /// Derives the key (RFC 9605 §4.4.2).
    pub fn derive(secret: &ContextSecret, epoch: Epoch, talker: SessionId) -> Self {
        let key = GenericEncryptionKey::derive_from(SUITE, key_id(epoch, talker), secret.expose())
            .expect("the one suite that AwsLc refuses nothing of");
        Self { key, epoch, talker }
    }

    /// Generation that the key is of.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Writes the packet of `frame` into `out`, and returns its length: header, ciphertext, seal.
    ///
    /// The caller never uses a sequence number twice in a session. Does not allocate.
    ///
    /// # Panics
    /// If `out` is shorter than the packet.
    pub fn seal(&self, header: Header, frame: &[u8], out: &mut [u8]) -> usize {
        let header = Header { epoch: self.epoch, session: self.talker, ..header };
        let (clear, rest) = out.split_at_mut(HEADER_LEN);
        clear.copy_from_slice(&header.to_bytes());
        let (data, rest) = rest.split_at_mut(frame.len());
        data.copy_from_slice(frame);
        let mut aad = AadBuffer::new(self.key.key_id(), &header);
        let view = EncryptionBufferView { aad: aad.bytes(), data, tag: &mut rest[..SEAL_LEN] };
        self.key
            .encrypt(view, Counter::from(header.sequence))
            .expect("AES-GCM refuses only frames of gigabytes");
        HEADER_LEN + frame.len() + SEAL_LEN
    }
}

/// A listener's key of one talker in one epoch of a context.
pub struct OpeningKey {
    key: GenericDecryptionKey<AwsLc, AwsLc>,
}

impl OpeningKey {
    /// Derives the key (RFC 9605 §4.4.2).
    pub fn derive(secret: &ContextSecret, epoch: Epoch, talker: SessionId) -> Self {
        let key = GenericDecryptionKey::derive_from(SUITE, key_id(epoch, talker), secret.expose())
            .expect("the one suite that AwsLc refuses nothing of");
        Self { key }
    }

    /// Opens `sealed` in place and returns the Opus frame at its start. Does not allocate.
    pub fn open<'a>(&self, header: &Header, sealed: &'a mut [u8]) -> Result<&'a [u8], CannotOpen> {
        let length = sealed.len().checked_sub(SEAL_LEN).ok_or(CannotOpen)?;
        let mut aad = AadBuffer::new(self.key.key_id(), header);
        let view = DecryptionBufferView { aad: aad.bytes(), data: sealed };
        self.key.decrypt(view, Counter::from(header.sequence)).map_err(|_| CannotOpen)?;
        Ok(&sealed[..length])
    }
}

/// SFrame header, then the packet's: what is authenticated besides the frame.
struct AadBuffer {
    bytes: [u8; MAX_SFRAME_HEADER + HEADER_LEN],
    length: usize,
}

impl AadBuffer {
    fn new(key_id: KeyId, header: &Header) -> Self {
        let mut bytes = [0; MAX_SFRAME_HEADER + HEADER_LEN];
        let sframe = SframeHeader::new(key_id, Counter::from(header.sequence));
        let split = sframe.len();
        sframe.serialize(&mut bytes[..split]).expect("the buffer takes the largest SFrame header");
        let length = split + HEADER_LEN;
        bytes[split..length].copy_from_slice(&header.to_bytes());
        Self { bytes, length }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }
}

/// SFrame's cryptography by aws-lc-rs.
struct AwsLc;

struct FrameSecret {
    key: LessSafeKey,
    salt: [u8; NONCE_LEN],
}

impl FrameSecret {
    /// The salt, with the counter in its last bytes (RFC 9605 §4.4.3).
    fn nonce(&self, counter: Counter) -> Nonce {
        let mut nonce = self.salt;
        for (byte, counter) in nonce[NONCE_LEN - 8..].iter_mut().zip(counter.to_be_bytes()) {
            *byte ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

impl TryFrom<CipherSuite> for AwsLc {
    type Error = SframeError;

    fn try_from(suite: CipherSuite) -> Result<Self, SframeError> {
        if matches!(suite, SUITE) { Ok(Self) } else { Err(SframeError::KeyDerivationFailure) }
    }
}

impl KeyDerivation for AwsLc {
    type Secret = FrameSecret;

    fn expand_from<M: AsRef<[u8]>, K: Into<KeyId>>(
        suite: CipherSuite,
        base_key: M,
        key_id: K,
    ) -> Result<FrameSecret, SframeError> {
        let key_id = key_id.into();
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(base_key.as_ref());
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let mut salt = [0; NONCE_LEN];
        expand(&extracted, &get_hkdf_key_expand_label(key_id, suite), &mut *key)?;
        expand(&extracted, &get_hkdf_salt_expand_label(key_id, suite), &mut salt)?;
        let key = UnboundKey::new(&AES_128_GCM, &*key).map_err(|_| SframeError::KeyDerivationFailure)?;
        Ok(FrameSecret { key: LessSafeKey::new(key), salt })
    }
}

fn expand(extracted: &hkdf::Prk, label: &[u8], out: &mut [u8]) -> Result<(), SframeError> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    extracted
        .expand(&[label], Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(|_| SframeError::KeyDerivationFailure)
}

impl AeadEncrypt for AwsLc {
    type Secret = FrameSecret;

    fn encrypt<'a, B>(&self, secret: &FrameSecret, buffer: B, counter: Counter) -> Result<(), SframeError>
    where
        B: Into<EncryptionBufferView<'a>>,
    {
        let EncryptionBufferView { aad, data, tag } = buffer.into();
        let seal = secret
            .key
            .seal_in_place_separate_tag(secret.nonce(counter), Aad::from(aad), data)
            .map_err(|_| SframeError::EncryptionFailure)?;
        tag.copy_from_slice(seal.as_ref());
        Ok(())
    }
}

impl AeadDecrypt for AwsLc {
    type Secret = FrameSecret;

    fn decrypt<'a, B>(&self, secret: &FrameSecret, buffer: B, counter: Counter) -> Result<(), SframeError>
    where
        B: Into<DecryptionBufferView<'a>>,
    {
        let DecryptionBufferView { aad, data } = buffer.into();
        secret
            .key
            .open_in_place(secret.nonce(counter), Aad::from(aad), data)
            .map_err(|_| SframeError::DecryptionFailure)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sframe::frame::{MediaFrameView, MonotonicCounter};

    use super::{super::header::tests::headers, *};
    use crate::{
        ContextId,
        voice::{Code, FrameDuration, Loss, LossReport, Ping, SHARED, Share, TAG_LEN, TagKey, VoicePacket},
    };

    /// RFC 9605, appendix C.3, `AES_128_GCM_SHA256_128`.
    #[test]
    fn agrees_with_the_rfc() {
        let base_key = hex::decode("000102030405060708090a0b0c0d0e0f").unwrap();
        let (key_id, counter) = (0x123, 0x4567);
        let metadata = hex::decode("4945544620534672616d65205747").unwrap();
        let plaintext = hex::decode("64726166742d696574662d736672616d652d656e63").unwrap();
        let expected = "9901234567b7412c2513a1b66dbb48841bbaf17f598751176ad847681a69c6d0b091c07018ce4adb34eb";
        let key = GenericEncryptionKey::<AwsLc, AwsLc>::derive_from(SUITE, key_id as u64, &base_key).unwrap();
        let mut sequence = MonotonicCounter::with_start_value(counter, u64::MAX);
        let frame = MediaFrameView::try_with_meta_data(&mut sequence, &plaintext, &metadata).unwrap();
        let mut out = Vec::new();
        let sealed = frame.encrypt_into(&key, &mut out).unwrap();
        assert_eq!(hex::encode(sealed.sframe_cipher_text()), expected);
    }

    proptest! {
        #[test]
        fn opens_what_was_sealed_and_nothing_else(
            header in headers(), secret: [u8; 32], frame in proptest::collection::vec(any::<u8>(), 1..300), flip: u16,
        ) {
            let secret = ContextSecret::new(secret);
            let sealing = SealingKey::derive(&secret, header.epoch, header.session);
            let opening = OpeningKey::derive(&secret, header.epoch, header.session);
            let mut out = [0; 400];
            let length = sealing.seal(header, &frame, &mut out);
            prop_assert_eq!(length, HEADER_LEN + frame.len() + SEAL_LEN);

            let mut good = out[..length].to_vec();
            let read = VoicePacket::parse(&good).unwrap().header;
            prop_assert_eq!(read, header);
            prop_assert_eq!(opening.open(&read, &mut good[HEADER_LEN..]), Ok(&frame[..]));

            let mut bad = out[..length].to_vec();
            let bit = usize::from(flip) % (length * 8);
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(read) = Header::parse(&bad) {
                prop_assert_eq!(opening.open(&read, &mut bad[HEADER_LEN..]), Err(CannotOpen));
            }
        }
    }

    /// The vectors of docs/voice-packet.md.
    #[test]
    fn agrees_with_the_written_vectors() {
        let secret = ContextSecret::new(std::array::from_fn(|at| at as u8));
        let uplink = TagKey::new(&crate::secret::TagSecret::new(std::array::from_fn(|at| 0x80 | at as u8)));
        let header = Header {
            session: SessionId(0x0102_0304),
            context: ContextId(7),
            epoch: Epoch(2),
            sequence: 0x4567,
            capture_time: 0x89ab_cdef,
            duration: FrameDuration::Ms10,
            last_of_burst: true,
            share: None,
        };
        let mut out = [0; 200];
        let length =
            SealingKey::derive(&secret, Epoch(2), header.session).seal(header, b"an Opus frame", &mut out);
        let tag = uplink.tag(&out[..length]);
        let vectors = include_str!("../../../docs/voice-packet.md");
        let ping = |follow, report| {
            Ping { session: header.session, sequence: 9, client_time: 0x00bc_614e, follow, report }
                .to_bytes(&uplink)
        };
        let report = LossReport { talker: SessionId(0x0506_0708), loss: Loss(26) };
        let (ping, probe, reporting) = (ping(true, None), ping(false, None), ping(true, Some(report)));
        for part in [&out[..HEADER_LEN], &out[HEADER_LEN..length], &tag[..], &ping, &probe, &reporting] {
            assert!(vectors.contains(&hex::encode(part)), "not in the document: {}", hex::encode(part));
        }
        let share = Some(Share { code: Code::ThreeOfEight, at: 2 });
        let shared = Header { duration: SHARED, last_of_burst: false, share, ..header };
        assert!(vectors.contains(&format!("| `{:x}` |", shared.to_bytes()[1])));
    }

    /// Opus at 40 kbit/s in frames of 10 ms is 50 bytes.
    #[test]
    fn a_packet_at_most_doubles_its_frame() {
        let mut out = [0; 200];
        let secret = ContextSecret::new([1; 32]);
        let header = Header {
            session: SessionId(u32::MAX),
            context: ContextId(u32::MAX),
            epoch: Epoch(u16::MAX),
            sequence: u32::MAX,
            capture_time: u32::MAX,
            duration: FrameDuration::Ms10,
            last_of_burst: true,
            share: None,
        };
        let length =
            SealingKey::derive(&secret, header.epoch, header.session).seal(header, &[0; 50], &mut out);
        assert_eq!(length + TAG_LEN, 94);
    }
}
