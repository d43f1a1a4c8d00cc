//! One talker and one listener in virtual time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use voip_client::{
    Processing, TalkMode, TalkerStatistics, VoiceSettings,
    audio::Stamp,
    dsp::RATE,
    voice::{
        BLOCK, CaptureControls, CaptureLine, EncodedPacket, HeardFrame, Mixdown, PacketSink, Repair, ticks,
    },
};
use voip_protocol::{
    SessionId,
    limits::MAX_OPUS_FRAME,
    voice::{FrameDuration, Loss, Share, sound},
};

use super::{Link, Network};

/// Samples that the microphone hands over at once: 5 ms.
const CAPTURED: usize = 240;
/// How often the listener's figures are read.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the talker hears of the listener's losses: as often as it pings while it talks.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// The listener listens for so much longer than the talker talks.
const TAIL: Duration = Duration::from_secs(1);
/// Time before the talker's first sample.
const BEFORE: Duration = Duration::from_secs(1);
const TALKER: SessionId = SessionId(1);

/// A call to be.
#[derive(Clone, Debug)]
pub struct Call {
    /// How it is spoken; there is no key to press.
    pub settings: VoiceSettings,
    /// What lies between the two.
    pub network: Network,
    /// What happens there.
    pub seed: u64,
    /// How much faster the talker's sound card runs than it says, in millionths.
    pub talker_ppm: f64,
    /// How much faster the listener's does.
    pub listener_ppm: f64,
}

/// What a call was like.
pub struct Heard {
    /// What came out of the speaker, from the talker's first sample on.
    pub samples: Vec<f32>,
    /// Counters of the listener.
    pub talker: TalkerStatistics,
    /// Time that frames waited in the jitter buffer, on average, in ms.
    pub buffer_ms: f64,
    /// Bits for each second of sound that was sent, before they are sealed.
    pub payload: f64,
    /// Packets for each second of it.
    pub packets: f64,
}

/// A packet between the two.
struct Packet {
    sequence: u32,
    capture_time: u32,
    duration: FrameDuration,
    last_of_burst: bool,
    share: Option<Share>,
    payload: Vec<u8>,
}

/// Collects what the capture side makes.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<(Instant, Packet)>>>);

