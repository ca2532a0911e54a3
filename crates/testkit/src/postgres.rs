//! A PostgreSQL of a test's own: a fresh cluster in a temporary folder, on a free port and a socket, with fsync on.
//!
//! PostgreSQL refuses to run as root: it runs as the user `postgres` then, or `nobody`.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::wait::{eventually, free_port};

/// The cluster's own user, who may do everything.
pub const SUPERUSER: &str = "postgres";
const DEADLINE: Duration = Duration::from_secs(60);

/// A running PostgreSQL. Ends, and its folder with it, when it is dropped.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    binaries: PathBuf,
    user: Option<(u32, u32)>,
    port: u16,
    settings: Vec<String>,
    process: Mutex<Option<Process>>,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes a cluster and starts it.
    ///
    /// # Errors
    /// If PostgreSQL is not installed, or does not start; the error carries what it said.
    pub fn start() -> Result<Postgres> {
        Postgres::start_with(&[])
    }

    /// The same, with settings as in `postgresql.conf`: `ssl=on`.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub fn start_with(settings: &[&str]) -> Result<Postgres> {
        let folder = tempfile::Builder::new().prefix("muster-pg-").tempdir()?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let postgres = Postgres {
            folder,
            binaries: binaries()?,
            user,
            port: free_port()?,
            settings: settings.iter().map(ToString::to_string).collect(),
            process: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        let data = postgres.data();
        let mut initdb = postgres.command("initdb");
        initdb.args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "--username", SUPERUSER]);
        crate::run(initdb.arg("--pgdata").arg(&data))?;
        postgres.resume()?;
        Ok(postgres)
    }

    /// The folder of the cluster's data: a test puts certificates there, or `pg_hba.conf`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes a file into the data folder, for the cluster's user only.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn put(&self, name: &str, content: &str) -> Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.data().join(name);
        std::fs::write(&path, content)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        if let Some((uid, gid)) = self.user {
            chown(&path, Some(uid), Some(gid))?;
        }
        Ok(path)
    }

    /// Makes an empty database and gives its name.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub fn database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query("postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(name)
    }

    /// The address of a database, by the socket, as the superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://{SUPERUSER}@/{database}?host={folder}&port={}", self.port)
    }

    /// The address of a database by TCP, as another user.
    #[must_use]
    pub fn tcp_url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL and gives what it finds: columns apart by `|`, rows by lines.
    ///
    /// # Errors
    /// What PostgreSQL says.
    pub fn query(&self, database: &str, sql: &str) -> Result<String> {
        let mut psql = self.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]);
        psql.args(["--username", SUPERUSER, "--dbname", database, "--port", &self.port.to_string()]);
        let output = psql.arg("--host").arg(self.folder.path()).args(["--command", sql]).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{sql}: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Stops it as an operator does: connections end, data is written.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn stop(&self) -> Result<()> {
        self.end(Signal::INT)
    }

    /// Ends it on the spot: what was not synced is lost, as far as a dead process loses anything.
    ///
    /// # Errors
    /// If it does not end in time.
    pub fn kill(&self) -> Result<()> {
        self.end(Signal::QUIT)
    }

    /// Starts it again on the same port.
    ///
    /// # Errors
    /// If it does not start; the error carries what it said.
    pub fn resume(&self) -> Result<()> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.arg("-p").arg(self.port.to_string());
        for setting in ["listen_addresses=127.0.0.1", "fsync=on", "max_connections=200"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let process = Process::start(&mut command)?;
        let ready = |process: &Process| process.has_ended() || self.query("postgres", "SELECT 1").is_ok();
        eventually("PostgreSQL", DEADLINE, || ready(&process).then_some(()))?;
        ensure!(!process.has_ended(), "PostgreSQL did not start:\n{}", process.transcript());
        *self.lock() = Some(process);
        Ok(())
    }

    fn end(&self, signal: Signal) -> Result<()> {
        let Some(mut process) = self.lock().take() else { return Ok(()) };
        process.signal(signal)?;
        process.wait(DEADLINE)?;
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(self.folder.path()).env("LC_ALL", "C").env("HOME", self.folder.path());
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its data goes with it, so it need not be written; a process that goes on is killed with its group.
        let _ = self.kill();
    }
}

/// The folder of the newest PostgreSQL that Debian's packages have installed, or the one in the path.
fn binaries() -> Result<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").is_file())
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = || std::env::split_paths(&path).find(|folder| folder.join("initdb").is_file());
    versions.pop().map(|(_, bin)| bin).or_else(in_path).ok_or_else(|| {
        anyhow!("PostgreSQL is not installed: run e2e/install, or install the package `postgresql`")
    })
}

/// User and group that PostgreSQL runs as where we are root.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = std::fs::read_to_string(Path::new("/etc/passwd"))?;
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    of("postgres")
        .or_else(|| of("nobody"))
        .map(Some)
        .context("there is neither a user `postgres` nor `nobody`")
}
