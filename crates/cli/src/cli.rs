//! The command line as a whole.

use std::path::PathBuf;
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use crate::client::Client;
use crate::commands::{
    account, attempts, audit, backup, context, device, events, explain, freeze, leaving, login, operation,
    operator, profile, secrets, shell, simulate, tenant, trace,
};
use crate::connection::ServerFlags;
use crate::failure::{EXIT_CODES, Failure};
use crate::render::{Format, Output};
use crate::watch;

/// Operate a Muster server: tenants, profiles, devices, and what became of them
#[derive(Debug, Parser)]
#[command(name = "muster", version, after_long_help = EXIT_CODES, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    server: ServerFlags,
    /// How answers are written
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
    /// Ask again every so many seconds until interrupted; for commands that only read
    #[arg(long, global = true, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          require_equals = true, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    watch: Option<u64>,
    #[command(subcommand)]
    command: Command,
}

/// The nouns.
#[derive(Debug, Subcommand)]
enum Command {
    /// Tenants: the outer walls between customers
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// People and programs that operate the server
    #[command(subcommand)]
    Operator(operator::Command),
    /// The way in for whoever is locked out
    #[command(subcommand)]
    Admin(account::AdminCommand),
    /// Profiles: how devices of a kind are admitted
    #[command(subcommand)]
    Profile(profile::Command),
    /// Devices
    #[command(subcommand)]
    Device(device::Command),
    /// Durable work: what devices and neighbours wait for
    #[command(subcommand)]
    Operation(operation::Command),
    /// Devices that wait for somebody's word
    #[command(subcommand)]
    Approval(operation::ApprovalCommand),
    /// Neighbours that devices are made known to, and hooks
    #[command(subcommand)]
    Connector(operation::ConnectorCommand),
    /// The emergency stop: let nobody in any more, and lift that again
    #[command(subcommand)]
    Freeze(freeze::Command),
    /// What single devices send and are told, for a limited time
    #[command(subcommand)]
    Trace(trace::Command),
    /// Signed reports of devices that have left
    #[command(subcommand)]
    Decommission(leaving::Command),
    /// Who tried to provision, and what became of it
    Attempts(attempts::Args),
    /// What happens, as it happens: devices, steps, operators
    Events(events::Args),
    /// Why a device is admitted or refused: every check with its answer
    Explain(explain::Args),
    /// The journal, and whether anybody has changed it
    #[command(subcommand)]
    Audit(audit::Command),
    /// The keys behind every secret: rotate them, open a locked server
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Backups, made while the server serves
    #[command(subcommand)]
    Backup(backup::Command),
    /// Act as a fleet of devices: provision them, measure, report
    Simulate(Box<simulate::Args>),
    /// Sign on at a server: with a browser, or with a password
    Login(login::Login),
    /// Sign off, and forget the server
    Logout(login::Logout),
    /// Servers by name, so that none has to be named again
    #[command(subcommand)]
    Context(context::Command),
    /// Print what a shell has to read so that it completes these commands
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a manual page for each command
    Man {
        /// The folder they go to
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
}

impl Command {
    /// Whether nothing is changed by it, so that it may be asked again and again.
    fn only_reads(&self) -> bool {
        match self {
            Command::Tenant(command) => matches!(command, tenant::Command::List),
            Command::Profile(command) => {
                matches!(command, profile::Command::List { .. } | profile::Command::Show { .. })
            }
            Command::Device(command) => matches!(
                command,
                device::Command::List { .. }
                    | device::Command::Show { .. }
                    | device::Command::Timeline { .. }
                    | device::Command::Telemetry { .. }
            ),
            Command::Operation(command) => {
                matches!(command, operation::Command::List { .. } | operation::Command::Show { .. })
            }
            Command::Approval(command) => matches!(command, operation::ApprovalCommand::List { .. }),
            Command::Freeze(command) => matches!(command, freeze::Command::List { .. }),
            Command::Trace(command) => {
                matches!(command, trace::Command::List { .. } | trace::Command::Show { .. })
            }
            Command::Operator(command) => matches!(command, operator::Command::List),
            Command::Connector(command) => matches!(command, operation::ConnectorCommand::List),
            Command::Backup(command) => matches!(command, backup::Command::List),
            Command::Secrets(command) => matches!(command, secrets::Command::List),
            Command::Attempts(_) | Command::Explain(_) => true,
            _ => false,
        }
    }
}

impl Cli {
    /// Does what the command line asks for.
    ///
    /// # Errors
    /// Whatever kept it from being done; says the exit code too.
    pub(crate) fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
        let Some(seconds) = self.watch else { return runtime.block_on(self.dispatch()) };
        if !self.command.only_reads() {
            return Err(Failure::usage("--watch is for commands that only read"));
        }
        // The same words mean the same each time.
        runtime.block_on(watch::repeat(Duration::from_secs(seconds), || Cli::parse().dispatch()))
    }

