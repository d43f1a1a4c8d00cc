//! Devices for tests: a microphone that hears what it is told to, a speaker that remembers.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    AudioError, Backend, DeviceInfo, Devices, InputStream, OutputStream, input, output,
    paced::{Source, Target, run_input, run_output},
};

const INPUT: &str = "scripted-microphone";
const OUTPUT: &str = "scripted-speaker";

/// A microphone and a speaker that follow a script, at the pace of real time. Clones are the same devices.
#[derive(Clone)]
pub struct Scripted {
    input_rate: u32,
    output_rate: u32,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    to_hear: VecDeque<f32>,
    heard_first: Option<Instant>,
    played: Vec<PlayedBlock>,
    input_unplugged: bool,
    output_unplugged: bool,
}

/// What the speaker played in one go.
#[derive(Clone, Debug)]
pub struct PlayedBlock {
    /// When its first sample left the speaker.
    pub at: Instant,
    /// Mono, at the speaker's rate.
    pub samples: Vec<f32>,
}

impl Scripted {
    /// Both devices at this rate, in Hz.
    pub fn new(sample_rate: u32) -> Self {
        Self::with_rates(sample_rate, sample_rate)
    }

    /// Each device at a rate of its own, in Hz.
    pub fn with_rates(input_rate: u32, output_rate: u32) -> Self {
        Self { input_rate, output_rate, state: Arc::default() }
    }

    /// The microphone hears this after all that it has been told before, and silence when there is no more.
    pub fn say(&self, samples: &[f32]) {
        self.state().to_hear.extend(samples);
    }

    /// When the first sample said since the last call was in front of the microphone; `None` if it was not yet.
    pub fn take_heard_first(&self) -> Option<Instant> {
        self.state().heard_first.take()
    }

    /// Samples said that the microphone has yet to hear.
    pub fn left_to_hear(&self) -> usize {
        self.state().to_hear.len()
    }

    /// All that the speaker has played, by block.
    pub fn played_blocks(&self) -> Vec<PlayedBlock> {
        self.state().played.clone()
    }

    /// All that the speaker has played.
    pub fn played(&self) -> Vec<f32> {
        self.state().played.iter().flat_map(|block| &block.samples).copied().collect()
    }

    /// Forgets what the speaker has played.
    pub fn clear_played(&self) {
        self.state().played.clear();
    }

    /// Pulls the microphone's plug, or puts it back.
    pub fn unplug_input(&self, unplugged: bool) {
        self.state().input_unplugged = unplugged;
    }

