//! What an administrator does at the shell, with the real program on databases of both kinds.

#![allow(clippy::unwrap_used)]

use std::{
    collections::HashSet,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use voip_protocol::{ErrorCode, OrganizationId};
use voip_server::{
    Store,
    auth::{Passwords, Verdict},
    config::DatabaseConfig,
    store::{AuditFilter, UserRow},
};
use voip_tests::{
    database::Database,
    on_both,
    postgres::Postgres,
    process::{Server, program},
    raw::RawClient,
    server::TestServer,
};

const GOOD: &str = "velvet-anchor-7";

/// What a command came to.
#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    error: String,
}

impl Done {
    /// It did what it should.
    #[track_caller]
    fn done(self) -> String {
        assert_eq!((self.code, self.error.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// It was refused, in one sentence that says this.
    #[track_caller]
    fn refused(self, says: &str) {
        assert_eq!(self.code, 2, "{self:?}");
        assert!(self.error.starts_with("voip-server: ") && self.error.contains(says), "{self:?}");
        assert_eq!(self.error.lines().count(), 1, "{self:?}");
    }
}

/// A folder to run the program in, and the database that it uses.
struct Shell {
    folder: TempDir,
    url: String,
}

impl Shell {
    fn new(url: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), url: url.to_owned() }
    }

    /// With the Demo Organization.
    fn demo(database: &Database) -> Self {
        let shell = Self::new(&database.url);
        assert!(shell.run(&["seed-demo"]).done().contains("DEMO"));
        shell
    }

    fn run(&self, arguments: &[&str]) -> Done {
        self.tell(arguments, "")
    }

    /// Runs it with this on its standard input.
    fn tell(&self, arguments: &[&str], input: &str) -> Done {
        let mut child = Command::new(program("voip-server"))
            .args(arguments)
            .env("VOIP_DATABASE__URL", &self.url)
            .env("VOIP_DATABASE__ACQUIRE_TIMEOUT_SECONDS", "2")
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may have refused before it read.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let done = Done {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            error: text(output.stderr),
        };
        assert!(!done.error.contains("panicked"), "{done:?}");
        done
    }

    fn write(&self, name: &str, content: &str) -> String {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.display().to_string()
    }

    async fn store(&self) -> Store {
        let config = DatabaseConfig { url: self.url.clone(), ..DatabaseConfig::default() };
        Store::open(&config).await.unwrap()
    }
}

async fn find(store: &Store, name: &str) -> Option<UserRow> {
    store.user_by_name(demo(store).await, name).await.unwrap()
}

async fn demo(store: &Store) -> OrganizationId {
    store.organization_by_tag("DEMO").await.unwrap().unwrap().id()
}

async fn is_password(user: &UserRow, password: &str) -> bool {
    let passwords = Passwords::new(1).unwrap();
    passwords.verify(password.into(), Some(user.password_hash.clone())).await.unwrap() == Verdict::Right
}

/// The password in what a command printed.
#[track_caller]
fn shown(out: &str) -> &str {
    let line = out.lines().find_map(|line| line.strip_prefix("Password, shown this once: "));
    line.unwrap_or_else(|| panic!("no password: {out}"))
}

on_both!(accounts, async |database| {
    let shell = Shell::demo(&database);
    let made =
        shell.run(&["user", "create", "anna", "--role", "officer", "--email", "anna@example.org"]).done();
    let made = shown(&made).to_owned();
    let told =
        shell.tell(&["user", "create", "Zoë", "--org", "demo", "--password-stdin"], "velvet-anchor-7\r\n");
    assert!(!told.done().contains(GOOD));

    let store = shell.store().await;
    let anna = find(&store, "anna").await.unwrap();
    assert!(is_password(&anna, &made).await && !is_password(&anna, GOOD).await);
    assert_eq!((anna.created_via.as_str(), anna.email.as_deref()), ("shell", Some("anna@example.org")));
    assert_eq!(store.roles_of(anna.id()).await.unwrap()[0].name, "Officer");
    let zoe = find(&store, "ZOË").await.unwrap();
    assert!(is_password(&zoe, GOOD).await);
    assert_eq!(store.roles_of(zoe.id()).await.unwrap()[0].name, "Member");

    let reset = shell.run(&["user", "set-password", "anna"]).done();
    let anna = find(&store, "anna").await.unwrap();
    assert!(is_password(&anna, shown(&reset)).await && !is_password(&anna, &made).await);
    shell.tell(&["user", "set-password", "ANNA", "--password-stdin"], GOOD).done();
    assert!(is_password(&find(&store, "anna").await.unwrap(), GOOD).await);

    shell.run(&["user", "disable", "anna"]).done();
    assert!(!find(&store, "anna").await.unwrap().active);
    let list: Value = serde_json::from_str(&shell.run(&["user", "list", "--json"]).done()).unwrap();
    let listed = list.as_array().unwrap();
    assert_eq!(listed.len(), 6);
    let anna = listed.iter().find(|user| user["username"] == "anna").unwrap();
    assert_eq!((&anna["active"], &anna["roles"]), (&json!(false), &json!(["Officer"])));
    assert!(!list.to_string().contains("argon2"), "{list}");
    let table = shell.run(&["user", "list", "--org", "DEMO"]).done();
    let row = table.lines().find(|line| line.contains("anna")).unwrap();
    assert!(row.contains("disabled") && row.contains("Officer") && row.contains("never"), "{table}");
    assert!(shell.run(&["user", "disable", "anna"]).done().contains("already"));
    shell.run(&["user", "enable", "anna"]).done();
    assert!(find(&store, "anna").await.unwrap().active);

    let audit = store.audit_page(demo(&store).await, &AuditFilter::default(), 100).await.unwrap();
    let of = |name: &str, action: &str| {
        let resource = format!("user:{name}");
        audit.iter().filter(|row| row.resource == resource && row.action == action).count()
    };
    assert_eq!((of("anna", "user_created"), of("anna", "password_reset")), (1, 2));
    assert_eq!((of("anna", "user_disabled"), of("anna", "user_enabled")), (1, 1));
    let written = audit.iter().fold(String::new(), |sum, row| sum + &row.details.0.to_string());
    assert!(!written.contains(GOOD) && !written.contains(&made) && !written.contains("argon2"), "{written}");
    store.close().await;
});

on_both!(what_cannot_be_done_is_said, async |database| {
    let shell = Shell::demo(&database);
    shell.run(&["seed-demo"]).refused("already");
    shell.run(&["user", "create", "ALICE"]).refused("the name ALICE is taken");
    shell.run(&["user", "create", "anna", "--role", "King"]).refused("no role King; it has Admin, Officer");
    shell.run(&["user", "create", "anna", "--org", "NOWHERE"]).refused("tag NOWHERE");
    shell.run(&["user", "create", "anna", "--email", "nowhere"]).refused("email must be an address");
    shell.run(&["user", "create", "a'; DROP TABLE users;--"]).refused("username must have");
    shell.tell(&["user", "create", "anna", "--password-stdin"], "").refused("no password on standard input");
    shell.tell(&["user", "create", "anna", "--password-stdin"], "short").refused("8 to 128 characters");
    shell.tell(&["user", "create", "anna", "--password-stdin"], "password1").refused("among the first");
    shell.tell(&["user", "create", "anna", "--password-stdin"], &"x".repeat(1 << 20)).refused("8 to 128");
    for command in ["disable", "enable", "set-password"] {
        shell.run(&["user", command, "nobody"]).refused("there is no user nobody in DEMO");
    }
    shell.run(&["user", "disable", "demo"]).refused("nobody would be left");
    shell.run(&["users", "import", "nowhere.json"]).refused("nowhere.json cannot be read");
    shell.tell(&["users", "import", "-"], "[{]").refused("not JSON, on line 1");
    shell.tell(&["users", "import", "-"], "{\"users\": []}").refused("something else");
    shell.run(&["users", "export", "no/such/folder.json"]).refused("no/such/folder.json cannot be written");
    shell.run(&["migrate", "reset"]).refused("say --yes");
    shell.run(&["migrate", "up", "--to", "99"]).refused("there is no migration 99");
    shell.run(&["migrate", "down", "--to", "99"]).refused("there is no migration 99");
    assert_eq!(shell.run(&["migrate", "down", "--to", "-1"]).code, 2);
    let store = shell.store().await;
    assert!(find(&store, "anna").await.is_none());
    assert!(find(&store, "demo").await.unwrap().active);

    let mut transaction = store.begin().await.unwrap();
    let second = voip_server::store::OrganizationFields::new("Second", "TWO");
    transaction.create_organization(second, time::OffsetDateTime::UNIX_EPOCH).await.unwrap();
    transaction.commit().await.unwrap();
    store.close().await;
    shell.run(&["user", "create", "anna"]).refused("name one by --org (DEMO, TWO)");
    shell.tell(&["users", "import", "-"], "[]").refused("there are several");
    assert_eq!(shell.run(&["user", "list"]).done().lines().count(), 5);
});

on_both!(who_is_disabled_is_out_at_once, async |database| {
    let url = database.url.clone();
    let server = TestServer::start_with(|config| config.database.url = url).await;
    let shell = Shell::new(&database.url);
    for command in [&["user", "disable", "bob"][..], &["user", "set-password", "carol"]] {
        let mut connected = RawClient::register(&server, command[2]).await;
        let started = Instant::now();
        assert!(shell.run(command).done().contains("logins ended: 1"));
        let ran = started.elapsed();
        let (_, error) = connected.next_error().await.unwrap();
        assert_eq!(error.code, ErrorCode::LoginRevoked);
        assert!(connected.next().await.is_none());
        assert!(started.elapsed() < ran + Duration::from_secs(1), "{:?}", started.elapsed());
    }
    let login = json!({ "username": "bob", "password": voip_tests::server::PASSWORD }).to_string();
    assert_eq!(server.post("/auth/login", login.clone()).await.0, 401);
    shell.run(&["user", "enable", "bob"]).done();
    assert_eq!(server.post("/auth/login", login.clone()).await.0, 200);
    let made = shell.run(&["user", "create", "dora"]).done();
    let login = json!({ "username": "dora", "password": shown(&made) }).to_string();
    assert_eq!(server.post("/auth/login", login).await.0, 200);
    server.stop().await;
});

// Accounts go from a database of one kind to one of either, and their passwords with them.
on_both!(accounts_travel, async |database| {
    let from = Database::sqlite();
    let old = Shell::demo(&from);
    old.tell(&["user", "create", "anna", "--role", "Officer", "--role", "Guest", "--password-stdin"], GOOD)
        .done();
    old.run(&["user", "create", "ben"]).done();
    old.run(&["user", "disable", "ben"]).done();
    assert!(old.run(&["users", "export", "users.json"]).done().contains("6 accounts"));
    let file = old.folder.path().join("users.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // Again, in its place.
    old.run(&["users", "export", "users.json", "--org", "demo"]).done();
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(old.run(&["users", "export", "-"]).done(), text);
    assert!(!old.run(&["users", "export", "-", "--without-hashes"]).done().contains("argon2"));

    let new = Shell::demo(&database);
    let file = file.display().to_string();
    let report = new.run(&["users", "import", &file]).done();
    assert!(report.ends_with("created 2, skipped 4, refused 0\n"), "{report}");
    assert!(report.contains("line 7  created  anna"), "{report}");
    assert!(new.run(&["users", "import", &file]).done().ends_with("created 0, skipped 6, refused 0\n"));
    let store = new.store().await;
    let anna = find(&store, "anna").await.unwrap();
    assert!(is_password(&anna, GOOD).await);
    let roles = store.roles_of(anna.id()).await.unwrap();
    assert_eq!(roles.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), ["Officer", "Guest"]);
    assert!(!find(&store, "ben").await.unwrap().active);
    let exported = AuditFilter { action: Some("users_exported"), ..AuditFilter::default() };
    let old_store = old.store().await;
    assert_eq!(old_store.audit_page(demo(&old_store).await, &exported, 10).await.unwrap().len(), 4);
    old_store.close().await;
    store.close().await;
});

on_both!(the_legacy_list, async |database| {
    let shell = Shell::demo(&database);
    let file = shell.write(
        "users.json",
        &format!(
            "[\n{},\n{},\n{},\n{}\n]",
            json!({ "username": "anna", "password": GOOD, "email": "anna@example.org" }),
            json!({ "username": "ben", "password": "password" }),
            json!({ "username": "Alice", "password": GOOD }),
            json!({ "username": "carl", "password": GOOD }),
        ),
    );
    let all_or_nothing = shell.run(&["users", "import", &file, "--atomic"]);
    assert!(all_or_nothing.out.ends_with("created 0, skipped 3, refused 1\n"), "{all_or_nothing:?}");
    all_or_nothing.refused("no account was made");
    let store = shell.store().await;
    assert!(find(&store, "anna").await.is_none() && find(&store, "carl").await.is_none());

    let rest = shell.run(&["users", "import", &file]);
    assert!(
        rest.out.contains("line 3  refused  ben") && rest.out.contains("line 4  skipped  Alice"),
        "{rest:?}"
    );
    assert!(rest.out.ends_with("created 2, skipped 1, refused 1\n"), "{rest:?}");
    rest.refused("1 of the entries");
    let anna = find(&store, "anna").await.unwrap();
    assert!(is_password(&anna, GOOD).await && anna.password_hash.starts_with("$argon2id$"));
    assert_eq!(anna.email.as_deref(), Some("anna@example.org"));
    assert!(is_password(&find(&store, "alice").await.unwrap(), "alice123").await, "it stays as it is");
    store.close().await;
});

on_both!(migrations, async |database| {
    let shell = Shell::new(&database.empty_like().await.url);
    let states = |shell: &Shell| -> Vec<(i64, bool)> {
        let text = shell.run(&["migrate", "status", "--json"]).done();
        let states: Vec<Value> = serde_json::from_str(&text).unwrap();
        states
            .iter()
            .map(|state| (state["version"].as_i64().unwrap(), state["applied"].as_bool().unwrap()))
            .collect()
    };
    let none = states(&shell);
    assert!(none.len() > 1 && none.iter().all(|(_, applied)| !applied));
    shell.run(&["migrate", "up", "--to", "1"]).done();
    assert!(states(&shell).iter().all(|(version, applied)| *applied == (*version == 1)));
    assert!(shell.run(&["migrate", "up"]).done().lines().all(|line| line.contains("applied")));
    shell.run(&["seed-demo"]).done();
    shell.run(&["migrate", "reset", "--yes"]).done();
    assert!(states(&shell).iter().all(|(_, applied)| *applied));
    assert_eq!(shell.run(&["user", "list"]).done().lines().count(), 1);
    shell.run(&["migrate", "down", "--to", "0"]).done();
    assert_eq!(states(&shell), none);
    let table = shell.run(&["migrate", "status"]).done();
    assert_eq!(table.lines().count(), none.len());
    assert!(table.starts_with("0001  missing  "), "{table}");
});

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_made() {
    let sqlite = Shell::new("sqlite:new/folder/voip.db");
    sqlite.run(&["user", "list"]).refused("there is no database new/folder/voip.db");
    assert!(sqlite.run(&["create-db"]).done().contains("is there now"));
    assert!(sqlite.run(&["create-db"]).done().contains("already"));
    sqlite.run(&["seed-demo"]).done();
    let file = sqlite.folder.path().join("new/folder/voip.db");
    assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o077, 0, "it holds hashes");
    Shell::new("sqlite::memory:").run(&["create-db"]).refused("in memory");
    Shell::new("mysql://u:hidden@h/d").run(&["create-db"]).refused("it must begin with sqlite: or postgres:");

