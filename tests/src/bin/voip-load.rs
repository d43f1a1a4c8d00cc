//! Measures a voice server under many clients on loopback; `voip-load --help` tells how.

use std::process::ExitCode;

/// What was asked could not be done.
const FAILED: u8 = 2;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use clap::Parser;
    use voip_tests::load::{self, Options};

    let options = Options::parse();
    let result = match load::run(&options) {
        Ok(Some(result)) => result,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("voip-load: {error}");
            return ExitCode::from(FAILED);
        }
    };
    println!("{result}");
    if let Some(file) = &options.json
        && let Err(error) = std::fs::write(file, format!("{result}\n"))
    {
        eprintln!("voip-load: {} cannot be written: {error}", file.display());
        return ExitCode::from(FAILED);
    }
    ExitCode::SUCCESS
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("voip-load: only Linux has what this measures with");
    ExitCode::from(FAILED)
}
