//! Judges from outside: wideband PESQ (ITU-T P.862.2) and STOI, as programs of others (`tests/quality/judge.py`).

use std::{
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde::Deserialize;

/// A judge that waits for sounds. There may be several; each is a process.
pub struct Judge {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    file: PathBuf,
}

/// What a judge says of what was heard.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Verdict {
    /// Mean of the pieces' PESQ, 1.0 to 4.64.
    pub pesq: f64,
    /// Mean of their STOI, 0 to 1.
    pub stoi: f64,
    /// How much later the pieces were heard than said, in ms: the median.
    pub delay_ms: f64,
}

impl Judge {
    /// Prepares the recorded speech in `folder`, where it stays for all judges: what is said, at 48 kHz. `python` is
    /// the interpreter with the packages of `tests/quality/requirements.txt`.
    pub fn speech(python: &Path, folder: &Path) -> io::Result<Vec<f32>> {
        let done = command(python, folder).arg("speech").status()?;
        if !done.success() {
            return Err(io::Error::other("the recorded speech could not be prepared: see above"));
        }
        let bytes = std::fs::read(folder.join("said.f32"))?;
        let (samples, _) = bytes.as_chunks();
        Ok(samples.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }

    /// Starts a judge over the speech in `folder`; `number` tells it from the others.
    pub fn start(python: &Path, folder: &Path, number: usize) -> io::Result<Self> {
        let mut child =
            command(python, folder).arg("judge").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ask = child.stdin.take();
        let answers = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let file = folder.join(format!("heard-{number}.f32"));
        Ok(Self { child, ask, answers: BufReader::new(answers), file })
    }

    /// Compares what was heard (48 kHz, in the time of what was said) with what was said.
    pub fn judge(&mut self, heard: &[f32]) -> io::Result<Verdict> {
        let bytes: Vec<u8> = heard.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        std::fs::write(&self.file, bytes)?;
        let ask = self.ask.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(ask, "{}", self.file.display())?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line)
            .map_err(|error| io::Error::other(format!("the judge failed ({error}): see above")))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.ask.take());
        let _ = self.child.wait();
    }
}

fn command(python: &Path, folder: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/quality/judge.py"))
        .arg(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // One thread for a judge: there are as many judges as cores.
        .env("OMP_NUM_THREADS", "1")
        .env("OPENBLAS_NUM_THREADS", "1");
    command
}