    // Makes the role as well.
    Database::empty_postgres().await;
    let postgres = Shell::new(&Postgres::shared().url("voip", "made_at_the_shell"));
    assert_eq!(postgres.run(&["user", "list"]).code, 2);
    assert!(postgres.run(&["create-db"]).done().contains("is there now"));
    assert!(postgres.run(&["create-db"]).done().contains("already"));
    postgres.run(&["seed-demo"]).done();
    assert_eq!(postgres.run(&["user", "list"]).done().lines().count(), 5);
}

/// Each copy is whole, whatever the server is writing.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_server_at_work() {
    let _alone = voip_tests::server::alone().await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), 0, 0);
    let shell = Shell::new(&format!("sqlite:{}", folder.path().join("voip.db").display()));
    shell.run(&["user", "create", "before"]).done();
    let writer = std::thread::spawn({
        let shell = Shell::new(&shell.url);
        move || {
            (0..5).for_each(|number| drop(shell.run(&["user", "create", &format!("during{number}")]).done()));
        }
    });
    let said = shell.run(&["backup", "copy.db"]).done();
    assert!(said.contains("copy.db is a copy of") && said.contains("checked"), "{said}");
    let copy = shell.folder.path().join("copy.db");
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&copy).unwrap();
    shell.run(&["backup", "copy.db"]).refused("is there already");
    assert_eq!(std::fs::read(&copy).unwrap(), before);
    writer.join().unwrap();
    drop(server);

    let restored = Shell::new(&format!("sqlite:{}", copy.display()));
    let listed = restored.run(&["user", "list"]).done();
    assert!(listed.contains("before") && listed.contains("admin"), "{listed}");
    assert!(restored.run(&["migrate", "status"]).done().lines().all(|line| line.contains("applied")));

    Shell::new("sqlite:nowhere.db").run(&["backup", "b.db"]).refused("there is no database nowhere.db");
    let other = Shell::new("sqlite:text.db");
    other.write("text.db", &"no database at all ".repeat(1_000));
    other.run(&["backup", "b.db"]).refused("not an SQLite database");
    assert!(!other.folder.path().join("b.db").exists(), "what is incomplete is worse than nothing");
    let postgres = Shell::new("postgres://voip:hidden@db.example.org/voip").run(&["backup", "b.dump"]);
    assert!(!postgres.error.contains("hidden"), "{postgres:?}");
    postgres.refused("pg_dump --format=custom --file=b.dump 'postgres://voip@db.example.org/voip'");
}

