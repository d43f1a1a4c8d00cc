//! The two schemas are one: the same tables, the same statements, the same way there and back.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use sqlx::migrate::Migrator;
use voip_server::{Store, StoreError, config::DatabaseConfig, store::statements};
use voip_tests::{
    database::{Database, Rows},
    on_both,
};

on_both!(every_statement_is_taken, async |database| {
    let store = database.store().await;
    let mut wrong = Vec::new();
    let mut names = BTreeSet::new();
    for (name, statement) in statements(database.kind) {
        assert!(names.insert(name), "{name} is there twice");
        if let Err(error) = store.prepare(statement).await {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(names.len() > 60, "{names:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(store.prepare("SELECT nothing FROM nowhere").await.is_err(), "it does look at them");
});

/// Tables, columns, types, defaults, keys, references and indexes.
#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_agree() {
    let (sqlite, postgres) = (Database::sqlite(), Database::postgres().await);
    sqlite.store().await.close().await;
    let (sqlite, postgres) = (schema(&sqlite).await, schema(&postgres).await);
    assert_eq!(
        sqlite.keys().collect::<Vec<_>>(),
        [
            "audit_log",
            "channel_acl",
            "channels",
            "organizations",
            "roles",
            "sessions",
            "spent_tokens",
            "user_organizations",
            "user_roles",
            "users"
        ]
    );
    assert_eq!(sqlite, postgres);
    let users = &sqlite["users"];
    assert_eq!(users.columns["email"], ("text".into(), Null::May, None));
    assert!(users.uniques.contains(&vec!["org_id".to_owned(), "username_key".to_owned()]));
    assert!(users.references.contains("org_id -> organizations(id) on delete CASCADE"));
    for (table, index) in [
        ("users", "idx_users_org"),
        ("users", "idx_users_username"),
        ("channels", "idx_channels_org"),
        ("sessions", "idx_sessions_expires"),
    ] {
        assert!(sqlite[table].indexes.contains_key(index), "{index}");
    }
}

/// What must be quick is found by an index, in a database that is large enough to make a difference.
mod hot_queries_use_an_index {
    use super::*;

    /// Statement, values on which PostgreSQL plans it, and the indexes of which it may take any.
    const HOT: &[(&str, &[&str], &[&str])] = &[
        ("users::BY_ID", &["77"], &["users_pkey", "INTEGER PRIMARY KEY"]),
        (
            "users::BY_NAME",
            &["1", "'user77'"],
            &["users_org_id_username_key_key", "autoindex_users_2", "idx_users_username"],
        ),
        ("users::PAGE", &["1", "77", "NULL", "NULL", "50"], &["idx_users_org", "users_pkey"]),
        ("organizations::BY_ID", &["7"], &["organizations_pkey", "INTEGER PRIMARY KEY"]),
        ("organizations::BY_TAG", &["'t7'"], &["organizations_tag_key_key", "autoindex_organizations_1"]),
        ("roles::BY_NAME", &["1", "'role7'"], &["roles_org_id_name_key", "autoindex_roles_1"]),
        ("roles::OF_USER", &["77"], &["user_roles_pkey", "autoindex_user_roles_1"]),
        (
            "roles::OF_USERS",
            &["1", "50", "99"],
            &["user_roles_pkey", "autoindex_user_roles_1", "idx_user_roles_role"],
        ),
        ("channels::BY_ID", &["77"], &["channels_pkey", "INTEGER PRIMARY KEY"]),
        ("channels::OF_ORGANIZATION", &["7"], &["idx_channels_org"]),
        ("channels::COUNT", &["7"], &["idx_channels_org"]),
        ("channels::ACL_OF", &["77"], &["channel_acl_pkey", "autoindex_channel_acl_1"]),
        ("logins::BY_ID", &[SOME_ID], &["sessions_pkey", "autoindex_sessions_1"]),
        ("logins::CALLER", &[SOME_ID, NOW], &["sessions_access_jti_key", "autoindex_sessions_2"]),
        (
            "logins::CALLERS",
            &["ARRAY[CAST('00000000-0000-4000-8000-000000000077' AS UUID)]", NOW],
            &["sessions_access_jti_key"],
        ),
        ("logins::ROTATE", &["'\\x07'", "'\\x08'", SOME_ID, NOW, NOW], &["idx_sessions_token"]),
        ("logins::SPENT", &["'\\x07'"], &["spent_tokens_pkey", "autoindex_spent_tokens_1"]),
        ("logins::ALIVE_OF", &["77", NOW, "100"], &["idx_sessions_user"]),
        ("logins::REVOKED_SINCE", &[NOW], &["idx_sessions_revoked"]),
        ("logins::EXPIRED_SINCE", &[NOW, NOW], &["idx_sessions_expires"]),
        ("logins::REVOKED_TOKEN", &["'\\x07'"], &["idx_sessions_token"]),
        ("logins::DELETE_SPENT", &["'2020-01-01'"], &["idx_spent_tokens_spent"]),
        ("logins::DELETE_ENDED", &["'2020-01-01'"], &["idx_sessions_expires"]),
        (
            "audit::PAGE",
            &["1", "999999", "NULL", "NULL", "NULL", "NULL", "NULL", "50"],
            &["idx_audit_org_created", "audit_log_pkey", "INTEGER PRIMARY KEY"],
        ),
        ("audit::DELETE_OLD", &["'2020-01-01'", "100"], &["idx_audit_created"]),
        ("memberships::OF_USER", &["77"], &["user_organizations_pkey", "autoindex_user_organizations_1"]),
    ];
    const SOME_ID: &str = "'00000000-0000-4000-8000-000000000077'";
    const NOW: &str = "'2026-06-01T00:00:00.000000Z'";

    async fn fill(database: &Database) {
        let sqlite = database.is_sqlite();
        let numbers = |most: u32| {
            format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most})")
        };
        let bytes = |expression: &str| {
            if sqlite {
                format!("CAST({expression} AS BLOB)")
            } else {
                format!("convert_to(CAST({expression} AS TEXT), 'UTF8')")
            }
        };
        let uuid = |expression: &str| {
            if sqlite {
                format!("CAST({expression} AS BLOB)")
            } else {
                format!(
                    "CAST('00000000-0000-4000-8000-' || LPAD(CAST({expression} AS TEXT), 12, '0') AS UUID)"
                )
            }
        };
        let time = "'2026-01-01T00:00:00.000000Z'";
        let time = if sqlite { time.into() } else { format!("CAST({time} AS TIMESTAMPTZ)") };
        let later = time.replace("2026-01", "2027-01");
        let json = if sqlite { "'{}'" } else { "CAST('{}' AS JSONB)" };
        let statements = [
            format!(
                "INSERT INTO organizations (name, tag, tag_key, max_users, max_channels, created_at, updated_at)
                {} SELECT 'o' || i, 'T' || i, 't' || i, 10000, 1000, {time}, {time} FROM n",
                numbers(3_000)
            ),
            format!(
                "INSERT INTO users (org_id, username, username_key, display_name, password_hash, created_via,
                    password_changed_at, created_at, updated_at)
                {} SELECT 1 + i % 100, 'user' || i, 'user' || i, 'User', 'x', 'seed', {time}, {time}, {time} FROM n",
                numbers(20_000)
            ),
            format!(
                "INSERT INTO roles (org_id, name, permissions, priority)
                {} SELECT 1 + i % 100, 'role' || i, 1, i FROM n",
                numbers(1_000)
            ),
            format!("INSERT INTO user_roles (user_id, role_id) {} SELECT i, 1 + i % 1000 FROM n", numbers(20_000)),
            format!(
                "INSERT INTO channels (org_id, name) {} SELECT 1 + i % 100, 'c' || i FROM n",
                numbers(10_000)
            ),
            format!(
                "INSERT INTO channel_acl (channel_id, role_id) {} SELECT i, 1 + i % 1000 FROM n",
                numbers(10_000)
            ),
            format!(
                "INSERT INTO user_organizations (user_id, org_id) {} SELECT i, 1 + (i + 1) % 100 FROM n",
                numbers(5_000)
            ),
            format!(
                "INSERT INTO sessions (id, user_id, access_jti, token_hash, created_at, last_activity, expires_at)
                {} SELECT {}, i, {}, {}, {time}, {time}, {later} FROM n",
                numbers(20_000),
                uuid("i"),
                uuid("i"),
                bytes("i")
            ),
            format!(
                "INSERT INTO spent_tokens (token_hash, session_id, spent_at)
                {} SELECT {}, {}, {time} FROM n",
                numbers(20_000),
                bytes("i"),
                uuid("i")
            ),
            format!(
                "INSERT INTO audit_log (org_id, actor_id, action, resource, details, created_at)
                {} SELECT 1 + i % 100, i, 'login', 'user:x', {json}, {time} FROM n",
                numbers(20_000)
            ),
            "ANALYZE".into(),
        ];
        for statement in statements {
            database.execute(&statement).await;
        }
    }

    async fn check(database: Database) {
        database.store().await.close().await;
        fill(&database).await;
        let all: BTreeMap<_, _> = statements(database.kind)
            .map(|(name, sql)| (name.replace("voip_server::store::", ""), sql))
            .collect();
        let mut wrong = Vec::new();
        for (name, values, indexes) in HOT {
            if *name == "logins::CALLERS" && database.is_sqlite() {
                continue;
            }
            let sql = all.get(*name).unwrap_or_else(|| panic!("there is no statement {name}"));
            let plan = plan(&database, sql, values).await;
            let whole_table = plan.lines().any(|line| {
                line.contains("Seq Scan") || line.starts_with("SCAN ") && !line.contains(" USING ")
            });
            if whole_table || !indexes.iter().any(|index| plan.contains(index)) {
                wrong.push(format!("{name}\n{plan}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }

    async fn plan(database: &Database, sql: &str, values: &[&str]) -> String {
        let rows = if database.is_sqlite() {
            database.rows(&format!("EXPLAIN QUERY PLAN {sql}")).await
        } else {
            let plan = format!("PREPARE hot AS {sql}; EXPLAIN EXECUTE hot({})", values.join(", "));
            database.rows(&plan).await
        };
        rows.into_iter().filter_map(|mut row| row.pop().flatten()).collect::<Vec<_>>().join("\n")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite() {
        check(Database::sqlite()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn postgres() {
        check(Database::postgres().await).await;
    }
}

on_both!(each_migration_goes_up_and_down_and_up_again, async |database| {
    let database = database.empty_like().await;
    let store = Store::connect(&database.config()).await.unwrap();
    let states = store.migrations().await.unwrap();
    assert!(states.len() >= 5 && states.iter().all(|state| !state.applied), "{states:?}");
    let mut before = schema(&database).await;
    assert!(before.is_empty(), "{before:?}");
    for state in &states {
        store.migrate_up(Some(state.version)).await.unwrap();
        let with = schema(&database).await;
        store.migrate_down(state.version - 1).await.unwrap();
        assert_eq!(schema(&database).await, before, "{} leaves something behind", state.name);
        store.migrate_up(Some(state.version)).await.unwrap();
        assert_eq!(schema(&database).await, with, "{} is another the second time", state.name);
        before = with;
    }
    store.migrate_up(None).await.unwrap();
    assert!(store.migrations().await.unwrap().iter().all(|state| state.applied));
    store.migrate_down(0).await.unwrap();
    assert!(store.migrations().await.unwrap().iter().all(|state| !state.applied));
    assert!(schema(&database).await.is_empty());
    store.close().await;
    Store::open(&database.config()).await.unwrap().close().await;
    assert_eq!(schema(&database).await, before);
});

on_both!(two_that_start_at_once_both_come_up, async |database| {
    for _ in 0..5 {
        let empty = database.empty_like().await;
        let config = empty.config();
        let started = tokio::join!(Store::open(&config), Store::open(&config), Store::open(&config));
        for store in [started.0, started.1, started.2] {
            let store = store.unwrap();
            assert!(store.migrations().await.unwrap().iter().all(|state| state.applied));
            store.close().await;
        }
    }
});

on_both!(a_broken_migration_leaves_nothing_and_is_named, async |database| {
    let store = database.store().await;
    let before = schema(&database).await;
    let folder = tempfile::tempdir().unwrap();
    let own = if database.is_sqlite() { "sqlite" } else { "postgres" };
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations").join(own);
    for file in std::fs::read_dir(own).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let migrator = async |up: &str| {
        std::fs::write(folder.path().join("9998_broken.up.sql"), up).unwrap();
        std::fs::write(folder.path().join("9998_broken.down.sql"), "DROP TABLE half;").unwrap();
        Migrator::new(folder.path().to_owned()).await.unwrap()
    };
    let broken = migrator("CREATE TABLE half (id BIGINT); CREATE INDEX idx_half ON half (nothing);").await;
    let organization =
        "INSERT INTO organizations (name, tag, tag_key, max_users, max_channels, created_at, updated_at)
        VALUES ('a', 'A', 'a', 1, 1, '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z')";
    let half_written = migrator(&format!("{organization}; {organization};")).await;
    for migrator in [broken, half_written] {
        let error = store.migrate_with(&migrator, None).await.unwrap_err();
        assert!(matches!(error, StoreError::Migration(_)), "{error:?}");
        assert!(error.to_string().contains("9998_broken"), "{error}");
        assert_eq!(schema(&database).await, before);
        assert_eq!(database.count("SELECT COUNT(*) FROM organizations").await, 0);
        assert_eq!(database.count("SELECT COUNT(*) FROM _sqlx_migrations WHERE version = 9998").await, 0);
    }
    // It is not in the way of the one that is mended.
    let mended = migrator("CREATE TABLE half (id BIGINT);").await;
    store.migrate_with(&mended, None).await.unwrap();
    assert!(schema(&database).await.contains_key("half"));
    store.close().await;
});

on_both!(a_database_of_a_later_version_is_refused, async |database| {
    database.store().await.close().await;
    let none = if database.is_sqlite() { "x''" } else { "''" };
    database
        .execute(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
            VALUES (9999, 'from the future', TRUE, {none}, 0)"
        ))
        .await;
    let error = Store::open(&database.config()).await.err().unwrap();
    assert!(matches!(error, StoreError::Newer(9999)), "{error:?}");
    assert!(error.to_string().contains("later version"), "{error}");
    // The commands that migrate still see where it stands.
    let store = Store::connect(&database.config()).await.unwrap();
    assert!(store.migrations().await.unwrap().iter().all(|state| state.applied));
    assert!(matches!(store.migrate_up(None).await.unwrap_err(), StoreError::Newer(9999)));
});

on_both!(a_changed_migration_is_refused, async |database| {
    database.store().await.close().await;
    let other = if database.is_sqlite() { "x'00'" } else { "'\\x00'" };
    database.execute(&format!("UPDATE _sqlx_migrations SET checksum = {other} WHERE version = 2")).await;
    let error = Store::open(&database.config()).await.err().unwrap();
    assert!(matches!(error, StoreError::Migration(_)) && error.to_string().contains('2'), "{error:?}");
});

#[tokio::test]
async fn databases_in_memory_are_whole_and_each_its_own() {
    let open = async || {
        let config = DatabaseConfig { url: "sqlite::memory:".into(), ..DatabaseConfig::default() };
        Store::open(&config).await.unwrap()
    };
    let (one, other) = (open().await, open().await);
    assert!(one.migrations().await.unwrap().iter().all(|state| state.applied));
    let now = time::OffsetDateTime::now_utc();
    let mut writing = tokio::task::JoinSet::new();
    for number in 0..20 {
        let store = one.clone();
        writing.spawn(async move {
            let tag = format!("T{number}");
            let mut transaction = store.begin().await.unwrap();
            let fields = voip_server::store::OrganizationFields::new("Some", &tag);
            transaction.create_organization(fields, now).await.unwrap();
            transaction.commit().await.unwrap();
            store.organizations().await.unwrap().len()
        });
    }
    let seen = writing.join_all().await;
    assert_eq!(seen.into_iter().max(), Some(20));
    assert!(other.organizations().await.unwrap().is_empty());
    assert_eq!(one.pool_figures().max, 1);
    one.close().await;
    other.close().await;
}

/// What a table is, in words that fit both databases.
#[derive(Debug, Default, PartialEq)]
struct Table {
    /// By name: type, whether it may be null, default.
    columns: BTreeMap<String, (String, Null, Option<String>)>,
    /// The primary key and whatever else is unique.
    uniques: BTreeSet<Vec<String>>,
    references: BTreeSet<String>,
    /// Those that have a name of ours: whether unique, and the columns.
    indexes: BTreeMap<String, (bool, Vec<String>)>,
}

#[derive(Debug, PartialEq)]
enum Null {
    May,
    MayNot,
}

async fn schema(database: &Database) -> BTreeMap<String, Table> {
    let mut tables = BTreeMap::<String, Table>::new();
    let (columns, uniques, references, indexes) =
        if database.is_sqlite() { sqlite(database).await } else { postgres(database).await };
    let text = |row: &[Option<String>], at: usize| row[at].clone().unwrap();
    let list = |text: String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    for row in columns {
        let null = if text(&row, 3) == "1" { Null::MayNot } else { Null::May };
        let default = row[4].clone().map(|default| default.to_lowercase().replace("::text", ""));
        let column = (kind(&text(&row, 1), &text(&row, 2)).to_owned(), null, default);
        tables.entry(text(&row, 0)).or_default().columns.insert(text(&row, 1), column);
    }
    for row in uniques {
        tables.get_mut(&text(&row, 0)).unwrap().uniques.insert(list(text(&row, 1)));
    }
    for row in references {
        let reference =
            format!("{} -> {}({}) on delete {}", text(&row, 1), text(&row, 2), text(&row, 3), text(&row, 4));
        tables.get_mut(&text(&row, 0)).unwrap().references.insert(reference);
    }
    for row in indexes {
        let index = (text(&row, 2) == "1", list(text(&row, 3)));
        tables.get_mut(&text(&row, 0)).unwrap().indexes.insert(text(&row, 1), index);
    }
    tables
}

/// What a column holds. SQLite keeps as text what it has no type for, and the store writes it in one form.
fn kind(column: &str, declared: &str) -> &'static str {
    match declared.to_uppercase().as_str() {
        "INTEGER" | "BIGINT" => "integer",
        "BOOLEAN" => "boolean",
        "BLOB" | "BYTEA" | "UUID" => "bytes",
        "TIMESTAMP WITH TIME ZONE" => "time",
        "JSONB" => "json",
        "TEXT"
            if column.ends_with("_at")
                || ["locked_until", "last_activity", "last_login"].contains(&column) =>
        {
            "time"
        }
        "TEXT" if column == "details" => "json",
        "TEXT" => "text",
        other => panic!("the type {other} of {column} is new: say here what it is like"),
    }
}

type Found = (Rows, Rows, Rows, Rows);

async fn sqlite(database: &Database) -> Found {
    let tables = "(SELECT name AS t FROM sqlite_master
        WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '!_sqlx%' ESCAPE '!')";
    let columns = format!(
        "SELECT t, c.name, c.type, c.\"notnull\" OR (c.pk AND c.type = 'INTEGER'), c.dflt_value
        FROM {tables}, pragma_table_info(t) c"
    );
    let of_index =
        "(SELECT group_concat(name) FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))";
    // A primary key that is the row's id has no index of its own.
    let uniques = format!(
        "SELECT t, {of_index} FROM {tables}, pragma_index_list(t) i WHERE i.origin IN ('u', 'pk')
        UNION ALL SELECT t, c.name FROM {tables}, pragma_table_info(t) c WHERE c.pk AND c.type = 'INTEGER'"
    );
    let references = format!(
        "SELECT t, f.\"from\", f.\"table\", f.\"to\", f.on_delete FROM {tables}, pragma_foreign_key_list(t) f"
    );
    let indexes = format!(
        "SELECT t, i.name, i.\"unique\", {of_index} FROM {tables}, pragma_index_list(t) i WHERE i.origin = 'c'"
    );
    (
        database.rows(&columns).await,
        database.rows(&uniques).await,
        database.rows(&references).await,
        database.rows(&indexes).await,
    )
}

async fn postgres(database: &Database) -> Found {
    let columns = "SELECT table_name, column_name, data_type, CASE is_nullable WHEN 'NO' THEN 1 ELSE 0 END,
            column_default
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '!_sqlx%' ESCAPE '!'";
    let uniques = "SELECT c.conrelid::regclass,
            (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(c.conkey) WITH ORDINALITY k (attnum, n)
                JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum)
        FROM pg_constraint c WHERE c.contype IN ('u', 'p') AND c.connamespace = 'public'::regnamespace
            AND c.conrelid::regclass::text NOT LIKE '!_sqlx%' ESCAPE '!'";
    let references = "SELECT c.conrelid::regclass, a.attname, c.confrelid::regclass, b.attname,
            CASE c.confdeltype WHEN 'c' THEN 'CASCADE' WHEN 'n' THEN 'SET NULL' WHEN 'a' THEN 'NO ACTION'
                WHEN 'r' THEN 'RESTRICT' ELSE 'SET DEFAULT' END
        FROM pg_constraint c
        JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
        JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1]
        WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace";
    let indexes = "SELECT i.indrelid::regclass, i.indexrelid::regclass, i.indisunique::int,
            (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey::int[]) WITH ORDINALITY k (attnum, n)
                JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        WHERE c.relnamespace = 'public'::regnamespace AND NOT EXISTS (
            SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid AND contype IN ('u', 'p'))";
    (
        database.rows(columns).await,
        database.rows(uniques).await,
        database.rows(references).await,
        database.rows(indexes).await,
    )
}
