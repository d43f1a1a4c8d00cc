//! Accepts connections and serves HTTP on them.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::Service;

use super::{Door, guest::Guest};
use crate::config::LimitsConfig;

/// Out of file descriptors or memory, the system gives no connection until others have ended.
const STARVED: Duration = Duration::from_millis(100);
/// Bytes of the head of a request: the largest header is an access token of less than a kilobyte.
const MAX_HEAD: usize = 16 * 1024;

/// Serves `app` until `shutdown`, then drains for at most `drain`.
///
/// HTTP/1.1 alone: `/control` and every client of ours want nothing else, and what floods a server by streams that are
/// opened and reset finds none here.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    app: Router,
    door: Arc<Door>,
    limits: LimitsConfig,
    (shutdown, drain): (CancellationToken, Duration),
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.request_head()).max_header_size(MAX_HEAD);
    let cut = CancellationToken::new();
    let connections = TaskTracker::new();
    loop {
        let (guest, address) = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = next(&listener, &door, &limits) => accepted,
        };
        let connection = Connection {
            address,
            app: app.clone(),
            door: Arc::clone(&door),
            http: http.clone(),
            shutdown: shutdown.clone(),
        };
        let (cut, tls, handshake) = (cut.clone(), tls.clone(), limits.handshake());
        connections.spawn(async move {
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = connection.run(guest, tls, handshake) => {}
            }
        });
    }
    // At once: whoever connects now should hear that there is nobody.
    drop(listener);
    connections.close();
    if timeout(drain, connections.wait()).await.is_err() {
        cut.cancel();
        connections.wait().await;
    }
    Ok(())
}

/// The next connection that may come in.
async fn next(listener: &TcpListener, door: &Arc<Door>, limits: &LimitsConfig) -> (Guest, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, address)) => match door.admit(address) {
                Some(place) => {
                    // Messages are short, and whoever waits for one should not wait for the acknowledgement of the
                    // last one, too. Where it fails, the connection is gone, and reading will tell.
                    let _ = stream.set_nodelay(true);
                    return (Guest::new(stream, place, limits.request()), address);
                }
                // Closed by a reset: the system then has nothing to remember of it.
                None => _ = stream.set_zero_linger(),
            },
            Err(error) if is_of_the_other_end(&error) => {}
            Err(error) => {
                door.starves(&error);
                tokio::time::sleep(STARVED).await;
            }
        }
    }
}

/// Whether a connection ended before it was accepted.
fn is_of_the_other_end(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

struct Connection {
    address: SocketAddr,
    app: Router,
    door: Arc<Door>,
    http: http1::Builder,
    shutdown: CancellationToken,
}

impl Connection {
    async fn run(self, guest: Guest, tls: Option<Arc<rustls::ServerConfig>>, handshake: Duration) {
        // What comes later is boxed: who does not go on should cost little.
        let Some(tls) = tls else { return Box::pin(self.speak(guest)).await };
        let shaken = {
            let _shaking = Handshake::of(&self.door);
            let shaking = Box::pin(TlsAcceptor::from(tls).accept(guest));
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                shaken = timeout(handshake, shaking) => shaken,
            }
        };
        match shaken {
            Ok(Ok(stream)) => Box::pin(self.speak(stream)).await,
            Ok(Err(_)) => _ = self.door.counters.handshakes_failed.fetch_add(1, Relaxed),
            Err(_) => _ = self.door.counters.handshakes_timed_out.fetch_add(1, Relaxed),
        }
    }

    async fn speak(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { address, app, http, shutdown, .. } = self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(address));
            app.clone().call(request)
        });
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        tokio::pin!(connection);
        tokio::select! {
            // What goes wrong here is the other end's affair.
            _ = connection.as_mut() => return,
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// Counts a handshake while it lasts.
struct Handshake<'a>(&'a Door);

impl<'a> Handshake<'a> {
    fn of(door: &'a Door) -> Self {
        door.handshakes.fetch_add(1, Relaxed);
        Self(door)
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Relaxed);
    }
}
