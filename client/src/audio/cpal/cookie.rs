//! The cookie of `PulseAudio`.
//!
//! The server kicks a client that shows no cookie at all, even where it lets everybody in. Its own library therefore
//! makes one for a person who has none; the client that cpal brings does not, so it is done here.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;

/// Bytes of a cookie.
const LENGTH: usize = 256;
/// Where it is, from the person's home: now, and in old versions.
const PLACE: &str = ".config/pulse/cookie";
const OLD_PLACE: &str = ".pulse-cookie";

/// Makes a cookie where there is none. Without one there is no sound, which says so by itself.
pub(super) fn make_sure() {
    let Some(home) = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from) else {
        return;
    };
    let named = std::env::var_os("PULSE_COOKIE").map(PathBuf::from);
    if let Err(error) = make_sure_in(&home, named.as_deref()) {
        tracing::warn!(%error, "there is no PulseAudio cookie in {}, and it cannot be made", home.display());
    }
}

fn make_sure_in(home: &Path, named: Option<&Path>) -> io::Result<()> {
    let place = home.join(PLACE);
    // What is there comes first, in the order in which clients look for it; half a cookie is none.
    let found =
        named.into_iter().chain([&*place, &home.join(OLD_PLACE)]).find_map(|path| path.metadata().ok());
    if found.is_some_and(|file| file.len() >= LENGTH as u64) {
        return Ok(());
    }
    let mut cookie = [0; LENGTH];
    rand::fill(&mut cookie).map_err(|_| io::Error::other("the system has no random numbers"))?;
    if let Some(folder) = place.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    // Whole or not at all.
    let new = place.with_extension(format!("new-{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .and_then(|mut file| file.write_all(&cookie))
        .and_then(|()| std::fs::rename(&new, &place));
    written.inspect_err(|_| drop(std::fs::remove_file(&new)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_once_and_for_oneself_alone() {
        let home = tempfile::tempdir().unwrap();
        make_sure_in(home.path(), None).unwrap();
        let place = home.path().join(PLACE);
        let cookie = std::fs::read(&place).unwrap();
        assert_eq!((cookie.len(), place.metadata().unwrap().permissions().mode() & 0o777), (LENGTH, 0o600));
        make_sure_in(home.path(), Some(&home.path().join("nowhere"))).unwrap();
        assert_eq!(std::fs::read(&place).unwrap(), cookie);
        std::fs::write(&place, [1; 7]).unwrap();
        make_sure_in(home.path(), None).unwrap();
        assert_eq!(std::fs::read(&place).unwrap().len(), LENGTH);
        assert_eq!(place.parent().unwrap().read_dir().unwrap().count(), 1);
    }

    #[test]
    fn is_not_made_where_there_is_one() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = home.path().join("elsewhere");
        std::fs::write(&elsewhere, [1; LENGTH]).unwrap();
        make_sure_in(home.path(), Some(&elsewhere)).unwrap();
        std::fs::rename(&elsewhere, home.path().join(OLD_PLACE)).unwrap();
        make_sure_in(home.path(), None).unwrap();
        assert!(!home.path().join(PLACE).exists());
    }
}