impl PacketSink for Sent {
    fn packet(&mut self, packet: EncodedPacket<'_>) {
        let sent = Packet {
            sequence: 0,
            capture_time: 0,
            duration: packet.duration,
            last_of_burst: packet.last_of_burst,
            share: packet.share,
            payload: packet.payload.to_vec(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((packet.captured_at, sent));
    }
}

impl Call {
    /// Over a network, as the app is set at first but for what is done to captured sound.
    pub fn over(network: Network, seed: u64) -> Self {
        let mode = TalkMode::Continuous;
        let settings = VoiceSettings { mode, processing: Processing::OFF, ..VoiceSettings::default() };
        Self { settings, network, seed, talker_ppm: 0.0, listener_ppm: 0.0 }
    }

    /// Says `said` (48 kHz) and listens.
    pub fn hear(&self, said: &[f32]) -> Heard {
        // The only clock that is read; everything else is counted from it. The encoder looks ahead: what it gives
        // first was captured before the first sample.
        let epoch = Instant::now();
        let start = epoch + BEFORE;
        let sent = Sent::default();
        let controls = Arc::new(CaptureControls::new(self.settings.clone()));
        let mut line = CaptureLine::new(Box::new(sent.clone()), Arc::clone(&controls));
        line.opened(RATE);
        let clock = move |at: Instant| Some(ticks(at.saturating_duration_since(epoch)));
        let mut mixdown = Mixdown::new(Arc::new(clock), epoch);
        let mut link = Link::new(self.network, self.seed);

        let time_of = |sample: usize, ppm: f64| {
            Duration::from_secs_f64(sample as f64 / (f64::from(RATE) * (1.0 + ppm * 1e-6)))
        };
        let end = time_of(said.len(), self.talker_ppm) + TAIL;
        let mut under_way: BTreeMap<(Duration, u64), Arc<Packet>> = BTreeMap::new();
        let (mut captured, mut sequence, mut carried) = (0, 0_u32, 0_u64);
        let (mut bytes, mut spoken) = (0, 0u32);
        let (mut samples, mut block) = (Vec::with_capacity(said.len() + RATE as usize), [0.0; BLOCK]);
        let (mut looked, mut waited) = (Duration::ZERO, Vec::new());
        let (mut told, mut repair) = (Duration::ZERO, Repair::default());
        loop {
            let now = time_of(samples.len(), self.listener_ppm);
            if now >= end {
                break;
            }
            // The microphone hands over what has been in the air.
            while let Some(part) = said.get(captured..captured + CAPTURED) {
                let handed_over = time_of(captured + CAPTURED, self.talker_ppm);
                if handed_over > now {
                    break;
                }
                let captured_at = start + time_of(captured, self.talker_ppm);
                line.stamp(Stamp { position: captured as u64, captured_at });
                line.samples(part);
                captured += CAPTURED;
                if captured + CAPTURED > said.len() {
                    // The talk ends with the microphone.
                    line.closed();
                }
                for (captured_at, mut packet) in
                    sent.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..)
                {
                    packet.sequence = sequence;
                    packet.capture_time = ticks(captured_at - epoch);
                    bytes += packet.payload.len();
                    spoken += sound(0, packet.duration, packet.share).1;
                    sequence += 1;
                    let packet = Arc::new(packet);
                    for arrival in link.carry(handed_over) {
                        under_way.insert((arrival, carried), Arc::clone(&packet));
                        carried += 1;
                    }
                }
            }
            while let Some(first) = under_way.first_entry().filter(|first| first.key().0 <= now) {
                let ((arrival, _), packet) = first.remove_entry();
                mixdown.receive(&heard_frame(&packet, start + arrival));
            }
            mixdown.render(&mut block, start + now, Some(Duration::ZERO));
            samples.extend_from_slice(&block);
            if now >= told {
                told += TOLD_EVERY;
                // As it comes over the wire, by the server; its way there and back is short beside the time measured over.
                let loss = mixdown.statistics().first().map_or(0.0, |talker| talker.felt_loss);
                controls.set_code(repair.told(Loss::from_share(loss).share(), true, start + now));
            }
            if now >= looked {
                looked += LOOK_EVERY;
                waited.extend(mixdown.statistics().first().map(|talker| f64::from(talker.buffer_ms)));
            }
        }
        let seconds = f64::from(spoken) / f64::from(RATE);
        Heard {
            samples,
            talker: mixdown.statistics().remove(0),
            buffer_ms: waited.iter().sum::<f64>() / waited.len().max(1) as f64,
            payload: bytes as f64 * 8.0 / seconds,
            packets: f64::from(sequence) / seconds,
        }
    }
}

fn heard_frame(packet: &Packet, arrival: Instant) -> HeardFrame {
    let mut bytes = [0; MAX_OPUS_FRAME];
    bytes[..packet.payload.len()].copy_from_slice(&packet.payload);
    HeardFrame {
        session: TALKER,
        sequence: packet.sequence,
        capture_time: packet.capture_time,
        arrival,
        duration: packet.duration,
        last_of_burst: packet.last_of_burst,
        share: packet.share,
        len: packet.payload.len() as u16,
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{likeness, speech::speech};

    #[test]
    fn what_is_said_is_heard_the_same_each_time() {
        let said = speech();
        let call = Call::over(Network { loss: 0.05, ..Network::WIFI }, 5);
        let (one, other) = (call.hear(&said), call.hear(&said));
        assert_eq!(one.samples, other.samples);
        assert_eq!(one.talker, other.talker);
        assert!(one.talker.lost > 0 && one.talker.repaired > 20, "{:?}", one.talker);
        assert!(one.buffer_ms > 2.0, "{}", one.buffer_ms);
        let perfect = Call::over(Network::PERFECT, 5).hear(&said);
        assert_eq!((perfect.talker.lost, perfect.talker.concealed), (0, 0));
        assert!((perfect.payload - 40_000.0).abs() < 1.0, "{}", perfect.payload);
        let judged = likeness::compare(&said, &perfect.samples);
        assert!(judged.likeness > 0.9, "{judged:?}");
    }

    #[test]
    fn loss_is_repaired_at_the_same_rate() {
        let said = speech().repeat(4);
        for (share, most) in [(0.1, 0.01), (0.3, 0.03)] {
            let heard = Call::over(Network::losing(share), 3).hear(&said);
            let frames = (heard.talker.received + heard.talker.lost) as f64;
            // The first second is lost before the talker hears of it.
            assert!((heard.talker.lost as f64) < frames * most + 100.0 * share, "{:?}", heard.talker);
            assert!(heard.payload < 40_050.0 && heard.payload > 38_000.0, "{}", heard.payload);
            assert!((f64::from(heard.talker.loss) - share).abs() < 0.06, "{:?}", heard.talker);
        }
    }

    #[test]
    fn sound_cards_that_run_at_different_speeds_keep_together() {
        let said = speech().repeat(6);
        for ppm in [200.0, -200.0] {
            let call = Call { talker_ppm: ppm, listener_ppm: -ppm, ..Call::over(Network::LAN, 1) };
            let heard = call.hear(&said);
            // In a minute they part by 24 ms.
            assert_eq!((heard.talker.lost, heard.talker.late), (0, 0), "{ppm}: {:?}", heard.talker);
            assert!(heard.talker.concealed <= 2, "{ppm}: {:?}", heard.talker);
            assert!((heard.buffer_ms - 5.0).abs() < 3.0, "{ppm}: {} ms", heard.buffer_ms);
            let apart = heard.talker.buffer_ms - heard.buffer_ms as f32;
            assert!(apart.abs() < 2.0, "{ppm}: {apart} ms at the end");
        }
    }
}
