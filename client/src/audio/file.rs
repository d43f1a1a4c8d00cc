//! WAV files in place of devices: one is the microphone, one records what the speaker would play.

use std::{
    fs,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Instant, SystemTime},
};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::{
    AudioError, Backend, DeviceInfo, Devices, InputStream, MAX_RATE, MIN_RATE, OutputStream, input, output,
    paced::{Source, Target, run_input, run_output},
};

/// Recordings are 48 kHz, mono, 16 bit.
const RECORDING: WavSpec =
    WavSpec { channels: 1, sample_rate: 48_000, bits_per_sample: 16, sample_format: SampleFormat::Int };
/// Samples between two updates of a recording's header: what a killed process loses at most (0.1 s).
const FLUSH_EVERY: u32 = 4_800;
/// Largest recording, in samples: the format counts bytes with 32 bits (12 hours).
const MAX_RECORDING: u32 = 2_000_000_000;

/// Files as devices, at the pace of real time. The microphone starts from the file's beginning whenever it is
/// opened; the recording is created when the speaker is first opened, and goes on when it is opened again.
pub struct File {
    input: Option<PathBuf>,
    output: Option<PathBuf>,
    ended: Arc<AtomicBool>,
    recording: Arc<Mutex<Option<Recording>>>,
    started: Arc<Mutex<Started>>,
}

/// When a file's first sample was in the air, by the system's clock: what puts two recordings on one time line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Started {
    /// The microphone's file, the last time it was opened.
    pub input: Option<SystemTime>,
    /// The recording.
    pub output: Option<SystemTime>,
}

impl File {
    /// `input` is a WAV file of any common kind, `output` is overwritten. Without one there is no such device.
    pub fn new(input: Option<PathBuf>, output: Option<PathBuf>) -> Self {
        Self { input, output, ended: Arc::default(), recording: Arc::default(), started: Arc::default() }
    }

    /// Becomes true when the microphone has read its file to the end.
    pub fn ended(&self) -> Arc<AtomicBool> {
        self.ended.clone()
    }

