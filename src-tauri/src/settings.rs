//! The settings file.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use crate::api::{AppError, AppErrorCode, Settings};

/// Where the settings are kept.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    file: PathBuf,
}

impl SettingsFile {
    /// The file, which need not be there yet.
    pub fn new(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// Reads the settings. A file that cannot be read is put aside, and the defaults hold.
    pub fn load(&self) -> (Settings, Option<AppError>) {
        let read = fs::read(&self.file).and_then(|bytes| Ok(serde_json::from_slice::<Settings>(&bytes)?));
        match read {
            Ok(settings) => (Settings { voice: settings.voice.clone().clamped(), ..settings }, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Settings::default(), None),
            Err(error) => (Settings::default(), Some(self.put_aside(&error))),
        }
    }

    /// Writes the settings, whole or not at all.
    pub fn save(&self, settings: &Settings) -> Result<(), AppError> {
        let write = || -> io::Result<()> {
            if let Some(folder) = self.file.parent() {
                fs::create_dir_all(folder)?;
            }
            let partial = self.file.with_extension("partial");
            let mut file = fs::File::create(&partial)?;
            file.write_all(&serde_json::to_vec_pretty(settings)?)?;
            file.sync_all()?;
            fs::rename(partial, &self.file)
        };
        write().map_err(|error| {
            let message = format!(
                "the settings cannot be written to {} ({error}): they hold until the app is closed; \
                 make room on the disk or check the folder's permissions",
                self.file.display()
            );
            AppError::new(AppErrorCode::SettingsNotSaved, message)
        })
    }

    fn put_aside(&self, error: &io::Error) -> AppError {
        let broken = self.file.with_extension("json.broken");
        let place = match fs::rename(&self.file, &broken) {
            Ok(()) => format!("it was put aside as {}", broken.display()),
            Err(error) => format!("it could not be put aside either ({error}) and will be overwritten"),
        };
        let message = format!(
            "the settings file {} cannot be read ({error}): {place}, and the defaults hold",
            self.file.display()
        );
        AppError::new(AppErrorCode::SettingsUnreadable, message)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use voip_client::VoiceSettings;

    use super::*;
    use crate::api::{Hotkey, HotkeyInput, Theme};

    fn in_new_folder() -> (tempfile::TempDir, SettingsFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile::new(&folder.path().join("new/settings.json"));
        (folder, file)
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let (_folder, file) = in_new_folder();
        assert_eq!(file.load(), (Settings::default(), None));
        let settings = Settings {
            hotkey: Some(Hotkey { input: HotkeyInput::Button(9), label: "Mouse 5".into() }),
            theme: Theme::Dark,
            language: Some("de".into()),
            ..Settings::default()
        };
        file.save(&settings).unwrap();
        file.save(&settings).unwrap();
        assert_eq!(file.load(), (settings, None));
    }

    #[test]
    fn a_damaged_file_is_told_and_kept() {
        let (_folder, file) = in_new_folder();
        fs::create_dir_all(file.file.parent().unwrap()).unwrap();
        fs::write(&file.file, "{ nonsense").unwrap();
        let (settings, problem) = file.load();
        assert_eq!(settings, Settings::default());
        assert_eq!(problem.unwrap().code, AppErrorCode::SettingsUnreadable);
        let broken = file.file.with_extension("json.broken");
        assert_eq!(fs::read_to_string(broken).unwrap(), "{ nonsense");
        assert_eq!(file.load().1, None);
    }

    #[test]
    fn missing_fields_have_defaults_and_numbers_their_ranges() {
        let (_folder, file) = in_new_folder();
        fs::create_dir_all(file.file.parent().unwrap()).unwrap();
        fs::write(&file.file, r#"{"voice": {"bitrate": 1}, "theme": "light"}"#).unwrap();
        let (settings, problem) = file.load();
        assert_eq!(problem, None);
        assert_eq!((settings.voice.bitrate, settings.theme), (8_000, Theme::Light));
        assert_eq!(settings.voice.release_delay, VoiceSettings::default().release_delay);
    }

    #[test]
    fn a_folder_that_takes_no_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "a file where a folder should be").unwrap();
        let error = SettingsFile::new(&taken.join("settings.json")).save(&Settings::default()).unwrap_err();
        assert_eq!(error.code, AppErrorCode::SettingsNotSaved);
    }
}
