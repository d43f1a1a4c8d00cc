//! Clients that ask again and again, and cost little themselves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use voip_tests::server::{PASSWORD, TestServer};

/// A connection that is kept, of a client that does little more than read.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// To a server.
    pub async fn to(server: &TestServer) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.address.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 8_192] }
    }

    /// Asks, and reads the answer, which must be a success.
    pub async fn ask(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.unwrap();
        let mut length = 0;
        while !is_whole(&self.buffer[..length]) {
            let more = self.stream.read(&mut self.buffer[length..]).await.unwrap();
            assert!(more > 0, "the connection ended");
            length += more;
        }
        let answer = &self.buffer[..length];
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
    }
}

/// Asks who one is.
pub fn get_me(server: &TestServer, token: &str) -> Arc<[u8]> {
    let host = &server.address;
    format!("GET /auth/me HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n")
        .into_bytes()
        .into()
}

/// Logs in.
pub fn post_login(server: &TestServer, name: &str) -> Arc<[u8]> {
    let body = json!({ "username": name, "password": PASSWORD }).to_string();
    let (host, length) = (&server.address, body.len());
    format!(
        "POST /auth/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
        Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
    .into()
}

/// Connections that each ask theirs again and again.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    connections: JoinSet<()>,
}

impl Load {
    /// A connection for each request.
    pub async fn start(server: &TestServer, requests: Vec<Arc<[u8]>>) -> Self {
        let mut load = Self { stop: Arc::default(), done: Arc::default(), connections: JoinSet::new() };
        let warm = 4 * requests.len();
        for request in requests {
            let mut connection = Connection::to(server).await;
            let (stop, done) = (Arc::clone(&load.stop), Arc::clone(&load.done));
            load.connections.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    connection.ask(&request).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The first ones find nothing warm.
        while load.done() < warm {
            assert!(load.connections.try_join_next().is_none(), "a connection ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        load
    }

    /// Answers so far.
    pub fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    /// Ends them.
    pub async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.connections.join_all().await;
    }
}

/// Whether an answer with a `content-length` has come to its end.
fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&bytes[..end]).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    bytes.len() >= end + 4 + length.parse::<usize>().unwrap()
}
