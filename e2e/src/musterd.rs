//! The server under test.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use testkit::netns::NetworkNamespace;
use testkit::process::{Process, Stream, binary};
use testkit::wait::eventually;

use crate::PATIENCE;
use crate::address::Address;
use crate::muster::Muster;
use crate::operator::Operator;

/// The provision key of the ThingsBoard document's programs.
pub const SEED_KEY: &str = "abc123xyz789";
/// The provision secret of the ThingsBoard document's programs.
pub const SEED_SECRET: &str = "secret456def";

/// What a server is started with. It can be started any number of times: on the same folder, at the same
/// address.
#[derive(Debug, Clone)]
pub struct Setup {
    verb: Verb,
    folder: PathBuf,
    address: Address,
    namespace: Option<Arc<NetworkNamespace>>,
    environment: Vec<(String, OsString)>,
    /// Deleted with the last copy of the setup.
    home: Arc<TempDir>,
}

#[derive(Debug, Clone)]
enum Verb {
    Quickstart { options: Vec<String> },
    Serve { config: PathBuf },
}

impl Setup {
    /// `musterd quickstart` on a new folder, with the key and secret of the ThingsBoard document.
    ///
    /// # Errors
    /// If there is no room for the folder.
    pub fn quickstart() -> Result<Self> {
        let options = ["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
        Self::new(|_| Ok(Verb::Quickstart { options: options.map(str::to_owned).to_vec() }))
    }

    /// `musterd quickstart` on a new folder, with a key and a secret that it makes itself.
    ///
    /// # Errors
    /// If there is no room for the folder.
    pub fn quickstart_at_random() -> Result<Self> {
        Self::new(|_| Ok(Verb::Quickstart { options: Vec::new() }))
    }

    /// `musterd serve` on a new folder; `config` is its file, without folder and addresses.
    ///
    /// # Errors
    /// If there is no room for the folder.
    pub fn serve(config: &str) -> Result<Self> {
        Self::new(|home| {
            let file = home.join("musterd.toml");
            fs::write(&file, config)?;
            Ok(Verb::Serve { config: file })
        })
    }

    fn new(verb: impl FnOnce(&Path) -> Result<Verb>) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("muster-e2e-").tempdir()?;
        let verb = verb(home.path())?;
        let folder = home.path().join("data");
        fs::create_dir(&folder)?;
        let address = Address::unused();
        Ok(Self { verb, folder, address, namespace: None, environment: Vec::new(), home: Arc::new(home) })
    }

