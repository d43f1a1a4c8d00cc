//! Reads of SQLite on the thread that asks.
//!
//! The driver runs each connection on a thread of its own: two wake-ups for a row that lies in memory, several times
//! what its reading takes. What every request asks is therefore read here. Whatever goes wrong is asked again of the
//! driver, which waits where this would not, and tells errors as everywhere.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OpenFlags, Row, ToSql};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Connections that are kept: as many as may ask at once, give or take.
const KEPT: usize = 16;

/// Connections to a file, to read.
pub(super) struct Inline {
    file: PathBuf,
    /// Those at rest; none after [`Inline::close`].
    idle: Mutex<Option<Vec<Connection>>>,
}

impl Inline {
    /// To a database file that is there.
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), idle: Mutex::new(Some(Vec::new())) }
    }

    /// The rows of a statement, its parameters in the order of their numbers; None where the driver must be asked.
    pub(super) fn query<T>(
        &self,
        statement: &str,
        parameters: &[&dyn ToSql],
        row: fn(&Row) -> rusqlite::Result<T>,
    ) -> Option<Vec<T>> {
        let connection = self.take()?;
        let rows = (|| {
            let mut statement = connection.prepare_cached(statement)?;
            for (number, parameter) in parameters.iter().enumerate() {
                // SQLite numbers them as they appear, not as they are called.
                let index = statement.parameter_index(&format!("${}", number + 1))?;
                statement.raw_bind_parameter(index.unwrap_or_default(), parameter)?;
            }
            statement.raw_query().mapped(row).collect()
        })();
        match rows {
            Ok(rows) => {
                self.give_back(connection);
                Some(rows)
            }
            Err(error) => {
                tracing::debug!(%error, "the driver is asked instead");
                None
            }
        }
    }

    /// Closes the connections at rest, and opens none any more.
    pub(super) fn close(&self) {
        self.lock().take();
    }

    fn take(&self) -> Option<Connection> {
        if let Some(connection) = self.lock().as_mut()?.pop() {
            return Some(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.file, flags).ok()?;
        // A thread that others wait for must not wait.
        connection.busy_timeout(std::time::Duration::ZERO).ok()?;
        Some(connection)
    }

    fn give_back(&self, connection: Connection) {
        if let Some(idle) = self.lock().as_mut().filter(|idle| idle.len() < KEPT) {
            idle.push(connection);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Vec<Connection>>> {
        // Nobody panics between its two ends.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A time as [`super::at::At`] writes it.
pub(super) fn time(text: &str) -> rusqlite::Result<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_there_and_leaves_the_rest_to_the_driver() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("some.db");
        let text = |row: &Row| row.get::<_, String>(0);
        let inline = Inline::new(&file);
        assert!(inline.query("SELECT 'no file yet'", &[], text).is_none());
        let writer = Connection::open(&file).unwrap();
        writer
            .execute_batch("CREATE TABLE words (word TEXT); INSERT INTO words VALUES ('one'), ('two')")
            .unwrap();

        let all = inline.query("SELECT word FROM words ORDER BY word", &[], text).unwrap();
        assert_eq!(all, ["one", "two"]);
        // Parameters go by their numbers, in whichever order they appear.
        let joined =
            inline.query("SELECT $2 || word || $1 FROM words WHERE word = $1", &[&"two", &">"], text);
        assert_eq!(joined.unwrap(), [">twotwo"]);
        assert!(inline.query("SELECT word FROM nowhere", &[], text).is_none());
        assert!(inline.query("INSERT INTO words VALUES ('three') RETURNING word", &[], text).is_none());
        assert!(inline.query("SELECT 7 AS word", &[], text).is_none(), "the wrong type");
        writer.execute("INSERT INTO words VALUES ('four')", []).unwrap();
        assert_eq!(inline.query("SELECT word FROM words", &[], text).unwrap().len(), 3);
        inline.close();
        assert!(inline.query("SELECT word FROM words", &[], text).is_none());
    }
}
