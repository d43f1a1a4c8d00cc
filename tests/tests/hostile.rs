//! Connections that mean harm, or might as well: the server bounds what they cost, and everybody else goes on.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt, stream};
use procfs::process::Process;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    MaybeTlsStream,
    tungstenite::{
        Message,
        protocol::frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};
use voip_protocol::{
    ErrorCode, Fingerprint,
    control::ServerMessage,
    limits::{MAX_CONNECTIONS_BY_LOGIN, MAX_CONNECTIONS_BY_USER},
};
use voip_tests::{
    client::{LIMIT, TestClient},
    process::Server,
    raw::{RawClient, open},
    rest::Rest,
    server::{ADMIN, TestServer, alone, http},
    wait,
};

const MIB: u64 = 1024 * 1024;
/// What a timed end may take longer than its time on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// One of the addresses that strangers connect from, all of which are this machine.
fn stranger(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 21, 0, 1).to_bits() + number as u32)
}

async fn dial(from: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    socket.connect((Ipv4Addr::LOCALHOST, port).into()).await
}

async fn shake_hands(stream: TcpStream, fingerprint: Fingerprint) -> io::Result<TlsStream<TcpStream>> {
    let connector = TlsConnector::from(Arc::new(voip_client::net::pinned(fingerprint)));
    connector.connect(ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST)), stream).await
}

async fn connect(server: &TestServer) -> TlsStream<TcpStream> {
    let stream = dial(Ipv4Addr::LOCALHOST, server.address.port).await.unwrap();
    shake_hands(stream, server.fingerprint).await.unwrap()
}

/// Whether the server lets somebody in: a handshake succeeds.
async fn is_let_in(server: &TestServer, from: Ipv4Addr) -> Option<TlsStream<TcpStream>> {
    let stream = dial(from, server.address.port).await.ok()?;
    shake_hands(stream, server.fingerprint).await.ok()
}

/// Reads until the server hangs up: what it said, and how long that took.
async fn hears_the_end(stream: &mut (impl AsyncRead + Unpin), limit: Duration) -> (String, Duration) {
    let started = Instant::now();
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        match timeout(limit, stream.read(&mut buffer)).await.expect("the server did not hang up") {
            Ok(0) | Err(_) => return (String::from_utf8_lossy(&said).into_owned(), started.elapsed()),
            Ok(length) => said.extend(&buffer[..length]),
        }
    }
}

/// A figure of `/metrics`.
async fn figure(http: &reqwest::Client, base: &str, sample: &str) -> u64 {
    let text = http.get(format!("{base}/metrics")).send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(sample));
    line.unwrap_or_else(|| panic!("{sample} is not in\n{text}")).trim().parse::<f64>().unwrap() as u64
}

fn resident(pid: u32) -> u64 {
    Process::new(pid as i32).unwrap().statm().unwrap().resident * procfs::page_size()
}

/// Connections that begin a handshake and do not go on: every other one says nothing, the rest half a greeting.
async fn half_open(many: usize, addresses: usize, port: u16) -> Vec<TcpStream> {
    // The record of a ClientHello of 512 bytes, and its first bytes.
    let greeting = [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[7; 200]].concat();
    let greeting = &greeting;
    stream::iter(0..many)
        .map(|number| async move {
            let mut stream = dial(stranger(number % addresses), port).await.unwrap();
            if number % 2 == 0 {
                stream.write_all(greeting).await.unwrap();
            }
            stream
        })
        .buffer_unordered(64)
        .collect()
        .await
}

