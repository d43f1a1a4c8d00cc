//! The table for people, of the same figures as the JSON.

use serde_json::Value;

/// Prints what a run came to on standard error.
pub fn print(result: &Value) {
    let config = &result["config"];
    eprintln!(
        "clients          {} in {} channels; {} bytes every {} ms, datagrams of {} bytes up, {} down",
        config["clients"],
        config["channels"],
        config["payload"],
        config["frame_ms"],
        config["datagram"]["up"],
        config["datagram"]["down"],
    );
    let voice = if result["voice"].is_object() { &result["voice"] } else { &result["max"]["best"] };
    if voice.is_object() {
        print_voice(voice, &result["idle"]);
    }
    if result["max"].is_object() {
        let lost = result["max"]["failed_with_generator_drops"] == true;
        eprintln!(
            "most talkers     {} in each channel hold, {} do not{}",
            result["max"]["held_talkers_per_channel"],
            result["max"]["failed_talkers_per_channel"],
            if lost { ": this program dropped packets itself" } else { "" },
        );
    }
    let memory = &result["server_memory_kib"];
    if memory.is_object() {
        eprintln!(
            "server RSS       {} KiB before, {} with silent clients: {} KiB a client",
            memory["before"]["rss"], memory["clients_idle"]["rss"], result["rss_kib_per_client"],
        );
    }
    let connect = &result["connect"];
    if connect.is_object() {
        eprintln!(
            "connecting       {} s for all, {} ms of the server's CPU time each",
            connect["seconds"], connect["server_ms_per_login"],
        );
    }
    let restart = &result["restart"];
    if restart.is_object() {
        eprintln!(
            "restarted        away for {} s; then connected after p50 {} ms, max {}, hearing after p50 {}, max {}; {} tries failed",
            restart["down_s"],
            restart["connected_ms"]["p50"],
            restart["connected_ms"]["max"],
            restart["heard_ms"]["p50"],
            restart["heard_ms"]["max"],
            restart["failed_after"],
        );
    }
    if result["churn"].is_object() {
        print_churn(&result["churn"]);
    }
}

fn print_voice(voice: &Value, idle: &Value) {
    eprintln!(
        "packets          {} talkers; {} in/s, {} out/s; expected {}, received {}, loss {} %",
        voice["talkers"],
        voice["sent_per_s"],
        voice["received_per_s"],
        voice["expected"],
        voice["received"],
        voice["loss_pct"],
    );
    let latency = &voice["latency_us"];
    eprintln!(
        "latency          p50 {} µs, p95 {}, p99 {}, p99.9 {}, max {}",
        latency["p50"], latency["p95"], latency["p99"], latency["p999"], latency["max"],
    );
    eprintln!(
        "server CPU       {} s in {} s ({} %), silent {} %",
        voice["server"]["cpu_s"], voice["seconds"], voice["server_cpu_pct"], idle["server_cpu_pct"],
    );
    eprintln!(
        "  a packet out   {} µs ({} less idle); in {} µs and {} switches",
        voice["server_us_per_out"],
        voice["server_us_per_out_less_idle"],
        voice["server_us_per_in"],
        voice["server_switches_per_in"],
    );
    eprintln!(
        "generator CPU    {} s ({} %), latest packet {} µs late; other work {} s, stolen {} s",
        voice["generator"]["cpu_s"],
        voice["generator_cpu_pct"],
        voice["generator_worst_send_lag_us"],
        voice["other_cpu_s"],
        voice["steal_s"],
    );
    eprintln!(
        "what is wrong    misrouted {}, duplicate {}, {}; dropped by the server's socket {}, by ours {}; lost connections {}",
        voice["misrouted"],
        voice["duplicate"],
        voice["anomalies"],
        voice["server_udp_drops"],
        voice["generator_udp_drops"],
        voice["lost_connections"],
    );
}

fn print_churn(churn: &Value) {
    eprintln!(
        "logins           {} with {} at a time, {} others connected: {}/s, {} ms of the server's CPU time each",
        churn["logins"],
        churn["concurrency"],
        churn["background_users"],
        churn["logins_per_s"],
        churn["server_ms_per_login"],
    );
    let [tls, sync] = ["connect_to_tls_ms", "connect_to_sync_ms"].map(|key| &churn["latency"][key]);
    eprintln!(
        "  to snapshot    p50 {} ms, p95 {}, p99 {}, max {} (TLS p50 {} ms)",
        sync["p50"], sync["p95"], sync["p99"], sync["max"], tls["p50"],
    );
    eprintln!("generator CPU    {} s; other work {} s", churn["generator"]["cpu_s"], churn["other_cpu_s"]);
}