    /// Pulls the speaker's plug, or puts it back.
    pub fn unplug_output(&self, unplugged: bool) {
        self.state().output_unplugged = unplugged;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Scripted {
    fn devices(&self) -> Result<Devices, AudioError> {
        let state = self.state();
        let device = |name: &str| DeviceInfo { id: name.into(), name: name.into(), is_default: true };
        Ok(Devices {
            inputs: if state.input_unplugged { Vec::new() } else { vec![device(INPUT)] },
            outputs: if state.output_unplugged { Vec::new() } else { vec![device(OUTPUT)] },
        })
    }

    fn open_input(&self, id: Option<&str>) -> Result<InputStream, AudioError> {
        if self.state().input_unplugged || id.is_some_and(|id| id != INPUT) {
            return Err(AudioError::NoMicrophone);
        }
        let (feed, failure, stream) = input(INPUT.into(), self.input_rate);
        Ok(stream(run_input(self.input_rate, self.clone(), feed, failure)?))
    }

    fn open_output(&self, id: Option<&str>) -> Result<OutputStream, AudioError> {
        if self.state().output_unplugged || id.is_some_and(|id| id != OUTPUT) {
            return Err(AudioError::NoSpeaker);
        }
        let (feed, failure, stream) = output(OUTPUT.into(), self.output_rate);
        Ok(stream(run_output(self.output_rate, self.clone(), feed, failure)?))
    }
}

impl Source for Scripted {
    fn read(&mut self, block: &mut [f32], captured_at: Instant) -> Result<bool, AudioError> {
        let mut state = self.state();
        if state.input_unplugged {
            return Err(unplugged(INPUT));
        }
        if !state.to_hear.is_empty() {
            state.heard_first.get_or_insert(captured_at);
        }
        block.fill_with(|| state.to_hear.pop_front().unwrap_or(0.0));
        Ok(true)
    }
}

impl Target for Scripted {
    fn write(&mut self, block: &[f32], played_at: Instant) -> Result<(), AudioError> {
        let mut state = self.state();
        if state.output_unplugged {
            return Err(unplugged(OUTPUT));
        }
        state.played.push(PlayedBlock { at: played_at, samples: block.to_vec() });
        Ok(())
    }
}

fn unplugged(device: &str) -> AudioError {
    AudioError::Failed { device: device.into(), reason: "unplugged".into() }
}

impl PlayedBlock {
    /// When the sample at `index` left the speaker.
    pub fn time_of(&self, index: usize, sample_rate: u32) -> Instant {
        self.at + Duration::from_nanos(index as u64 * 1_000_000_000 / u64::from(sample_rate))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Waits for what another thread is about to do.
    fn until(mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "did not happen within 10 s");
            std::thread::yield_now();
        }
    }

    #[test]
    fn hears_what_is_said_at_real_time_pace_with_exact_stamps() {
        let devices = Scripted::new(48_000);
        let said: Vec<f32> = (1..=2_400).map(|n| n as f32).collect();
        devices.say(&said);
        let started = Instant::now();
        let mut stream = devices.open_input(None).unwrap();
        let mut heard = Vec::new();
        let mut block = [0.0; 512];
        until(|| {
            let count = stream.read(&mut block);
            heard.extend_from_slice(&block[..count]);
            heard.len() >= 2_400
        });
        assert!(started.elapsed() >= Duration::from_millis(50));
        assert_eq!(heard[..2_400], said);
        let stamps: Vec<_> = std::iter::from_fn(|| stream.stamp()).collect();
        assert_eq!(devices.take_heard_first(), Some(stamps[0].captured_at));
        for stamp in &stamps {
            let expected =
                stamps[0].captured_at + Duration::from_nanos(stamp.position * 1_000_000_000 / 48_000);
            let error = stamp.captured_at.max(expected) - stamp.captured_at.min(expected);
            assert!(error < Duration::from_micros(1), "{error:?}");
        }
    }

    #[test]
    fn plays_and_remembers_at_an_odd_rate() {
        let devices = Scripted::with_rates(48_000, 44_100);
        let mut stream = devices.open_output(None).unwrap();
        let said: Vec<f32> = (1..=4_410).map(|n| n as f32).collect();
        assert_eq!(stream.write(&said), 4_410);
        until(|| stream.queued() == 0);
        drop(stream);
        let played: Vec<_> = devices.played().into_iter().skip_while(|sample| *sample == 0.0).collect();
        assert_eq!(played[..4_410], said);
        let blocks = devices.played_blocks();
        let (first, last) = (&blocks[0], &blocks[blocks.len() - 1]);
        let before_last: usize = blocks[..blocks.len() - 1].iter().map(|block| block.samples.len()).sum();
        let (expected, error) = (first.time_of(before_last, 44_100), Duration::from_micros(1));
        assert!(last.at < expected + error && last.at + error > expected);
    }

    #[test]
    fn unplugging_fails_the_stream_and_opening_until_it_is_back() {
        let devices = Scripted::new(16_000);
        let (input, output) = (devices.open_input(None).unwrap(), devices.open_output(Some(OUTPUT)).unwrap());
        assert!(input.failed().is_none() && output.failed().is_none());
        devices.unplug_input(true);
        devices.unplug_output(true);
        until(|| input.failed().is_some() && output.failed().is_some());
        assert_eq!(devices.open_input(None).err(), Some(AudioError::NoMicrophone));
        assert_eq!(devices.open_output(None).err(), Some(AudioError::NoSpeaker));
        assert_eq!(devices.devices().unwrap(), Devices::default());
        devices.unplug_input(false);
        assert!(devices.open_input(Some(INPUT)).is_ok());
        assert_eq!(devices.open_input(Some("another")).err(), Some(AudioError::NoMicrophone));
    }
}
