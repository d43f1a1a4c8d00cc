//! Hosting: a real server in this process, started, taken over, stopped, and refused where it cannot be.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    net::{TcpListener, UdpSocket},
    path::Path,
    sync::{Arc, Mutex, Once},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use voip_app::{
    api::{AppErrorCode, HostRequest, Hosting, HostingStep, Plane, Reach},
    host::Host,
};
use voip_client::{ClientErrorCode, net::probe};
use voip_protocol::{ErrorCode, Invite};

struct Bench {
    folder: TempDir,
    told: Arc<Mutex<Vec<Hosting>>>,
    host: Host,
}

impl Bench {
    fn new() -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let host = host(folder.path(), &told);
        Self { folder, told, host }
    }

    fn told(&self) -> Vec<Hosting> {
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

fn host(folder: &Path, told: &Arc<Mutex<Vec<Hosting>>>) -> Host {
    let told = Arc::clone(told);
    Host::new(folder.join("server"), move |hosting| told.lock().unwrap().push(hosting))
}

/// Ports of 0 take free ones.
fn request(control_port: u16, voice_port: u16) -> HostRequest {
    HostRequest {
        server_name: Some("Friday Crew".into()),
        username: "maya".into(),
        password: "correct horse".into(),
        control_port,
        voice_port,
    }
}

fn run(test: impl Future<Output = ()>) {
    Runtime::new().unwrap().block_on(test);
}

#[test]
fn a_server_starts_answers_and_stops() {
    run(async {
        let bench = Bench::new();
        assert!(!bench.host.setup().await.unwrap().has_administrator);
        let started = bench.host.start(&request(0, 0)).await.unwrap();
        let steps =
            [HostingStep::Database, HostingStep::Network, HostingStep::Account].map(Hosting::Starting);
        assert_eq!(bench.told(), steps);
        assert_eq!(probe(&started.address).await.unwrap(), started.fingerprint);
        assert!(bench.host.is_own(&started.address, started.fingerprint).await);

        bench.host.show(None).await;
        let Hosting::Running(server) = bench.host.state() else { panic!("{:?}", bench.host.state()) };
        let invite: Invite = server.invite.parse().unwrap();
        assert_eq!(invite.fingerprint, Some(started.fingerprint));
        assert_eq!(invite.address.to_string(), server.address);
        assert_eq!(invite.address.port, started.address.port);

        bench.host.show(Some("voice.example.org")).await;
        let Hosting::Running(server) = bench.host.state() else { panic!("{:?}", bench.host.state()) };
        assert_eq!(server.address, format!("voice.example.org:{}", started.address.port));
        assert_eq!(server.reach, Reach::Internet);

        bench.told();
        bench.host.stop().await;
        assert_eq!(bench.told(), [Hosting::Stopping, Hosting::Stopped]);
        let gone = probe(&started.address).await.unwrap_err();
        assert_eq!(gone.code, ClientErrorCode::Unreachable);
    });
}

#[test]
fn the_second_start_is_the_same_server() {
    run(async {
        let bench = Bench::new();
        let first = bench.host.start(&request(0, 0)).await.unwrap();
        bench.host.stop().await;
        let again = host(bench.folder.path(), &bench.told);
        assert!(again.setup().await.unwrap().has_administrator);
        let second = again.start(&request(0, 0)).await.unwrap();
        assert_eq!(second.fingerprint, first.fingerprint);
        again.stop().await;
    });
}

#[test]
fn a_taken_port_is_named_and_another_offered() {
    run(async {
        let bench = Bench::new();
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let taken = tcp.local_addr().unwrap().port();
        let error = bench.host.start(&request(taken, 0)).await.unwrap_err();
        assert_eq!(error.code, AppErrorCode::PortInUse);
        let offer = error.port.unwrap();
        assert_eq!((offer.plane, offer.taken), (Plane::Control, taken));
        assert_eq!(bench.host.state(), Hosting::Stopped);

        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        let taken = udp.local_addr().unwrap().port();
        let error = bench.host.start(&request(0, taken)).await.unwrap_err();
        assert_eq!(error.code, AppErrorCode::PortInUse);
        let voice = error.port.unwrap();
        assert_eq!((voice.plane, voice.taken), (Plane::Voice, taken));

        // What was offered works, and the refusals left nothing in the way.
        bench.host.start(&request(offer.free, voice.free)).await.unwrap();
        bench.host.stop().await;
    });
}

#[test]
fn a_second_server_is_refused_while_one_runs() {
    run(async {
        let bench = Bench::new();
        bench.host.start(&request(0, 0)).await.unwrap();
        let error = bench.host.start(&request(0, 0)).await.unwrap_err();
        assert_eq!(error.code, AppErrorCode::HostBusy);
        bench.host.stop().await;
        bench.host.start(&request(0, 0)).await.unwrap();
        bench.host.stop().await;
    });
}

#[test]
fn a_bad_administrator_is_refused_and_nothing_stays() {
    run(async {
        let bench = Bench::new();
        let bad = HostRequest { password: "short".into(), ..request(0, 0) };
        let error = bench.host.start(&bad).await.unwrap_err();
        let code = AppErrorCode::Client(ClientErrorCode::Server(ErrorCode::InvalidField));
        assert_eq!(error.code, code);
        assert!(!bench.host.setup().await.unwrap().has_administrator);
        bench.host.start(&request(0, 0)).await.unwrap();
        bench.host.stop().await;
    });
}

#[test]
fn a_database_that_is_none_is_told_and_kept() {
    run(async {
        let bench = Bench::new();
        let folder = bench.folder.path().join("server");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("voip.db"), "this is not a database, and long enough to be told from one")
            .unwrap();
        let error = bench.host.start(&request(0, 0)).await.unwrap_err();
        assert_eq!(error.code, AppErrorCode::HostFailed);
        assert!(error.message.contains("voip.db"), "{error}");
        assert!(std::fs::read_to_string(folder.join("voip.db")).unwrap().starts_with("this is not"));
        assert_eq!(bench.host.state(), Hosting::Stopped);
    });
}
