//! Where a store of a test lies: a folder, or a database of a PostgreSQL that the tests share.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::Secret;
use store::{Backend, LocalKek, Options, Postgres, Store, StoreError};
use zeroize::Zeroizing;

use crate::POSTGRES;
use crate::house::NOW;

/// Runs while any test has a place in it.
static SHARED: Mutex<Weak<testkit::postgres::Postgres>> = Mutex::new(Weak::new());

pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) database: Option<Database>,
}

pub(crate) struct Database {
    pub(crate) server: Arc<testkit::postgres::Postgres>,
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap(), database: POSTGRES.then(|| Database::on(shared())) }
    }

    pub(crate) fn open(&self, kek: &str, key: u8) -> Result<Store, StoreError> {
        self.open_as("test", kek, key)
    }

    /// Opens it as the server of that name.
    pub(crate) fn open_as(&self, server: &str, kek: &str, key: u8) -> Result<Store, StoreError> {
        let kek = Arc::new(LocalKek::new(kek, Zeroizing::new([key; 32])));
        Store::open(self.options(server), kek, NOW)
    }

    pub(crate) fn options(&self, server: &str) -> Options {
        let backend = self.database.as_ref().map_or(Backend::Directory, Database::backend);
        Options { dir: self.folder.path().to_owned(), server: server.to_owned(), backend }
    }

    /// Runs SQL behind the store's back; gives how many rows it changed.
    pub(crate) fn tamper(&self, file: &str, sql: &str) -> usize {
        match &self.database {
            None => self.connect(file).execute(sql, []).unwrap(),
            Some(database) if sql.starts_with("UPDATE") || sql.starts_with("DELETE") => {
                let counted = format!("WITH changed AS ({sql} RETURNING 1) SELECT count(*) FROM changed");
                database.query(file, &counted).parse().unwrap()
            }
            Some(database) => {
                database.query(file, sql);
                0
            }
        }
    }

    pub(crate) fn count(&self, file: &str, sql: &str) -> i64 {
        match &self.database {
            None => self.connect(file).query_row(sql, [], |row| row.get(0)).unwrap(),
            Some(database) => database.query(file, sql).parse().unwrap(),
        }
    }

    /// The one text that a query gives.
    pub(crate) fn text(&self, file: &str, sql: &str) -> String {
        match &self.database {
            None => self.connect(file).query_row(sql, [], |row| row.get(0)).unwrap(),
            Some(database) => database.query(file, sql),
        }
    }

    /// Whether a text stands in clear in any file.
    pub(crate) fn holds_in_clear(&self, text: &str) -> bool {
        match &self.database {
            None => holds(self.folder.path(), text),
            Some(database) => {
                database.query("main.db", "CHECKPOINT");
                holds(&database.server.data(), text)
            }
        }
    }

    fn connect(&self, file: &str) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join(file)).unwrap()
    }
}

impl Database {
    pub(crate) fn on(server: Arc<testkit::postgres::Postgres>) -> Database {
        let name = server.database().unwrap();
        Database { server, name }
    }

    pub(crate) fn backend(&self) -> Backend {
        Backend::Postgres(self.postgres(&self.server.url(&self.name)))
    }

    pub(crate) fn postgres(&self, url: &str) -> Postgres {
        Postgres { url: Secret::new(url), secrets_url: None, root_certificate: None, connections: 8 }
    }

    fn query(&self, file: &str, sql: &str) -> String {
        let schema = match file {
            "main.db" => "muster",
            "secrets.db" => "muster_secrets",
            _ => "muster_telemetry",
        };
        let url = format!("dbname={} options='-c search_path={schema}'", self.name);
        self.server.query(&url, sql).unwrap()
    }
}

pub(crate) fn shared() -> Arc<testkit::postgres::Postgres> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(testkit::postgres::Postgres::start().unwrap());
        *shared = Arc::downgrade(&server);
        server
    })
}

fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, text);
        }
        // The cluster's files come and go.
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}
