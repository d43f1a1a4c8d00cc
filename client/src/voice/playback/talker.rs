//! One talker, as heard here: jitter buffer, decoder, and the sound that is ready to be mixed.

use voip_protocol::{
    SessionId,
    voice::{FrameDuration, SHARED, Share},
};

use super::{HeardFrame, mixdown::BLOCK};
use crate::{
    TalkerStatistics,
    dsp::{
        Arrival, Decoder, Frame, Gather, Jitter, Leveler, LossMeter, Pace, Pull, RATE, STRETCH_MIN,
        STRETCH_ROOM, SharePacket, dbfs, fade_in, fade_out, lengthen, peak, shorten,
    },
};

/// Samples over which a burst rises from and falls to silence (2.5 ms).
const FADE: usize = 120;
/// Frames that are quieter than this, in dBFS, may be left out to catch up.
const QUIET: f32 = -50.0;
/// Sound is shortened when it comes this much later than needed, in ticks; and however little it is like itself when
/// it comes that much later.
const LATE: i32 = 20 * RATE as i32 / 1_000;
const VERY_LATE: i32 = 80 * RATE as i32 / 1_000;
/// Sound is lengthened when it comes this much too early to be safe.
const EARLY: i32 = 8 * RATE as i32 / 1_000;
/// Likeness that is enough to shorten what is late, and to lengthen what is early.
const ALIKE: f32 = 0.7;
/// Sound that may be ready at once: nearly what is needed to stretch it, another frame, and what it gets longer by.
const ROOM: usize = STRETCH_MIN + FrameDuration::Ms60.samples() + STRETCH_ROOM;
/// Share of a new frame in the smoothed surplus, by which the pace is set.
const PACING: f32 = 0.25;
/// Samples that a block may take more than it has, by its pace.
const SLIP: usize = 1;
/// Share of a new measurement in the smoothed estimate of mouth to ear.
const SMOOTHING: f32 = 1.0 / 16.0;
/// Estimates beyond this (a minute, in ticks) are no delays: the clocks have nothing to do with each other.
const ABSURD: u32 = 60 * RATE;

pub(super) struct Talker {
    session: SessionId,
    losses: LossMeter,
    gather: Gather,
    jitter: Jitter,
    decoder: Decoder,
    /// What has been decoded and not been mixed: `sound[start..end]`.
    sound: [f32; ROOM],
    start: usize,
    end: usize,
    /// How much longer than needed frames wait, smoothed, in ticks; and the pace that makes up for it.
    surplus: f32,
    pace: Pace,
    /// The last frame was quiet.
    was_quiet: bool,
    heard_at: u64,
    /// Frames that no decoder takes, and are made up; packets whose shares are none.
    undecodable: u64,
    malformed: u64,
    /// Frames that are whole although part of them was lost.
    repaired: u64,
    leveler: Leveler,
    mouth_to_ear: Option<f32>,
    /// Counters from before this talker was let go.
    before: Option<TalkerStatistics>,
}

/// What is kept of a talker who has been let go.
pub(super) struct Gone {
    pub(super) statistics: TalkerStatistics,
    leveler: Leveler,
}

impl Talker {
    /// `None`: the system has no memory for another decoder.
    pub(super) fn new(session: SessionId, before: Option<Gone>) -> Option<Self> {
        let decoder = Decoder::new().ok()?;
        let (before, leveler) = before.map(|gone| (gone.statistics, gone.leveler)).unzip();
        Some(Self {
            session,
            losses: LossMeter::default(),
            gather: Gather::default(),
            jitter: Jitter::default(),
            decoder,
            sound: [0.0; ROOM],
            start: 0,
            end: 0,
            surplus: 0.0,
            pace: Pace::new(BLOCK),
            was_quiet: false,
            heard_at: 0,
            undecodable: 0,
            malformed: 0,
            repaired: 0,
            leveler: leveler.unwrap_or_default(),
            mouth_to_ear: None,
            before,
        })
    }

