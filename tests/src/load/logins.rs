//! What connecting costs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use voip_protocol::Token;

use super::{
    LoadError, clock,
    control::{Door, LoginTime},
    stats::{quantiles_ms, rounded},
    usage,
};

/// Until those who are connected are quiet, and until the server is done with those who left, in s.
const SETTLE: f64 = 0.5;

/// Connects and disconnects with each of these tokens, so many at a time, and measures it. `background` clients are
/// connected all the while.
pub fn churn(
    runtime: &Runtime,
    door: &Door,
    tokens: &[Token],
    concurrency: usize,
    background: usize,
    pid: u32,
) -> Result<Value, LoadError> {
    clock::sleep(SETTLE);
    let own = std::process::id();
    let (server, generator, machine) = (usage::reading(pid), usage::reading(own), usage::machine_s());
    let started = Instant::now();
    let times = runtime.block_on(door.churn(tokens, background, concurrency))?;
    let seconds = started.elapsed().as_secs_f64();
    clock::sleep(SETTLE);
    let server = usage::reading(pid).since(&server);
    let generator = usage::reading(own).since(&generator);
    let other_cpu_s = usage::machine_s().0 - machine.0 - server.cpu_s - generator.cpu_s;
    let logins = tokens.len() as f64;
    Ok(json!({
        "logins": tokens.len(),
        "concurrency": concurrency,
        "background_users": background,
        "seconds": rounded(seconds, 3),
        "logins_per_s": rounded(logins / seconds, 1),
        "logins_per_server_cpu_s": rounded(logins / server.cpu_s, 1),
        "server_ms_per_login": rounded(server.cpu_s * 1e3 / logins, 3),
        "latency": {
            "connect_to_tls_ms": milliseconds(&times, |time| time.to_tls),
            "connect_to_sync_ms": milliseconds(&times, |time| time.to_snapshot),
        },
        "server": server.json(),
        "generator": generator.json(),
        "other_cpu_s": rounded(other_cpu_s, 2),
    }))
}

fn milliseconds(times: &[LoginTime], of: impl Fn(&LoginTime) -> Duration) -> Value {
    quantiles_ms(times.iter().map(|time| of(time).as_secs_f64() * 1e3))
}
