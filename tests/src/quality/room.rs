//! Where somebody speaks: noise, and what comes back from a loudspeaker.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use voip_client::{
    Processing,
    dsp::{PROCESSED, Processor, RATE},
};

/// Samples of a second.
const SECOND: usize = RATE as usize;
/// Pieces that are told apart as speech and pause: 20 ms.
const PIECE: usize = SECOND / 50;

/// What disturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// Air, and the hum of a motor.
    Fan,
    /// Keys that are hit, six a second on average.
    Keyboard,
    /// Six others who speak at the same time.
    Babble,
}

impl Noise {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fan, Self::Keyboard, Self::Babble];

    /// As long as `said`, and by `below` dB quieter than speech in it. Babble is made of `said` itself, at other times.
    pub fn beside(self, said: &[f32], below: f64, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut noise = match self {
            Self::Fan => fan(said.len(), &mut random),
            Self::Keyboard => keyboard(said.len(), &mut random),
            Self::Babble => babble(said, &mut random),
        };
        let speech = Activity::of(said).loudness(said, true);
        let gain = 10f64.powf((speech - below - level(&noise)) / 20.0) as f32;
        for sample in &mut noise {
            *sample *= gain;
        }
        noise
    }
}

fn fan(count: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut air = 0.0;
    (0..count)
        .map(|n| {
            // Most of it below 1 kHz.
            air += 0.12 * (random.random_range(-1.0..1.0) - air);
            let at = n as f32 / RATE as f32 * std::f32::consts::TAU;
            air + 0.05 * (at * 98.0).sin() + 0.03 * (at * 196.0).sin() + 0.02 * (at * 490.0).sin()
        })
        .collect()
}

fn keyboard(count: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let (mut keys, mut at) = (vec![0.0; count], 0);
    loop {
        at += random.random_range(SECOND / 20..SECOND * 17 / 60);
        if at >= count {
            return keys;
        }
        // Down and up again: each a click that rings.
        let (up, loud) = (random.random_range(SECOND / 20..SECOND / 10), random.random_range(0.5f32..1.0));
        for (start, loud) in [(at, loud), (at + up, loud * 0.5)] {
            let pitch = random.random_range(1_500.0f32..5_000.0);
            for n in 0..SECOND / 50 {
                let Some(sample) = keys.get_mut(start + n) else { break };
                let time = n as f32 / RATE as f32;
                let ring = (time * pitch * std::f32::consts::TAU).sin() + random.random_range(-1.0..1.0);
                *sample += loud * ring * (-time / 0.003).exp();
            }
        }
    }
}

fn babble(said: &[f32], random: &mut ChaCha8Rng) -> Vec<f32> {
    let mut others = vec![0.0; said.len()];
    for _ in 0..6 {
        let later = random.random_range(SECOND * 5..said.len() - SECOND * 5);
        for (sample, other) in others.iter_mut().zip(said.iter().cycle().skip(later)) {
            *sample += other;
        }
    }
    others
}

/// The same speech with a second of silence in each of its pauses.
pub fn with_pauses(said: &[f32]) -> Vec<f32> {
    let activity = Activity::of(said);
    let mut out = Vec::with_capacity(2 * said.len());
    let mut quiet = 0;
    for (at, piece) in said.chunks(PIECE).enumerate() {
        out.extend_from_slice(piece);
        quiet = if activity.0.get(at) == Some(&false) { quiet + 1 } else { 0 };
        // What ends has died away, and what begins has not begun.
        let next = activity.0[(at + 1).min(activity.0.len())..].iter().take(2);
        if quiet == 3 && next.eq(&[false; 2]) {
            out.resize(out.len() + SECOND, 0.0);
        }
    }
    out
}

/// When somebody speaks, for each 20 ms.
pub struct Activity(Vec<bool>);

impl Activity {
    /// Of clean speech: pieces that are no more than 30 dB below the loudest.
    pub fn of(said: &[f32]) -> Self {
        let levels: Vec<f64> = said.chunks_exact(PIECE).map(level).collect();
        let loudest = levels.iter().copied().fold(f64::MIN, f64::max);
        Self(levels.iter().map(|level| *level > loudest - 30.0).collect())
    }