    /// Counters and what is known of the voice stay; what is lost of late is nothing.
    pub(super) fn let_go(self) -> Gone {
        let statistics = TalkerStatistics { loss: 0.0, felt_loss: 0.0, ..self.statistics() };
        Gone { statistics, leveler: self.leveler }
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    /// When the last frame came.
    pub(super) fn heard_at(&self) -> u64 {
        self.heard_at
    }

    pub(super) fn forget_losses(&mut self) {
        self.losses = LossMeter::default();
    }

    pub(super) fn is_idle(&self) -> bool {
        self.jitter.is_idle()
    }

    pub(super) fn receive(&mut self, frame: &HeardFrame, at: u64) {
        self.heard_at = self.heard_at.max(at);
        let (captured, samples) = frame.sound();
        self.losses.observe(frame.sequence, captured, samples);
        match frame.share {
            None => {
                self.jitter.insert(&Arrival {
                    sequence: frame.sequence,
                    packets: 1,
                    capture_time: frame.capture_time,
                    duration: frame.duration,
                    last_of_burst: frame.last_of_burst,
                    at,
                    spread: 0,
                    opus: frame.payload(),
                });
            }
            Some(share) => self.gather(frame, share, at),
        }
    }

    fn gather(&mut self, frame: &HeardFrame, share: Share, at: u64) {
        let packet = SharePacket {
            share,
            sequence: frame.sequence,
            capture_time: frame.capture_time,
            last_of_burst: frame.last_of_burst,
            payload: frame.payload(),
        };
        // As if the packet were one of frames that need no other: it was sent when so much had been captured.
        let (captured, interval) = frame.sound();
        let behind = (SHARED.samples() - FrameDuration::Ms10.samples()) as u32;
        // A burst's last packets come before their time.
        if !frame.last_of_burst {
            self.jitter.packet(captured.wrapping_add(behind), at, interval);
        }
        let spread = behind + share.code.sent_after(share.code.shares() - 1) as u32;
        let (jitter, repaired) = (&mut self.jitter, &mut self.repaired);
        let taken = self.gather.insert(&packet, |whole| {
            *repaired += u64::from(whole.repaired);
            jitter.insert(&Arrival {
                sequence: whole.sequence,
                packets: whole.packets,
                capture_time: whole.capture_time,
                duration: SHARED,
                last_of_burst: whole.last_of_burst,
                at,
                spread,
                opus: whole.opus,
            });
        });
        self.malformed += u64::from(!taken);
    }

    /// Fills `voice` with the talker's next sound; false: it is silence, and `voice` is as it was. `heard_at`: the
    /// server's clock when the first sample is heard. `levels`: as loud as everybody.
    pub(super) fn render(
        &mut self,
        voice: &mut [f32; BLOCK],
        now: u64,
        heard_at: Option<u32>,
        levels: bool,
    ) -> bool {
        let (mut filled, mut sound) = (0, [0.0; BLOCK + SLIP]);
        let needed = self.pace.needs().min(sound.len());
        while filled < needed {
            if self.start == self.end
                && !self.refill(now + filled as u64, heard_at.map(|at| at.wrapping_add(filled as u32)))
            {
                break;
            }
            let count = (needed - filled).min(self.end - self.start);
            sound[filled..filled + count].copy_from_slice(&self.sound[self.start..self.start + count]);
            (filled, self.start) = (filled + count, self.start + count);
        }
        if filled > 0 {
            self.pace.process(&sound[..needed], voice);
            self.leveler.process(voice, levels);
            // Between blocks only: a block is planned before it is filled.
            self.pace.catch_up(self.surplus);
        }
        filled > 0
    }

    pub(super) fn statistics(&self) -> TalkerStatistics {
        let counters = self.jitter.counters();
        let before = |of: fn(&TalkerStatistics) -> u64| self.before.as_ref().map_or(0, of);
        TalkerStatistics {
            session: self.session,
            received: before(|b| b.received) + counters.received,
            lost: before(|b| b.lost) + counters.lost,
            late: before(|b| b.late) + counters.late,
            concealed: before(|b| b.concealed) + counters.concealed + self.undecodable,
            repaired: before(|b| b.repaired) + self.repaired,
            malformed: before(|b| b.malformed) + self.undecodable + self.malformed,
            loss: self.losses.share(),
            felt_loss: self.losses.felt(),
            buffer_ms: self.jitter.delay() * 1_000.0 / RATE as f32,
            mouth_to_ear_ms: self.mouth_to_ear,
        }
    }

    /// Gets the next sound ready; false: there is none now.
    fn refill(&mut self, now: u64, heard_at: Option<u32>) -> bool {
        (self.start, self.end) = (0, 0);
        loop {
            match self.jitter.pull(now) {
                Pull::Silence => break,
                Pull::Conceal { samples, last } => {
                    let sound = &mut self.sound[self.end..self.end + samples];
                    conceal(&mut self.decoder, sound);
                    if last {
                        fade_out(sound);
                    }
                    self.end += samples;
                    break;
                }
                Pull::Frame(frame) => {
                    let samples = frame.duration.samples();
                    let sound = &mut self.sound[self.end..self.end + samples];
                    self.undecodable += u64::from(!decode(&mut self.decoder, &frame, sound));
                    self.leveler.learn(sound);
                    note_surplus(&mut self.surplus, &frame);
                    let quiet = dbfs(peak(sound)) < QUIET;
                    let was_quiet = std::mem::replace(&mut self.was_quiet, quiet) && !frame.first;
                    if frame.surplus >= samples as i32 && was_quiet && quiet && !frame.last {
                        continue;
                    }
                    if let Some(heard_at) = heard_at {
                        let heard_at = heard_at.wrapping_add(self.end as u32);
                        let delay = heard_at.wrapping_sub(frame.capture_time).cast_signed();
                        note_delay(&mut self.mouth_to_ear, delay);
                    }
                    self.end += samples;
                    if frame.surplus <= -EARLY && !frame.last {
                        self.end = lengthen(&mut self.sound, self.end, ALIKE);
                    }
                    // With the end of a burst the lateness ends too.
                    if frame.last || frame.surplus < LATE {
                        break;
                    }
                    if self.end >= STRETCH_MIN {
                        let likeness = if frame.surplus < VERY_LATE { ALIKE } else { -1.0 };
                        self.end = shorten(&mut self.sound[..self.end], likeness);
                        break;
                    }
                }
            }
        }
        self.end > 0
    }
}

/// How much longer than needed frames wait, by one more of them.
fn note_surplus(smoothed: &mut f32, frame: &Frame<'_>) {
    let surplus = frame.surplus as f32;
    *smoothed = if frame.first { surplus } else { *smoothed + (surplus - *smoothed) * PACING };
}

/// Decodes a frame with its fades; false: it was none, and is made up.
fn decode(decoder: &mut Decoder, frame: &Frame<'_>, sound: &mut [f32]) -> bool {
    if frame.first {
        // A decoder that cannot be reset goes on from where it was: a blemish at most.
        let _ = decoder.reset();
    }
    let decoded = decoder.decode(frame.opus, frame.duration, sound).is_ok();
    if !decoded {
        conceal(decoder, sound);
    }
    if frame.first {
        fade_in(&mut sound[..FADE]);
    }
    if frame.last {
        fade_out(&mut sound[frame.duration.samples() - FADE..]);
    }
    decoded
}

fn conceal(decoder: &mut Decoder, sound: &mut [f32]) {
    if decoder.conceal(sound).is_err() {
        sound.fill(0.0);
    }
}

fn note_delay(smoothed: &mut Option<f32>, delay: i32) {
    if delay.unsigned_abs() > ABSURD {
        return;
    }
    let ms = delay as f32 * 1_000.0 / RATE as f32;
    *smoothed = Some(smoothed.map_or(ms, |before| before + (ms - before) * SMOOTHING));
}
