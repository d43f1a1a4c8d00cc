//! A PostgreSQL of the test process's own: made when first asked for, and gone with the process, however that ends.
//!
//! It listens on a Unix socket in its folder alone, so that no port is taken and nobody else gets in.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::sync::OnceCell;
use voip_server::{Store, config::DatabaseConfig};

/// What a start or a stop may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Names the socket in the folder; nothing listens on a port.
const PORT: u16 = 5432;
/// Owns the databases, and is no superuser: what the server needs, it must have by that.
const OWNER: &str = "voip";
/// An empty database with the schema in place, that others are copied from.
const TEMPLATE: &str = "voip_template";

/// Starts and stops the database as it is told, and cleans up when nobody is left to tell: the test process may be
/// killed. Its arguments are the folder and the command.
const KEEPER: &str = r#"
folder=$1; shift; pid=
while read -r word; do
    case $word in
        start) "$@" </dev/null & pid=$! ;;
        stop) kill -INT $pid; wait $pid ;;
        kill) kill -QUIT $pid; wait $pid ;;
    esac
done
[ -z "$pid" ] || { kill -QUIT $pid 2>/dev/null; wait $pid; }
rm -rf "$folder"
"#;

/// Whether what is committed must outlive a crash of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// As in earnest.
    Full,
    /// Quicker.
    None,
}

/// A cluster of its own.
pub struct Postgres {
    folder: PathBuf,
    // Both end when this does: the keeper sees its input end.
    words: Mutex<ChildStdin>,
    _keeper: Child,
    template: OnceCell<()>,
}

impl Postgres {
    /// The one that most tests of a process share.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Durability::None))
    }

    /// Makes a cluster and starts it. Returns when it serves.
    pub fn start(durability: Durability) -> Self {
        let folder = tempfile::Builder::new().prefix("voip-postgres-").tempdir().unwrap().keep();
        let data = folder.join("data");
        std::fs::create_dir(&data).unwrap();
        if is_root() {
            run(Command::new("chown").arg("-R").arg("postgres").arg(&folder));
        }
        run(as_database_user(program("initdb"))
            .args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C.UTF-8"])
            .args(["--auth=trust", "--username=postgres", "--pgdata"])
            .arg(&data)
            .stdout(Stdio::null()));
        // Who is told to give a password, gives it.
        let access = data.join("pg_hba.conf");
        let rest = std::fs::read_to_string(&access).unwrap();
        std::fs::write(access, format!("local all locked scram-sha-256\n{rest}")).unwrap();

        let mut command = as_database_user(program("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-p", &PORT.to_string()]);
        for setting in ["listen_addresses=", "max_connections=200", "logging_collector=off"] {
            command.args(["-c", setting]);
        }
        if durability == Durability::None {
            for setting in ["fsync=off", "synchronous_commit=off", "full_page_writes=off"] {
                command.args(["-c", setting]);
            }
        }
        let log = std::fs::File::create(folder.join("log")).unwrap();
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&folder)
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir("/")
            // What ends the tests at a terminal must not end it before it has cleaned up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let words = Mutex::new(keeper.stdin.take().expect("its input is a pipe"));
        let postgres = Self { folder, words, _keeper: keeper, template: OnceCell::new() };
        postgres.resume();
        postgres
    }

    /// Starts it again after a stop. Returns when it serves.
    pub fn resume(&self) {
        self.tell("start");
        // What pg_ctl waits for.
        self.wait("it serves", || {
            std::fs::read_to_string(self.pid_file())
                .is_ok_and(|text| text.lines().nth(7).is_some_and(|state| state.trim() == "ready"))
        });
    }

    /// Stops it: connections break, what is committed stays.
    pub fn stop(&self) {
        self.tell("stop");
        self.wait("it stops", || !self.pid_file().exists());
    }

    /// CPU time of all its processes since they started.
    pub fn cpu_time(&self) -> Duration {
        let first = std::fs::read_to_string(self.pid_file()).unwrap();
        let first: i32 = first.lines().next().unwrap().parse().unwrap();
        let ticks: u64 = procfs::process::all_processes()
            .unwrap()
            .filter_map(|process| process.and_then(|process| process.stat()).ok())
            .filter(|stat| stat.pid == first || stat.ppid == first)
            .map(|stat| stat.utime + stat.stime)
            .sum();
        Duration::from_secs_f64(ticks as f64 / procfs::ticks_per_second() as f64)
    }

    /// Makes an empty database with the schema in place, and returns its URL.
    pub async fn database(&self) -> String {
        self.template
            .get_or_init(|| async {
                let url = self.empty_database_named(TEMPLATE).await;
                Store::open(&DatabaseConfig { url, ..DatabaseConfig::default() })
                    .await
                    .unwrap()
                    .close()
                    .await;
            })
            .await;
        let name = new_name();
        self.administer(&format!("CREATE DATABASE {name} OWNER {OWNER} TEMPLATE {TEMPLATE}")).await;
        self.url(OWNER, &name)
    }

    /// Makes a database with nothing in it, and returns its URL.
    pub async fn empty_database(&self) -> String {
        self.empty_database_named(&new_name()).await
    }

    /// The URL of a database, there or not, for one of its users, there or not.
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@localhost/{database}?host={}&port={PORT}", self.folder.display())
    }

    /// Runs a statement as the superuser.
    pub async fn administer(&self, statement: &str) {
        let options: PgConnectOptions = self.url("postgres", "postgres").parse().unwrap();
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn empty_database_named(&self, name: &str) -> String {
        // Here and not in `start`: that runs where nothing can be waited for.
        self.administer(&format!(
            "DO $$ BEGIN CREATE ROLE {OWNER} LOGIN CREATEDB; EXCEPTION WHEN duplicate_object THEN END $$"
        ))
        .await;
        self.administer(&format!("CREATE DATABASE {name} OWNER {OWNER}")).await;
        self.url(OWNER, name)
    }

    fn tell(&self, word: &str) {
        let mut words = self.words.lock().expect("no holder panics");
        writeln!(words, "{word}").expect("the keeper lives as long as this process");
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let started = Instant::now();
        while !done() {
            if started.elapsed() > LIMIT {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                panic!("PostgreSQL, not within {LIMIT:?}: {what}. Its log:\n{log}");
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("data/postmaster.pid")
    }
}

fn new_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// PostgreSQL refuses to run as root.
fn as_database_user(program: PathBuf) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
    command.current_dir("/");
    command
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A program of the PostgreSQL in the path, or of the newest one; Debian keeps them out of the path.
fn program(name: &str) -> PathBuf {
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = || {
        let folders = std::fs::read_dir("/usr/lib/postgresql").ok()?;
        let folders = folders.flatten().map(|entry| entry.path());
        folders.max_by_key(|folder| version(folder)).map(|folder| folder.join("bin"))
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(newest());
    // Both of the same folder: another version's would refuse the cluster.
    let folder = folders.find(|folder| ["initdb", "postgres"].iter().all(|name| folder.join(name).exists()));
    folder.expect("PostgreSQL is missing: run `make setup`").join(name)
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