    /// The level in dB of `heard`, which is in the time of what was said, where there is speech or where there is none
    /// for a while.
    pub fn loudness(&self, heard: &[f32], speech: bool) -> f64 {
        let around = |at: usize| &self.0[at.saturating_sub(5)..(at + 6).min(self.0.len())];
        let wanted = |at: usize| if speech { self.0[at] } else { !around(at).contains(&true) };
        let pieces: Vec<f32> = heard
            .chunks_exact(PIECE)
            .take(self.0.len())
            .enumerate()
            // What adapts has five seconds.
            .filter(|(at, _)| *at >= 250 && wanted(*at))
            .flat_map(|(_, piece)| piece.iter().copied())
            .collect();
        level(&pieces)
    }

    /// For each sample.
    pub fn samples(&self) -> impl Iterator<Item = bool> + '_ {
        self.0.iter().flat_map(|speaks| std::iter::repeat_n(*speaks, PIECE))
    }

    /// Whether somebody speaks within so many samples around `sample`.
    pub fn near(&self, sample: usize, around: usize) -> bool {
        let (at, around) = (sample / PIECE, around.div_ceil(PIECE));
        self.0[at.saturating_sub(around)..(at + around + 1).min(self.0.len())].contains(&true)
    }

    /// Samples at which somebody begins to speak after so many of silence.
    pub fn beginnings(&self, after: usize) -> impl Iterator<Item = usize> + '_ {
        let after = after.div_ceil(PIECE);
        let silent = move |at: usize| at >= after && !self.0[at - after..at].contains(&true);
        (0..self.0.len()).filter(move |at| self.0[*at] && silent(*at)).map(|at| at * PIECE)
    }

    /// By how many dB speech is louder than what is between.
    pub fn above_noise(&self, heard: &[f32]) -> f64 {
        self.loudness(heard, true) - self.loudness(heard, false)
    }
}

/// In dB.
pub fn level(sound: &[f32]) -> f64 {
    let energy: f64 = sound.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    10.0 * (energy / sound.len().max(1) as f64 + 1e-12).log10()
}

/// What the microphone hears of a loudspeaker in a small room: 35 ms later, with some reverberation, 6 dB quieter.
pub fn echo_of(played: &[f32], seed: u64) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let later = SECOND * 35 / 1_000;
    // A direct way, and sixty more that die away within 120 ms.
    let mut ways = vec![(later, 0.4f32)];
    for _ in 0..60 {
        let more = random.random_range(SECOND / 1_000..SECOND * 12 / 100);
        let loud = 0.12 * (-(more as f32) / (SECOND as f32 * 0.03)).exp();
        ways.push((later + more, if random.random() { loud } else { -loud }));
    }
    let mut echo = vec![0.0; played.len()];
    for (later, loud) in ways {
        for (sample, played) in echo.iter_mut().skip(later).zip(played) {
            *sample += loud * played;
        }
    }
    echo
}

/// What is sent of what a microphone captures beside a speaker that plays, in the captured sound's time.
pub fn processed(settings: &Processing, captured: &[f32], played: &[f32]) -> Vec<f32> {
    let mut processor = Processor::default();
    processor.follow(settings, false, &mut Vec::new());
    let behind = processor.behind();
    let (mut far, mut heard) = rtrb::RingBuffer::new(SECOND);
    let mut out = Vec::with_capacity(captured.len());
    for (captured, played) in captured.chunks_exact(PROCESSED).zip(played.chunks_exact(PROCESSED)) {
        for sample in played {
            // The ring is emptied each time.
            let _ = far.push(*sample);
        }
        processor.hear(&mut heard);
        processor.process(captured, |samples| out.extend_from_slice(samples));
    }
    out.drain(..behind.min(out.len()));
    out.resize(captured.len(), 0.0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::speech;

    #[test]
    fn noise_is_as_loud_as_asked_for_and_always_the_same() {
        let said = speech().repeat(4);
        let activity = Activity::of(&said);
        for noise in Noise::ALL {
            let one = noise.beside(&said, 10.0, 3);
            assert_eq!(one, noise.beside(&said, 10.0, 3));
            assert_ne!(one, noise.beside(&said, 10.0, 4));
            let below = activity.loudness(&said, true) - level(&one);
            assert!((below - 10.0).abs() < 0.1, "{noise:?}: {below}");
        }
    }

    #[test]
    fn what_is_not_processed_comes_out_as_it_is() {
        let said = speech();
        let whole = said.len() / PROCESSED * PROCESSED;
        let out = processed(&Processing::OFF, &said, &vec![0.0; said.len()]);
        assert_eq!(out[..whole], said[..whole]);
    }
}
