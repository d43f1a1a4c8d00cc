//! The system's limit of open files: each connection is one.

/// Files that are open besides connections: the database's, sockets, the log.
const BESIDE_CONNECTIONS: u64 = 256;

/// Raises this process's limit as far as it may by itself. For programs of our own: who embeds the server may have
/// libraries that do not take high file numbers.
pub fn raise_limit() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            limit.current = limit.maximum;
            if let Err(error) = setrlimit(Resource::Nofile, limit) {
                tracing::warn!(%error, "the limit of open files cannot be raised");
            }
        }
    }
}

/// How many connections there may be: as configured (0: no limit), and no more than there are files for. Whoever is
/// turned away costs little; a process without files left cannot open its database either.
pub(super) fn most_connections(configured: usize) -> usize {
    limit().map_or(configured, |files| bounded(configured, files))
}

fn bounded(configured: usize, files: u64) -> usize {
    let room = usize::try_from(files - BESIDE_CONNECTIONS.min(files / 2)).unwrap_or(usize::MAX).max(1);
    if configured == 0 { room } else { room.min(configured) }
}

/// Files that the process may have open; none where there is no limit, or none that is known here.
fn limit() -> Option<u64> {
    #[cfg(target_os = "linux")]
    return rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    #[cfg(not(target_os = "linux"))]
    return None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_for_the_rest() {
        assert_eq!(bounded(10_000, 65_536), 10_000);
        assert_eq!(bounded(10_000, 1_024), 768);
        assert_eq!(bounded(0, 65_536), 65_280);
        assert_eq!(bounded(0, 64), 32);
        assert_eq!(bounded(0, 0), 1);
    }
}
