//! `musterd`, the server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use server::config::{self, Config, LogFormat};
use server::serve::{Server, load_config, until_signalled};
use server::{logging, process, quickstart, restoring};

/// A device provisioning server.
#[derive(Parser)]
#[command(name = "musterd", version, about = "A device provisioning server")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// How a line of the log looks; the configuration says it otherwise.
    #[arg(long, global = true, value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves by a configuration file.
    Serve {
        /// The file; without it the defaults hold.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Looks at configuration files.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Looks at backups that `muster backup create` made.
    Backup {
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// Makes a server's data of a backup, where there is none yet.
    Restore(restoring::Arguments),
    /// Serves with a demonstration profile and a simulated device, and shows what to try.
    Quickstart(quickstart::Arguments),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Names file, line and column of every mistake.
    Check {
        /// The file; without it the environment over the defaults.
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum BackupCommand {
    /// Reads all of a backup and says what is wrong with it.
    Verify {
        /// The backup's folder.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where not even this can be written, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    process::forbid_core_dumps()?;
    match arguments.command {
        Command::Config { command: ConfigCommand::Check { config } } => check(config.as_deref()),
        Command::Serve { config } => {
            let config = prepared(load_config(config.as_deref())?, arguments.log_format);
            runtime()?.block_on(async { until_signalled(Server::start(&config).await?).await })
        }
        Command::Backup { command: BackupCommand::Verify { folder } } => restoring::verify(&folder),
        Command::Restore(wanted) => restoring::restore(&wanted),
        Command::Quickstart(wanted) => {
            let config = prepared(wanted.config()?, arguments.log_format);
            runtime()?.block_on(quickstart::run(&wanted, &config))
        }
    }
}

fn check(file: Option<&Path>) -> anyhow::Result<()> {
    match Config::load(file, &config::environment()) {
        Ok(_) => Ok(writeln!(std::io::stdout(), "ok")?),
        Err(mistakes) => {
            for mistake in &mistakes {
                writeln!(std::io::stderr(), "{mistake}")?;
            }
            anyhow::bail!("{} mistake(s)", mistakes.len())
        }
    }
}

/// What comes before anything else runs.
fn prepared(mut config: Config, log_format: Option<LogFormat>) -> Config {
    config.log.format = log_format.unwrap_or(config.log.format);
    logging::start(&config.log);
    process::raise_open_files();
    config
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