#[tokio::test]
async fn hashes() {
    let shell = Shell::new("");
    let hash = |input: &str| shell.tell(&["hash-password"], input);
    let hashes: HashSet<String> = (0..2).map(|_| hash(&format!("{GOOD}\n")).done()).collect();
    assert_eq!(hashes.len(), 2, "each has a salt of its own");
    for phc in hashes {
        let verdict = Passwords::new(1).unwrap().verify(GOOD.into(), Some(phc.trim().to_owned())).await;
        assert_eq!(verdict.unwrap(), Verdict::Right);
    }
    hash("").refused("no password on standard input");
    hash("\n").refused("no password on standard input");
    hash("1234567").refused("8 to 128 characters");
    hash("password").refused("among the first");
    // It needs no server.
    shell.write("server.yaml", "nonsense: [");
    hash(GOOD).done();
}

/// No command tells the password of the database, whatever is wrong with it.
#[tokio::test]
async fn the_database_keeps_its_password() {
    let shell = Shell::new("postgres://voip:hidden@127.0.0.1:1/voip");
    let commands: [&[&str]; 6] = [
        &["create-db"],
        &["migrate", "status"],
        &["seed-demo"],
        &["user", "list"],
        &["users", "export", "-"],
        &["serve", "--control-port", "0", "--voice-port", "0"],
    ];
    for command in commands {
        let done = shell.run(command);
        assert!(!done.error.contains("hidden") && !done.out.contains("hidden"), "{done:?}");
        assert_eq!(done.code, 2, "{done:?}");
    }
}
