//! Waiting for something to become true, with a limit.

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

/// Waits until `done`, at most `limit`; says how long it took.
///
/// # Panics
/// If it does not happen in time: `what` names it.
pub async fn until<F: Future<Output = bool>>(
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> F,
) -> Duration {
    let started = Instant::now();
    while !done().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
    started.elapsed()
}

/// [`until`], for what needs no waiting itself.
pub async fn until_true(what: &str, limit: Duration, mut done: impl FnMut() -> bool) -> Duration {
    until(what, limit, || std::future::ready(done())).await
}