    /// When the files started; go on asking after the backend has been given away.
    pub fn started(&self) -> impl Fn() -> Started + Send + use<> {
        let started = self.started.clone();
        move || *started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, set: impl FnOnce(&mut Started)) {
        set(&mut self.started.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Backend for File {
    fn devices(&self) -> Result<Devices, AudioError> {
        let device = |path: &PathBuf| {
            let name = path.display().to_string();
            vec![DeviceInfo { id: name.clone(), name, is_default: true }]
        };
        Ok(Devices {
            inputs: self.input.as_ref().map_or_else(Vec::new, device),
            outputs: self.output.as_ref().map_or_else(Vec::new, device),
        })
    }

    fn open_input(&self, _: Option<&str>) -> Result<InputStream, AudioError> {
        let path = self.input.as_ref().ok_or(AudioError::NoMicrophone)?;
        let (samples, sample_rate) = open(path)?;
        self.ended.store(false, Relaxed);
        let (feed, failure, stream) = input(path.display().to_string(), sample_rate);
        let source = Playing { samples, ended: self.ended.clone() };
        self.note(|started| started.input = Some(system_time()));
        Ok(stream(run_input(sample_rate, source, feed, failure)?))
    }

    fn open_output(&self, _: Option<&str>) -> Result<OutputStream, AudioError> {
        let path = self.output.as_ref().ok_or(AudioError::NoSpeaker)?;
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        if recording.is_none() {
            *recording = Some(Recording::create(path)?);
            self.note(|started| started.output = Some(system_time()));
        }
        let (feed, failure, stream) = output(path.display().to_string(), RECORDING.sample_rate);
        Ok(stream(run_output(RECORDING.sample_rate, self.recording.clone(), feed, failure)?))
    }
}

/// For people and other programs to compare with; nothing here depends on it.
#[expect(clippy::disallowed_methods, reason = "the one place that asks, for what a test only reads")]
fn system_time() -> SystemTime {
    SystemTime::now()
}

type Samples = Box<dyn Iterator<Item = f32> + Send>;

/// The file's samples, mixed down to mono, and its rate. A damaged end counts as the end.
fn open(path: &Path) -> Result<(Samples, u32), AudioError> {
    let refuse = |reason: String| AudioError::File { path: path.into(), reason };
    let reader = WavReader::open(path).map_err(|error| refuse(error.to_string()))?;
    let spec = reader.spec();
    if !(MIN_RATE..=MAX_RATE).contains(&spec.sample_rate) {
        return Err(refuse(format!("its sample rate is {} Hz", spec.sample_rate)));
    }
    if spec.channels == 0 || reader.duration() == 0 {
        return Err(refuse("there is no sound in it".into()));
    }
    let channels = usize::from(spec.channels);
    let samples: Samples = match spec.sample_format {
        SampleFormat::Float => mono(reader.into_samples::<f32>().map_while(Result::ok), channels),
        SampleFormat::Int => {
            let scale = 1.0 / (1u64 << (spec.bits_per_sample - 1)) as f32;
            mono(integers(reader).map(move |sample| sample as f32 * scale), channels)
        }
    };
    let mut samples = samples.peekable();
    match samples.peek() {
        Some(_) => Ok((Box::new(samples), spec.sample_rate)),
        None => Err(refuse("its sound cannot be read".into())),
    }
}

fn integers(reader: WavReader<BufReader<fs::File>>) -> impl Iterator<Item = i32> + Send {
    reader.into_samples::<i32>().map_while(Result::ok)
}

fn mono(mut samples: impl Iterator<Item = f32> + Send + 'static, channels: usize) -> Samples {
    Box::new(std::iter::from_fn(move || {
        let mut sum = 0.0;
        for _ in 0..channels {
            sum += samples.next()?;
        }
        Some(sum / channels as f32)
    }))
}

struct Playing {
    samples: Samples,
    ended: Arc<AtomicBool>,
}

impl Source for Playing {
    fn read(&mut self, block: &mut [f32], _: Instant) -> Result<bool, AudioError> {
        for slot in block {
            let sample = self.samples.next();
            if sample.is_none() {
                self.ended.store(true, Relaxed);
            }
            *slot = sample.filter(|sample| sample.is_finite()).unwrap_or(0.0);
        }
        Ok(!self.ended.load(Relaxed))
    }
}

struct Recording {
    path: PathBuf,
    writer: WavWriter<BufWriter<fs::File>>,
    unflushed: u32,
}

impl Recording {
    fn create(path: &Path) -> Result<Self, AudioError> {
        let refuse = |error: hound::Error| AudioError::File { path: path.into(), reason: error.to_string() };
        let mut writer = WavWriter::create(path, RECORDING).map_err(refuse)?;
        writer.flush().map_err(refuse)?;
        Ok(Self { path: path.into(), writer, unflushed: 0 })
    }

    fn append(&mut self, block: &[f32]) -> Result<(), hound::Error> {
        if self.writer.duration() > MAX_RECORDING {
            return Err(hound::Error::FormatError("the recording is as long as a WAV file can be"));
        }
        for sample in block {
            self.writer.write_sample((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16)?;
        }
        self.unflushed += block.len() as u32;
        if self.unflushed >= FLUSH_EVERY {
            self.unflushed = 0;
            self.writer.flush()?;
        }
        Ok(())
    }
}

impl Target for Arc<Mutex<Option<Recording>>> {
    fn write(&mut self, block: &[f32], _: Instant) -> Result<(), AudioError> {
        let mut recording = self.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = recording.as_mut() else { return Ok(()) };
        file.append(block)
            .map_err(|error| AudioError::File { path: file.path.clone(), reason: error.to_string() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn until(mut done: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "did not happen within 10 s");
            std::thread::yield_now();
        }
    }

    fn write(path: &Path, spec: WavSpec, samples: &[f32]) {
        let mut writer = WavWriter::create(path, spec).unwrap();
        for sample in samples {
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(*sample).unwrap(),
                SampleFormat::Int => {
                    writer
                        .write_sample((sample * (1u64 << (spec.bits_per_sample - 1)) as f32) as i32)
                        .unwrap();
                }
            }
        }
        writer.finalize().unwrap();
    }

    #[test]
    fn reads_every_common_kind_as_the_same_sound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.wav");
        let wanted: Vec<f32> = (0..100).map(|n| ((n * 37) % 100) as f32 / 128.0 - 0.375).collect();
        for (bits_per_sample, sample_format) in [
            (8, SampleFormat::Int),
            (16, SampleFormat::Int),
            (24, SampleFormat::Int),
            (32, SampleFormat::Float),
        ] {
            for channels in [1u16, 2, 6] {
                let spec = WavSpec { channels, sample_rate: 44_100, bits_per_sample, sample_format };
                let samples: Vec<f32> =
                    wanted.iter().flat_map(|sample| std::iter::repeat_n(*sample, channels.into())).collect();
                write(&path, spec, &samples);
                let (read, rate) = open(&path).unwrap();
                let read: Vec<f32> = read.collect();
                assert_eq!((read.len(), rate), (100, 44_100), "{spec:?}");
                assert!(read.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{spec:?}");
            }
        }
    }

    #[test]
    fn what_is_no_wav_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.wav");
        let refused = |path: &Path| match open(path).map(|_| ()) {
            Err(error @ AudioError::File { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(refused(&path).contains("in.wav"));
        fs::write(&path, b"not a sound at all, but long enough to have had a header of forty-four bytes")
            .unwrap();
        refused(&path);
        write(&path, RECORDING, &[]);
        assert!(refused(&path).contains("no sound"));
        write(&path, WavSpec { sample_rate: 1_000, ..RECORDING }, &[0.5; 10]);
        assert!(refused(&path).contains("1000 Hz"));
        refused(folder.path());

        write(&path, RECORDING, &[0.5; 1_000]);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..44]).unwrap();
        refused(&path);
        fs::write(&path, &whole[..1_044]).unwrap();
        assert_eq!(open(&path).unwrap().0.count(), 500);

        let backend = File::new(None, Some(folder.path().join("no/such/folder/out.wav")));
        assert!(matches!(backend.open_output(None).err(), Some(AudioError::File { .. })));
        assert_eq!(backend.open_input(None).err(), Some(AudioError::NoMicrophone));
    }

    #[test]
    fn plays_the_file_then_silence_and_says_when() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.wav");
        write(&path, RECORDING, &[0.5; 1_000]);
        let backend = File::new(Some(path), None);
        let ended = backend.ended();
        let mut stream = backend.open_input(None).unwrap();
        assert!(!ended.load(Relaxed));
        let (mut heard, mut block) = (Vec::new(), [0.0; 512]);
        until(|| {
            let count = stream.read(&mut block);
            heard.extend_from_slice(&block[..count]);
            heard.len() >= 1_440
        });
        assert!(ended.load(Relaxed) && stream.ended());
        assert!(heard[..1_000].iter().all(|sample| *sample == 0.5));
        assert!(heard[1_000..].iter().all(|sample| *sample == 0.0));
    }

    #[test]
    fn a_recording_can_be_read_while_it_is_made_and_goes_on_when_reopened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.wav");
        let backend = File::new(None, Some(path.clone()));
        let recorded = || WavReader::open(&path).map_or(0, |reader| reader.duration());
        for _ in 0..2 {
            let before = recorded();
            let mut stream = backend.open_output(None).unwrap();
            assert_eq!(stream.write(&[0.25; 9_600]), 9_600);
            until(|| recorded() >= before + 9_600);
        }
        let loud =
            WavReader::open(&path).unwrap().into_samples::<i16>().filter(|s| *s.as_ref().unwrap() == 8192);
        assert_eq!(loud.count(), 19_200);
    }
}
