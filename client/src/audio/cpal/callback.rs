//! What runs on the sound card's thread. `tests/no_alloc.rs` proves that it allocates nothing.

use std::time::{Duration, Instant};

use cpal::{FromSample, SizedSample};

use crate::audio::{InputFeed, OutputFeed};

/// Takes in what a microphone of so many channels has captured, mixed down to one. It is given the samples and the
/// age of the first of them.
pub fn microphone_callback<T>(
    mut feed: InputFeed,
    channels: usize,
) -> impl FnMut(&[T], Duration) + Send + 'static
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let channels = channels.max(1);
    move |data, age| {
        let now = Instant::now();
        let sum = |frame: &[T]| frame.iter().map(|sample| f32::from_sample_(*sample)).sum::<f32>();
        let mono = data.chunks_exact(channels).map(|frame| sum(frame) / channels as f32);
        feed.push(data.len() / channels, now.checked_sub(age).unwrap_or(now), mono);
    }
}

/// Fills what a speaker of so many channels is about to play, the same in all of them. It is given the room and the
/// time until the first sample is heard.
pub fn speaker_callback<T>(
    mut feed: OutputFeed,
    channels: usize,
) -> impl FnMut(&mut [T], Duration) + Send + 'static
where
    T: SizedSample + FromSample<f32>,
{
    let channels = channels.max(1);
    move |data, ahead| {
        let count = data.len() / channels;
        let mut frames = data.chunks_exact_mut(channels);
        feed.pull(count, ahead, |sample| {
            if let Some(frame) = frames.next() {
                frame.fill(T::from_sample_(sample));
            }
        });
    }
}