/// Ten thousand, where the system has the files; the limits are those of every server but for the time.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_half_open_connections() {
    const SECONDS: u64 = 8;
    let _alone = alone().await;
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let many = usize::try_from(files.saturating_sub(1_000)).unwrap().min(10_000);
    let folder = tempfile::tempdir().unwrap();
    let server =
        Server::start_with(folder.path(), &[("VOIP_LIMITS__HANDSHAKE_SECONDS", SECONDS.to_string())]);
    let (base, http) = (server.base(), http());
    let handshaking = async || figure(&http, &base, "voip_connections{state=\"handshake\"}").await;
    // What it has taken for its own work should not count.
    server.client("warm").await.stop().await;
    let before = resident(server.pid());

    let started = Instant::now();
    let strangers = half_open(many, 20, server.invite.address.port).await;
    wait::until("they are in", LIMIT, || async { handshaking().await >= many as u64 * 9 / 10 }).await;
    let opened = started.elapsed();
    let with_them = resident(server.pid());

    let alice = server.client("alice").await;
    alice.enter("General").await;
    let bob = server.client("bob").await;
    bob.enter("General").await;
    wait::until("a talk", LIMIT, || async { bob.statistics().await.frames_received > 20 }).await;
    let there = handshaking().await;
    assert!(there >= many as u64 / 2, "{there} of {many} are there while they talk");
    println!(
        "{many} half-open connections within {opened:?}, {there} of them there when somebody had logged in and talked, after {:?}",
        started.elapsed(),
    );
    wait::until("they are out", 2 * LIMIT, || async { handshaking().await == 0 }).await;
    assert!(started.elapsed() < opened + Duration::from_secs(SECONDS) + SLACK);
    let timed_out = figure(&http, &base, "voip_handshakes_failed_total{reason=\"timeout\"}").await;
    assert!(timed_out >= many as u64 * 9 / 10, "{timed_out}");

    let each = with_them.saturating_sub(before) / many as u64;
    assert!(each < 32 * 1024, "{each} bytes for each of them");
    let bound = before + with_them.saturating_sub(before) / 2 + 8 * MIB;
    wait::until_true("their memory is back", LIMIT, || resident(server.pid()) < bound).await;
    println!(
        "resident: {} MiB before, {} with them ({each} bytes each), {} after",
        before / MIB,
        with_them / MIB,
        resident(server.pid()) / MIB,
    );
    assert!(alice.is_connected().await && bob.is_connected().await);
    for client in [alice, bob] {
        client.stop().await;
    }
    drop(strangers);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_come_by_the_byte() {
    let server = TestServer::start_with(|config| config.limits.request_head_seconds = 1).await;
    let limit = Duration::from_secs(1) + SLACK;
    // Silence, less than a line, a line, the beginning of HTTP/2, and silence after a request.
    let request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    for head in ["", "G", "GET / HTTP/1.1\r\nx: ", "PRI * HTTP/2.0\r\n\r\nSM", request] {
        let (mut reading, mut writing) = tokio::io::split(connect(&server).await);
        let started = Instant::now();
        writing.write_all(head.as_bytes()).await.unwrap();
        writing.flush().await.unwrap();
        // And on and on, so that it is never silent for long.
        let dripping = tokio::spawn(async move {
            let more = if head.ends_with(": ") { &b"x"[..] } else { b"" };
            while writing.write_all(more).await.is_ok() && writing.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let (said, _) = hears_the_end(&mut reading, limit).await;
        assert!(started.elapsed() < limit, "{head:?}");
        assert_eq!(said.contains("\"status\":\"ok\""), head == request, "{head:?}: {said}");
        dripping.abort();
    }
    // A head that never ends is too large before it is late.
    let (mut reading, mut writing) = tokio::io::split(connect(&server).await);
    let sending = tokio::spawn(async move {
        let _ = writing.write_all(b"GET / HTTP/1.1\r\n").await;
        while writing.write_all(&[b'x'; 1_000]).await.is_ok() {}
    });
    let (said, _) = hears_the_end(&mut reading, limit).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    sending.abort();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_come_by_the_byte() {
    let server = TestServer::start_with(|config| config.limits.request_seconds = 1).await;
    for length in ["content-length: 1000", "transfer-encoding: chunked"] {
        let (mut reading, mut writing) = tokio::io::split(connect(&server).await);
        let head = format!(
            "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
        );
        writing.write_all(head.as_bytes()).await.unwrap();
        let dripping = tokio::spawn(async move {
            let more = if length.ends_with("chunked") { &b"1\r\n \r\n"[..] } else { b" " };
            while writing.write_all(more).await.is_ok() && writing.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let (said, took) = hears_the_end(&mut reading, Duration::from_secs(1) + SLACK).await;
        assert!(said.starts_with("HTTP/1.1 503"), "{said}");
        assert!(took < Duration::from_secs(1) + SLACK, "{took:?}");
        dripping.abort();
    }
    server.stop().await;
}

/// Who asks and asks and reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads() {
    let server = TestServer::start_with(|config| config.limits.request_seconds = 1).await;
    let http = http();
    let served = async || figure(&http, &server.url(""), "voip_connections{state=\"served\"}").await;
    let before = served().await;
    let mut greedy = connect(&server).await;
    let asking = tokio::spawn(async move {
        while greedy.write_all(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok()
            && greedy.flush().await.is_ok()
        {}
    });
    wait::until("it is in", LIMIT, || async { served().await == before + 1 }).await;
    // Nothing but its own writing tells it of the end, as it does not read.
    timeout(LIMIT, asking).await.expect("the server holds on to it").unwrap();
    wait::until("it is out", LIMIT, || async { served().await == before }).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_by_address_and_in_all() {
    let server = TestServer::start_with(|config| {
        config.limits.connections = 8;
        config.limits.connections_by_address = 3;
    })
    .await;
    let (one, other, third) = (stranger(0), stranger(1), stranger(2));
    let mut inside = Vec::new();
    for from in [one, one, one, other, other, other] {
        inside.push(is_let_in(&server, from).await.expect("there is room"));
    }
    assert!(is_let_in(&server, one).await.is_none(), "a fourth from one address");
    assert!(is_let_in(&server, other).await.is_none(), "a fourth from another address");
    // In all: this client of the figures is the seventh, and keeps its connection.
    let http = http();
    let base = server.url("");
    let refused = async |reason: &str| {
        figure(&http, &base, &format!("voip_connections_refused_total{{reason=\"{reason}\"}}")).await
    };
    assert_eq!((refused("address").await, refused("full").await), (2, 0));
    inside.push(is_let_in(&server, third).await.expect("there is room for an eighth"));
    for _ in 0..100 {
        assert!(is_let_in(&server, third).await.is_none(), "a ninth");
    }
    assert_eq!((refused("address").await, refused("full").await), (2, 100));
    // A place that was given up is another's.
    inside.remove(0);
    wait::until("a place is free", LIMIT, || async { is_let_in(&server, one).await.is_some() }).await;
    drop(inside);
    server.stop().await;
}

/// A WebSocket keeps its place as long as it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_a_connection() {
    let server = TestServer::start_with(|config| config.limits.request_head_seconds = 1).await;
    let http = http();
    let served = async || figure(&http, &server.url(""), "voip_connections{state=\"served\"}").await;
    let before = served().await;
    let mut client = RawClient::register(&server, "alice").await;
    wait::until("the others are out", LIMIT, || async { served().await == before + 1 }).await;
    // It outlives the time that heads have.
    client.enter("General").await;
    let reply = client.ask("leave", json!({})).await;
    assert!(reply.get("result").is_some(), "{reply}");
    drop(client);
    wait::until("it is out", LIMIT, || async { served().await == before }).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_by_address() {
    let server =
        TestServer::start_with(|config| config.limits.new_connections_per_second_by_address = 5).await;
    // A hundred may come at once.
    let started = Instant::now();
    let mut inside = 0;
    for _ in 0..300 {
        inside += usize::from(is_let_in(&server, stranger(0)).await.is_some());
    }
    let most = 100 + (started.elapsed().as_secs_f64() * 5.0).ceil() as usize;
    assert!((100..=most).contains(&inside), "{inside} of 300 in {:?}", started.elapsed());
    assert!(is_let_in(&server, stranger(1)).await.is_some(), "another address is not meant");
    let took =
        wait::until("patience pays", LIMIT, || async { is_let_in(&server, stranger(0)).await.is_some() })
            .await;
    assert!(took < SLACK, "{took:?}");
    let refused = figure(&http(), &server.url(""), "voip_connections_refused_total{reason=\"rate\"}").await;
    assert!(refused >= 300 - inside as u64, "{refused}");
    server.stop().await;
}

/// A process without file descriptors waits for some: it neither spins nor ends.
#[tokio::test(flavor = "multi_thread")]
async fn no_file_descriptors_are_left() {
    let _alone = alone().await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_with(folder.path(), &[]);
    let pid = Pid::from_raw(server.pid() as i32);
    let soft_limit = |files| {
        let maximum = prlimit(pid, Resource::Nofile, getrlimit(Resource::Nofile)).unwrap().maximum;
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(files), maximum }).unwrap()
    };
    let own = getrlimit(Resource::Nofile);
    let limit = prlimit(pid, Resource::Nofile, own).unwrap();
    assert_eq!(limit.current, limit.maximum, "the server raises its limit by itself");
    let (http, base) = (http(), server.base());
    let starved = async || figure(&http, &base, "voip_connections_starved_total").await;
    // Its connection is kept, and every file that a request needs is open.
    assert_eq!(starved().await, 0);

    let open = Process::new(server.pid() as i32).unwrap().fd_count().unwrap() as u64;
    soft_limit(open);
    let waiting = dial(stranger(0), server.invite.address.port).await.unwrap();
    wait::until("it is out of files", LIMIT, || async { starved().await > 0 }).await;
    let (started, first) = (Instant::now(), starved().await);
    wait::until("it tries again and again", LIMIT, || async { starved().await >= first + 10 }).await;
    let took = started.elapsed();
    assert!(took > Duration::from_millis(800), "ten tries took {took:?}: that is no pause");
    soft_limit(limit.maximum.unwrap_or(65_536).min(20_000));
    let fingerprint = server.invite.fingerprint.unwrap();
    timeout(LIMIT, shake_hands(waiting, fingerprint)).await.expect("who waited is served").unwrap();
    let client = server.client(ADMIN).await;
    client.enter("General").await;
    client.stop().await;
}

/// Half of what a WebSocket is to the server: the bytes beneath it.
fn beneath(
    socket: &mut tokio_tungstenite::WebSocketStream<MaybeTlsStream<TcpStream>>,
) -> &mut (impl AsyncRead + AsyncWrite + Unpin) {
    socket.get_mut()
}

/// 64 MiB that are only announced take no memory, and the connection ends with the reason.
#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_megabytes_announced() {
    const ANNOUNCED: u64 = 64 * MIB;
    let server = TestServer::start().await;
    let token = Rest::log_in(&server, ADMIN).await.token.unwrap();
    let before = resident(std::process::id());
    let mut most = 0;
    for final_frame in [0x80, 0] {
        for _ in 0..MAX_CONNECTIONS_BY_LOGIN {
            let mut socket = open(&server, &token).await.unwrap();
            let mut head = vec![final_frame | 1, 0x80 | 127];
            head.extend(ANNOUNCED.to_be_bytes());
            head.extend([0; 4]);
            let stream = beneath(&mut socket);
            // Slowly: a byte at a time for as long as it is taken.
            for byte in head {
                if stream.write_all(&[byte]).await.is_err() || stream.flush().await.is_err() {
                    break;
                }
            }
            most = most.max(resident(std::process::id()).saturating_sub(before));
            assert_eq!(last_word(&mut socket).await, Some(ErrorCode::MessageTooLarge));
        }
    }
    println!("{} announcements of 64 MiB: {} KiB more", 2 * MAX_CONNECTIONS_BY_LOGIN, most / 1024);
    assert!(most < ANNOUNCED / 2, "{} MiB", most / MIB);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_megabytes_in_fragments() {
    let server = TestServer::start().await;
    let token = Rest::log_in(&server, ADMIN).await.token.unwrap();
    let mut socket = open(&server, &token).await.unwrap();
    let before = resident(std::process::id());
    let piece = vec![b' '; 8 * 1024];
    let mut sent = 0;
    let mut kind = OpCode::Data(Data::Text);
    while sent < 64 * MIB as usize {
        let frame =
            Frame::message(piece.clone(), std::mem::replace(&mut kind, OpCode::Data(Data::Continue)), false);
        if socket.send(Message::Frame(frame)).await.is_err() {
            break;
        }
        sent += piece.len();
    }
    println!("{} KiB of 64 MiB were sent", sent / 1024);
    // More than the server takes may wait in the sockets between.
    assert!(sent < 32 * MIB as usize, "{sent} bytes were taken");
    assert!(resident(std::process::id()).saturating_sub(before) < 32 * MIB);
    let mut other = RawClient::register(&server, "bob").await;
    other.enter("General").await;
    server.stop().await;
}

/// The code of the last error before the server hangs up.
async fn last_word(
    socket: &mut tokio_tungstenite::WebSocketStream<MaybeTlsStream<TcpStream>>,
) -> Option<ErrorCode> {
    let mut last = None;
    while let Ok(Some(Ok(message))) = timeout(LIMIT, socket.next()).await {
        if let Message::Text(text) = message
            && let Ok(ServerMessage::Failure { error, .. }) = serde_json::from_str(&text)
        {
            last = Some(error.code);
        }
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_requests_ends_its_connection_alone() {
    let server = TestServer::start().await;
    let mut patient = RawClient::register(&server, "patient").await;
    let token = Rest::register(&server, "flood").await.token.unwrap();
    let (mut sink, mut stream) = open(&server, &token).await.unwrap().split();
    let flooding = tokio::spawn(async move {
        for id in 0..1_000_000 {
            let muted = id % 2 == 0;
            let request =
                json!({ "id": id, "method": "set_self", "params": { "muted": muted, "deafened": false } });
            if sink.send(Message::text(request.to_string())).await.is_err() {
                return id;
            }
        }
        panic!("the server takes whatever comes");
    });
    let reading = tokio::spawn(async move {
        let (mut answered, mut refused, mut last) = (0, 0, None);
        while let Some(Ok(message)) = stream.next().await {
            let Message::Text(text) = message else { continue };
            match serde_json::from_str(&text).unwrap() {
                ServerMessage::Success { .. } => answered += 1,
                ServerMessage::Failure { id, error } => {
                    assert_eq!(error.code, ErrorCode::TooManyRequests);
                    refused += u32::from(id.is_some());
                    last = Some(id);
                }
                ServerMessage::Event(_) => {}
            }
        }
        (answered, refused, last)
    });
    let mut slowest = Duration::ZERO;
    while !reading.is_finished() {
        let asked = Instant::now();
        let reply = patient.ask("leave", json!({})).await;
        slowest = slowest.max(asked.elapsed());
        assert!(reply.get("result").is_some(), "{reply}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (answered, refused, last) = reading.await.unwrap();
    // Some of the answers do not come any more.
    assert!((1..=200).contains(&answered), "{answered} were answered");
    assert!((90..=300).contains(&refused), "{refused} were refused, each with its id");
    assert_eq!(last, Some(None), "the connection ends with the reason");
    assert!(slowest < Duration::from_secs(1), "another waited for {slowest:?}");
    let sent = timeout(LIMIT, flooding).await.unwrap().unwrap();
    println!("{sent} sent, {answered} answered, {refused} refused; another waited for {slowest:?} at most");
    let counted = figure(&http(), &server.url(""), "voip_control_messages_refused_total").await;
    assert!(counted >= 100, "{counted}");
    server.stop().await;
}

/// A flood of whatever else a WebSocket may carry.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_and_nonsense() {
    let server = TestServer::start().await;
    let token = Rest::log_in(&server, ADMIN).await.token.unwrap();
    for message in [
        Message::Ping(vec![7; 100].into()),
        Message::Pong(vec![7; 100].into()),
        Message::binary(vec![7; 100]),
        Message::text("nonsense"),
    ] {
        let (mut sink, mut stream) = open(&server, &token).await.unwrap().split();
        let shown = message.to_string();
        let flooding = tokio::spawn(async move { while sink.send(message.clone()).await.is_ok() {} });
        let reading = async { while let Some(Ok(_)) = stream.next().await {} };
        timeout(LIMIT, reading).await.unwrap_or_else(|_| panic!("it takes {shown} for ever"));
        timeout(LIMIT, flooding).await.unwrap().unwrap();
    }
    let mut other = RawClient::register(&server, "bob").await;
    other.enter("General").await;
    server.stop().await;
}

/// One user, many logins.
#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_user() {
    let server = TestServer::start().await;
    let mut open_ones = Vec::new();
    let mut refusal = None;
    'all: for _ in 0..=MAX_CONNECTIONS_BY_USER / MAX_CONNECTIONS_BY_LOGIN {
        let token = Rest::log_in(&server, ADMIN).await.token.unwrap();
        for _ in 0..MAX_CONNECTIONS_BY_LOGIN {
            let mut socket = open(&server, &token).await.unwrap();
            let first = timeout(LIMIT, socket.next()).await.unwrap().unwrap().unwrap();
            if let ServerMessage::Failure { error, .. } =
                serde_json::from_str(first.to_text().unwrap()).unwrap()
            {
                refusal = Some(error.code);
                break 'all;
            }
            open_ones.push(socket);
        }
    }
    assert_eq!((open_ones.len(), refusal), (MAX_CONNECTIONS_BY_USER, Some(ErrorCode::TooManyRequests)));
    // Another user is not meant.
    RawClient::register(&server, "bob").await.enter("General").await;
    server.stop().await;
}

/// Who is half in does not hold up the end.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_stops_while_strangers_hold_on() {
    let server = TestServer::start().await;
    let address: SocketAddr = server.address.to_string().parse().unwrap();
    let _half_open = half_open(20, 2, address.port()).await;
    let mut slow = connect(&server).await;
    slow.write_all(b"POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    let _idle = connect(&server).await;
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", started.elapsed());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_talk_survives_connections_that_come_and_go() {
    let server = TestServer::start().await;
    let alice = TestClient::join(&server, "alice", "General").await;
    let bob = TestClient::listen(&server, "bob", "General").await;
    let port = server.address.port;
    let churning = tokio::spawn(async move {
        loop {
            // Dropped at once, in the middle of whatever the server is at.
            drop(half_open(100, 5, port).await);
        }
    });
    let heard = async || bob.statistics().await.frames_received;
    let before = heard().await;
    wait::until("two seconds of talk", LIMIT, || async { heard().await > before + 200 }).await;
    churning.abort();
    let statistics = bob.statistics().await;
    assert_eq!(statistics.frames_lost, 0, "{statistics:?}");
    for client in [alice, bob] {
        assert!(client.is_connected().await);
        client.stop().await;
    }
    server.stop().await;
}