    async fn dispatch(self) -> Result<(), Failure> {
        let mut output = Output::stdout(self.output);
        let out = &mut output;
        if !matches!(self.command, Command::Login(_) | Command::Logout(_) | Command::Context(_)) {
            self.server.keep_session().await;
        }
        let client = || Client::new(self.server.resolve()?);
        match self.command {
            Command::Tenant(command) => command.run(&client()?, out).await,
            Command::Operator(command) => command.run(&client()?, out).await,
            Command::Admin(command) => {
                let connection = self.server.resolve()?;
                let folder = connection.data.clone();
                command.run(folder.as_deref(), &Client::new(connection)?, out).await
            }
            Command::Profile(command) => command.run(&client()?, out).await,
            Command::Device(command) => command.run(&client()?, out).await,
            Command::Operation(command) => command.run(&client()?, out).await,
            Command::Approval(command) => command.run(&client()?, out).await,
            Command::Freeze(command) => command.run(&client()?, out).await,
            Command::Trace(command) => command.run(&client()?, out).await,
            Command::Connector(command) => command.run(&client()?, out).await,
            Command::Decommission(command) => command.run(client, out).await,
            Command::Attempts(args) => args.run(&client()?, out).await,
            Command::Events(args) => args.run(&client()?, out).await,
            Command::Explain(args) => args.run(&client()?, out).await,
            Command::Audit(command) => command.run(&client()?, out).await,
            Command::Backup(command) => command.run(&client()?, out).await,
            Command::Secrets(command) => command.run(&client()?, out).await,
            Command::Simulate(args) => args.run(out).await,
            Command::Login(login) => login.run(&self.server, out).await,
            Command::Logout(logout) => logout.run(&self.server, out).await,
            Command::Context(command) => command.run(&self.server, out),
            Command::Completions { shell } => shell::completions(shell, Cli::command()),
            Command::Man { folder } => shell::manual(&folder, Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parses(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    /// A line for each verb.
    const VERBS: &[&str] = &[
        "muster tenant create acme --data d",
        "muster --data d tenant list -o json",
        "muster operator token create --tenant acme --expires 7d",
        "muster operator token list",
        "muster operator token create --role installer --expires 30d",
        "muster operator add ann --role operator --password-file f",
        "muster operator list",
        "muster operator set ann --role viewer --disabled off",
        "muster operator password ann --password-file -",
        "muster --server http://s login --user ann --password-file -",
        "muster --server http://s login far --sso --device",
        "muster operator remove ann --yes",
        "muster --data d admin recover root --password-file f",
        "muster freeze on --profile p --secret 3 --reason lost",
        "muster freeze off --tenant acme",
        "muster freeze list",
        "muster trace on pump --for 1h",
        "muster trace show pump --watch",
        "muster trace off pump --tenant acme",
        "muster trace list",
        "muster operator token revoke t1 --yes",
        "muster profile create p --strategy create-new --reprovision return-existing --redelivery-window 10m --provision-key k --provision-secret s --secret-expires 24h --uses 10 --networks 10.0.0.0/8,fd00::/8 --name-pattern pump-.*",
        "muster profile list",
        "muster profile show p",
        "muster profile set p --rotate-secret --overlap 1h --strategy disabled",
        "muster profile set p --rotate-secret --yes",
        "muster profile set p --rotate-secret --dry-run",
        "muster profile set p --uses= --networks=",
        "muster device add pump-17 --profile p --label north",
        "muster device list",
        "muster device show pump-17",
        "muster device disable pump-17",
        "muster device enable pump-17",
        "muster device disable --selector site=berlin --text pump --dry-run",
        "muster device enable --seen-before 30d --label line=3 --yes",
        "muster device label pump-17 --set site=berlin --set note --remove line",
        "muster device label --profile p --set site=berlin --yes",
        "muster device list --label site=berlin --seen-after 24h --name-prefix pump-",
        "muster device delete pump-17 --yes",
        "muster device delete pump-17 --dry-run",
        "muster operator token revoke t1 --dry-run",
        "muster operation unwind 7 --dry-run",
        "muster operation write-off 7 0 --dry-run",
        "muster approval forget 1 --dry-run",
        "muster device import fleet.csv",
        "muster device telemetry pump-17",
        "muster profile set p --step erp:before-reply --step crm:after-reply --hook gate --approval on --grace 1h",
        "muster profile set p --no-steps --hook= --approval off --initial-attributes=",
        "muster device decommission pump-17 --grace 0s --report r.json --yes",
        "muster device decommission --profile p --state provisioned --label l --name-prefix pump- --dry-run",
        "muster device restore pump-17",
        "muster device timeline pump-17",
        "muster operation list --stopped",
        "muster operation list --device pump-17",
        "muster operation show 7",
        "muster operation resume 7",
        "muster operation unwind 7 --yes",
        "muster operation write-off 7 0 --yes",
        "muster approval list --all",
        "muster approval approve 1 2 3",
        "muster approval reject 1 --reason unknown",
        "muster approval forget 1 --yes",
        "muster connector list",
        "muster connector test erp",
        "muster decommission report pump-17 --to r.json",
        "muster decommission key",
        "muster decommission verify r.json --key k",
        "muster attempts",
        "muster explain pump-17 --profile p --source 10.0.0.1",
        "muster audit verify --head head.json",
        "muster audit head",
        "muster events --follow --after start -o json",
        "muster device list -o wide --watch",
        "muster device list --watch=5 --context far",
        "muster approval list -o csv",
        "muster profile list -o name",
        "muster context add here --data d",
        "muster context add far --server https://x --token-file t",
        "muster login --sso --server https://x",
        "muster login work --sso --device --no-browser --server https://x",
        "muster logout work",
        "muster context list",
        "muster context use far",
        "muster context remove far",
        "muster completions bash",
        "muster man pages",
        "muster backup create --name before-upgrade",
        "muster backup list",
        "muster secrets list",
        "muster secrets unlock --passphrase-file -",
        "muster secrets kek add",
        "muster secrets kek rewrap --rate 500 --wait",
        "muster secrets kek retire file --yes",
        "muster secrets kek retire file --dry-run",
        "muster secrets rekey --rate 500",
        "muster secrets verify",
        "muster secrets reset --i-understand",
        "muster simulate --wire thingsboard-http --devices 10 --connections 4 --rate 100 --telemetry --target 127.0.0.1:8080 --provision-key k --provision-secret s --report r.json --acknowledged a.tsv --seed 7",
    ];

    #[test]
    fn every_verb_is_there() {
        for line in VERBS {
            if let Err(error) = parses(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        let lines = [
            "muster tenant list --data d --server http://x",
            "muster tenant list --data d --context here",
            "muster device list --watch=0",
            "muster login --server https://x",
            "muster completions cmd",
            "muster profile create p",
            "muster profile create p --strategy create-new --provision-secret s --provision-secret-file f",
            "muster profile create p --strategy create-new --redelivery-window 10",
            "muster profile set p --overlap 1h",
            "muster profile set p",
            "muster profile set p --step erp:later",
            "muster profile set p --yes",
            "muster profile set p --rotate-secret --yes --dry-run",
            "muster device decommission",
            "muster device decommission pump-17 --yes --dry-run",
            "muster device decommission pump-17 --profile p",
            "muster simulate --wire thingsboard-http --devices 0 --provision-key k --provision-secret s",
            "muster simulate --wire thingsboard-http --devices 1 --provision-secret s",
        ];
        for line in lines {
            assert!(parses(line).is_err(), "{line}");
        }
    }
}