    /// On another folder, which stays when the test is over.
    #[must_use]
    pub fn on(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Inside a network namespace, at the usual address.
    #[must_use]
    pub fn within(mut self, namespace: &Arc<NetworkNamespace>) -> Self {
        self.namespace = Some(Arc::clone(namespace));
        self.address = Address::usual();
        self
    }

    /// With a setting over the configuration, such as `("LOG__FILTER", "trace")`.
    #[must_use]
    pub fn setting(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((format!("MUSTER__{key}"), value.into()));
        self
    }

    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// If it was not built, or ends instead; with what it printed.
    pub fn start(&self) -> Result<Musterd> {
        let server = self.launch(|_| Ok(()))?;
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Starts it and waits for nothing; `prepare` may change the command before.
    ///
    /// # Errors
    /// If it was not built, or `prepare` fails.
    pub fn launch(&self, prepare: impl FnOnce(&mut Command) -> Result<()>) -> Result<Musterd> {
        let mut command = self.command()?;
        prepare(&mut command)?;
        let process = Process::start(&mut command)?;
        Ok(Musterd { setup: self.clone(), process })
    }

    fn command(&self) -> Result<Command> {
        let mut command = self.neighbour(binary("musterd")?);
        command.current_dir(self.home.path());
        match &self.verb {
            Verb::Quickstart { options } => {
                command.arg("quickstart").arg("--data").arg(&self.folder).args(options);
                self.addresses_of_quickstart(&mut command);
            }
            Verb::Serve { config } => {
                command.arg("serve").arg("--config").arg(config);
                self.addresses_of_serve(&mut command);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// In a namespace of its own it listens where it does for everyone: that is what is tested there.
    fn addresses_of_quickstart(&self, command: &mut Command) {
        if self.namespace.is_none() {
            command.arg("--http").arg(self.address.http().to_string());
            command.arg("--mqtt").arg(self.address.mqtt().to_string());
        }
    }

    fn addresses_of_serve(&self, command: &mut Command) {
        command.env("MUSTER__DIRECTORY", &self.folder);
        command.env("MUSTER__HTTP__BIND", self.address.http().to_string());
        command.env("MUSTER__MQTT__BIND", self.address.mqtt().to_string());
    }

    /// The folder it runs on.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A folder beside it for what a test needs, deleted with it.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// A command of another program that can reach the server.
    #[must_use]
    pub fn neighbour(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.namespace {
            Some(namespace) => namespace.command(program),
            None => Command::new(program),
        }
    }

    /// The operator's program for the server on this folder.
    ///
    /// # Errors
    /// If it was not built.
    pub fn muster(&self) -> Result<Muster> {
        Muster::of(&self.folder, self.namespace.clone())
    }

    /// The operator API of the server on this folder, opened with its first admin secret.
    ///
    /// # Errors
    /// If nobody listens, or the secret is not there.
    pub fn operator(&self) -> Result<Operator> {
        let secret = fs::read_to_string(self.folder.join("keys/admin-secret"))?;
        Operator::open(self.address.http(), secret.trim_end())
    }
}

/// A server, killed on drop.
#[derive(Debug)]
pub struct Musterd {
    setup: Setup,
    process: Process,
}

impl Musterd {
    /// A quickstart server that serves.
    ///
    /// # Errors
    /// As [`Setup::start`].
    pub fn quickstart() -> Result<Self> {
        Setup::quickstart()?.start()
    }

    /// A server with this configuration that serves.
    ///
    /// # Errors
    /// As [`Setup::start`].
    pub fn serve(config: &str) -> Result<Self> {
        Setup::serve(config)?.start()
    }

    /// What it was started with, for starting it again.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The process, for waiting for its end.
    #[must_use]
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Address {
        self.setup.address
    }

    /// The operator's program for this server.
    ///
    /// # Errors
    /// If it was not built.
    pub fn muster(&self) -> Result<Muster> {
        self.setup.muster()
    }

    /// The operator API of this server, opened with its first admin secret.
    ///
    /// # Errors
    /// If nobody listens, or the secret is not there.
    pub fn operator(&self) -> Result<Operator> {
        self.setup.operator()
    }

    /// Waits until the server says, in its folder, that it listens, and until quickstart has shown what to
    /// try.
    ///
    /// # Errors
    /// With its output, if it ends instead.
    pub fn wait_until_ready(&self) -> Result<()> {
        let ready = eventually("the server to listen", PATIENCE, || {
            let ready = self.says_that_it_listens() && self.has_shown_its_lines();
            (ready || self.process.has_ended()).then_some(())
        });
        ready.with_context(|| self.process.transcript())?;
        ensure!(!self.process.has_ended(), "musterd ended:\n{}", self.process.transcript());
        Ok(())
    }

    fn says_that_it_listens(&self) -> bool {
        let file = self.setup.folder.join("run/server.json");
        let said = fs::read(file).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        said.is_some_and(|said| said["pid"] == self.process.id())
    }

    fn has_shown_its_lines(&self) -> bool {
        let last = |line: &String| line.starts_with("muster --data ");
        matches!(self.setup.verb, Verb::Serve { .. }) || self.printed().iter().any(last)
    }

    /// Asks it to stop and waits for its end.
    ///
    /// # Errors
    /// If it does not end, or ends in failure.
    pub fn stop(mut self) -> Result<()> {
        let status = self.process.terminate(PATIENCE)?;
        ensure!(status.success(), "musterd ended with {status}:\n{}", self.process.transcript());
        Ok(())
    }

    /// Kills it (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub fn kill(mut self) -> Result<ExitStatus> {
        self.process.kill()
    }

    /// Its standard output so far.
    #[must_use]
    pub fn printed(&self) -> Vec<String> {
        self.process.lines(Stream::Out)
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// With its output.
    pub fn must_be_running(&self) -> Result<()> {
        if self.process.has_ended() {
            bail!("musterd ended:\n{}", self.process.transcript());
        }
        Ok(())
    }
}
