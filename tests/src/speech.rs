//! Recorded speech: what Debian's alsa-utils brings to test speakers with, 48 kHz, mono.

use std::path::Path;

/// Where alsa-utils puts it.
const FOLDER: &str = "/usr/share/sounds/alsa";
const PARTS: [&str; 6] =
    ["Front_Center", "Front_Left", "Front_Right", "Rear_Center", "Side_Left", "Side_Right"];

/// About ten seconds of a woman's voice, at 48 kHz, with pauses.
///
/// # Panics
/// If alsa-utils is not installed.
pub fn speech() -> Vec<f32> {
    PARTS.iter().flat_map(|part| read(&Path::new(FOLDER).join(format!("{part}.wav")))).collect()
}

/// A 48 kHz WAV file, mixed down to mono.
pub fn read(path: &Path) -> Vec<f32> {
    let reader = hound::WavReader::open(path);
    let mut reader = reader
        .unwrap_or_else(|error| panic!("{}: {error} (`make setup` installs alsa-utils)", path.display()));
    let spec = reader.spec();
    assert_eq!(spec.sample_rate, 48_000, "{}", path.display());
    let scale = 1.0 / (1u64 << (spec.bits_per_sample - 1)) as f32;
    let samples: Vec<f32> = reader.samples::<i32>().map(|sample| sample.unwrap() as f32 * scale).collect();
    let channels = usize::from(spec.channels);
    samples.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32).collect()
}

/// Writes a 48 kHz mono WAV file.
pub fn write(path: &Path, samples: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    for sample in samples {
        writer.write_sample((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)) as i16).unwrap();
    }
    writer.finalize().unwrap();
}
