//! A relay for TCP between a client and the server's control port, which can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The running relay; ends with the runtime.
pub struct Wire {
    /// Where clients find it.
    pub address: SocketAddr,
    cuts: watch::Sender<u32>,
    dead: Arc<AtomicBool>,
}

impl Wire {
    /// To a server.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            cuts: watch::Sender::new(0),
            dead: Arc::default(),
        };
        let (cuts, dead) = (wire.cuts.subscribe(), Arc::clone(&wire.dead));
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                if dead.load(Ordering::Relaxed) {
                    continue;
                }
                let mut cut = cuts.clone();
                cut.mark_unchanged();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        wire
    }

    /// Ends all connections, without a word of either side.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Whether new connections end at once.
    pub fn set_dead(&self, dead: bool) {
        self.dead.store(dead, Ordering::Relaxed);
    }
}
