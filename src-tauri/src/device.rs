//! What "your devices" shows of this one.

use std::{fs, path::Path};

use voip_protocol::{control::Device, limits::DEVICE_CHARS};

const FILE: &str = "device_id";
const ID_BYTES: usize = 16;

/// The name of this computer, and a random mark of this installation: a server puts a new login of it in the place
/// of the one before. Without a file to keep the mark in there is none, and logins stand side by side.
pub(crate) fn this_device(config_dir: &Path) -> Device {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    Device { name: device_name(&host), id: device_id(config_dir) }
}

fn device_name(host: &str) -> String {
    let host: String = host.trim().chars().filter(|letter| !letter.is_control()).collect();
    let name = if host.is_empty() { "VoIP".into() } else { format!("VoIP – {host}") };
    name.chars().take(*DEVICE_CHARS.end()).collect()
}

fn device_id(config_dir: &Path) -> Option<String> {
    let file = config_dir.join(FILE);
    if let Ok(text) = fs::read_to_string(&file)
        && hex::decode(text.trim()).is_ok_and(|bytes| bytes.len() == ID_BYTES)
    {
        return Some(text.trim().into());
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let written = fs::create_dir_all(config_dir).and_then(|()| fs::write(&file, &id));
    if let Err(error) = written {
        tracing::warn!(%error, file = %file.display(), "the mark of this device cannot be kept");
        return None;
    }
    Some(id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_stays_the_same_and_a_broken_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("new");
        let id = device_id(&config).unwrap();
        assert_eq!(device_id(&config).unwrap(), id);
        fs::write(config.join(FILE), "nonsense").unwrap();
        let other = device_id(&config).unwrap();
        assert_ne!(other, id);
        assert_eq!(device_id(&config).unwrap(), other);
        fs::remove_file(config.join(FILE)).unwrap();
        fs::create_dir(config.join(FILE)).unwrap();
        assert_eq!(device_id(&config), None);
    }

    #[test]
    fn the_name_keeps_its_limits() {
        assert_eq!(device_name("desk"), "VoIP – desk");
        assert_eq!(device_name(" \n"), "VoIP");
        assert_eq!(device_name(&"ü".repeat(300)).chars().count(), *DEVICE_CHARS.end());
    }
}
