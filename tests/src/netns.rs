//! Networks of a test's own: Linux network namespaces, joined by virtual cables. They end with the test, whatever
//! happens, as nothing but open files and threads keeps them.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, RawFd},
    process::Command,
    sync::Arc,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::{Builder, Runtime};

/// A network namespace with its own loopback.
#[derive(Clone)]
pub struct Netns(Arc<File>);

impl Netns {
    /// A new one. Only root may make one: without it there is none, and the test says so.
    ///
    /// # Panics
    /// If root may not, either, where `CI` is set: there a test must not be passed over.
    pub fn new(test: &str) -> Option<Self> {
        let made = thread::spawn(|| -> io::Result<File> {
            unshare(CloneFlags::CLONE_NEWNET)?;
            File::open("/proc/thread-self/ns/net")
        });
        let made = made.join().unwrap();
        if let Err(error) = &made {
            let must = nix::unistd::geteuid().is_root() && std::env::var_os("CI").is_some();
            assert!(!must, "no network namespace can be made: {error}");
            println!("{test} is passed over: no network namespace can be made ({error}); run it as root");
        }
        let netns = Self(Arc::new(made.ok()?));
        netns.ip(&["link set lo up"]);
        Some(netns)
    }

    /// Lays a cable to another namespace; the ends get these names.
    pub fn cable(&self, own: &str, other: &Self, others: &str) {
        let there = format!("/proc/{}/fd/{}", std::process::id(), other.fd());
        self.ip(&[&format!("link add {own} type veth peer name {others} netns {there}")]);
    }

    /// Runs commands of iproute2, in one go.
    pub fn ip(&self, commands: &[&str]) {
        let mut batch = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut batch, (commands.join("\n") + "\n").as_bytes()).unwrap();
        let file = Arc::clone(&self.0);
        let running = thread::spawn(move || {
            setns(&*file, CloneFlags::CLONE_NEWNET).unwrap();
            Command::new("ip").arg("-batch").arg(batch.path()).output()
        });
        let output = running.join().unwrap().expect("iproute2 is installed: `make setup` does it");
        assert!(output.status.success(), "{commands:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A runtime whose threads, and those that they start, are in it.
    pub fn runtime(&self) -> Runtime {
        let file = Arc::clone(&self.0);
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || setns(&*file, CloneFlags::CLONE_NEWNET).unwrap())
            .build()
            .unwrap()
    }

    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
