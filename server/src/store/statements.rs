//! Every statement has a name and stands in a list, so that a test can prepare each on both databases.

use super::DatabaseKind;

/// Declares constants of SQL, and `STATEMENTS`: all of them by name.
macro_rules! declare {
    ($($name:ident = $sql:expr;)*) => {
        $(pub(super) const $name: &str = $sql;)*
        pub(super) const STATEMENTS: &[(&str, &str)] =
            &[$((concat!(module_path!(), "::", stringify!($name)), $name)),*];
    };
}
pub(super) use declare;

/// All statements of the store on one database, by name. Placeholders are `$1`, `$2`, …
pub fn statements(kind: DatabaseKind) -> impl Iterator<Item = (&'static str, &'static str)> {
    let insert_login = ("voip_server::store::logins::insert", super::logins::insert(kind));
    [
        super::audit::STATEMENTS,
        super::channels::STATEMENTS,
        super::logins::STATEMENTS,
        super::memberships::STATEMENTS,
        super::organizations::STATEMENTS,
        super::roles::STATEMENTS,
        super::users::STATEMENTS,
    ]
    .into_iter()
    .flatten()
    .copied()
    .chain([insert_login])
    .chain(
        (kind == DatabaseKind::Postgres)
            .then_some(("voip_server::store::logins::CALLERS", super::logins::CALLERS)),
    )
}
