//! Servers that a person has trusted: address → certificate fingerprint, in a JSON file.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use voip_protocol::{Address, Fingerprint};

use crate::{ClientError, ClientErrorCode};

/// The pins and the file that keeps them.
#[derive(Debug)]
pub struct KnownServers {
    file: PathBuf,
    pins: BTreeMap<String, Fingerprint>,
}

/// How a certificate stands to the pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The first visit: ask the person.
    New,
    /// The one that is pinned.
    Known,
    /// Another than the one that is pinned: refuse.
    Changed {
        /// The one that is pinned.
        pinned: Fingerprint,
    },
}

impl KnownServers {
    /// Reads the file; none is an empty list.
    pub fn load(file: &Path) -> Result<Self, ClientError> {
        let pins = match fs::read(file) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| unusable(file, &error.to_string()))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(unusable(file, &error.to_string())),
        };
        Ok(Self { file: file.to_owned(), pins })
    }

    /// What to make of a certificate at an address.
    pub fn check(&self, address: &Address, shown: Fingerprint) -> Trust {
        match self.pins.get(&key(address)) {
            None => Trust::New,
            Some(pinned) if *pinned == shown => Trust::Known,
            Some(pinned) => Trust::Changed { pinned: *pinned },
        }
    }

    /// Trusts a certificate at an address from now on. The file is replaced whole or not at all.
    pub fn pin(&mut self, address: &Address, fingerprint: Fingerprint) -> Result<(), ClientError> {
        let mut pins = self.pins.clone();
        pins.insert(key(address), fingerprint);
        let write = || -> io::Result<()> {
            if let Some(folder) = self.file.parent() {
                fs::create_dir_all(folder)?;
            }
            let partial = self.file.with_extension("partial");
            let mut file = fs::File::create(&partial)?;
            file.write_all(serde_json::to_string_pretty(&pins)?.as_bytes())?;
            file.sync_all()?;
            fs::rename(partial, &self.file)
        };
        write().map_err(|error| unusable(&self.file, &error.to_string()))?;
        self.pins = pins;
        Ok(())
    }
}

/// Host names do not depend on case.
fn key(address: &Address) -> String {
    address.to_string().to_lowercase()
}

fn unusable(file: &Path, reason: &str) -> ClientError {
    let message = format!(
        "the list of trusted servers {} cannot be used ({reason}): mend it or move it away, and compare fingerprints anew",
        file.display()
    );
    ClientError::new(ClientErrorCode::KnownServers, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn trust_on_first_use_and_a_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/known_servers.json");
        let address = Address { host: "Voice.example.org".into(), port: 9000 };
        let same = Address { host: "voice.example.ORG".into(), port: 9000 };
        let elsewhere = Address { port: 9001, ..address.clone() };
        let (one, other) = (Fingerprint([1; 32]), Fingerprint([2; 32]));
        let mut known = KnownServers::load(&file).unwrap();
        assert_eq!(known.check(&address, one), Trust::New);
        known.pin(&address, one).unwrap();
        let known = KnownServers::load(&file).unwrap();
        assert_eq!(known.check(&same, one), Trust::Known);
        assert_eq!(known.check(&address, other), Trust::Changed { pinned: one });
        assert_eq!(known.check(&elsewhere, one), Trust::New);
    }

    #[test]
    fn a_damaged_file_is_told_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_servers.json");
        fs::write(&file, "nonsense").unwrap();
        let error = KnownServers::load(&file).unwrap_err();
        assert_eq!(error.code, ClientErrorCode::KnownServers);
        assert_eq!(fs::read_to_string(&file).unwrap(), "nonsense");
    }
}
