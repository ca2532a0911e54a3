//! `muster secrets`

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use reqwest::Method;
use wire::Secret;
use wire::admin::{
    Kek, Secrets, SecretsReset, SecretsResetRequest, SecretsUnlock, SecretsVerify, SecretsWalk,
    SecretsWalkRequest,
};

use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::{Failure, Kind};
use crate::render::{self, Output, Row};
use crate::values;

/// How often a walk that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What can be done with the keys behind the secrets.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the key-encryption keys, what needs them, and what runs
    List,
    /// Open a locked server: try its keys again, or give the passphrase
    Unlock(Passphrase),
    /// Key-encryption keys
    #[command(subcommand)]
    Kek(KekCommand),
    /// Seal every value anew with another data key, in the background
    Rekey(WalkArgs),
    /// Open every sealed value and count those that do not open
    Verify,
    /// Give up what does not open. Where the server's own keys are lost, this voids every credential, group
    /// secret and operator token: devices stay, and get new credentials when they come again
    Reset {
        /// That what does not open is lost for good, and devices have to come again
        #[arg(long, required_unless_present = "dry_run")]
        i_understand: bool,
        /// Only tell what it would cost
        #[arg(long, conflicts_with = "i_understand")]
        dry_run: bool,
        #[command(flatten)]
        passphrase: Passphrase,
    },
}

/// What can be done with key-encryption keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KekCommand {
    /// Take another key, from where the server's configuration says; new values are sealed by it at once
    Add(Passphrase),
    /// Wrap the data keys of all older values by the new key, in the background; safe to stop
    Rewrap(WalkArgs),
    /// Note that a key is not needed any more; refused while a value needs it. Older backups still need it
    Retire {
        /// Its id, as listed
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// Where a passphrase comes from.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Passphrase {
    /// Type the passphrase, unseen
    #[arg(long)]
    passphrase: bool,
    /// File that holds the passphrase, - for standard input, /dev/fd/3 for a descriptor
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase")]
    passphrase_file: Option<PathBuf>,
}

/// How a walk over the sealed values goes.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct WalkArgs {
    /// Values a second
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Stop it where it stands; it goes on from there when it is begun again
    #[arg(long, conflicts_with = "wait")]
    stop: bool,
    /// Wait until it is through
    #[arg(long)]
    wait: bool,
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List => show(&client.get(&["secrets"], &[]).await?, out),
            Self::Unlock(passphrase) => unlock(&passphrase, client, out).await,
            Self::Kek(KekCommand::Add(passphrase)) => add(&passphrase, client, out).await,
            Self::Kek(KekCommand::Rewrap(how)) => walk("rewrap", how, client, out).await,
            Self::Kek(KekCommand::Retire { id, confirmation }) => {
                retire(&id, confirmation, client, out).await
            }
            Self::Rekey(how) => walk("rekey", how, client, out).await,
            Self::Verify => verify(client, out).await,
            Self::Reset { dry_run, passphrase, .. } => reset(dry_run, &passphrase, client, out).await,
        }
    }
}

async fn unlock(passphrase: &Passphrase, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let request = SecretsUnlock { passphrase: passphrase.read(false)? };
    let secrets: Secrets = client.send_json(Method::POST, &["secrets", "unlock"], &[], &request).await?;
    show(&secrets, out)
}

async fn add(passphrase: &Passphrase, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let request = SecretsUnlock { passphrase: passphrase.read(true)? };
    let secrets: Secrets = client.send_json(Method::POST, &["secrets", "keks"], &[], &request).await?;
    show(&secrets, out)?;
    out.note("Keep a copy of the new key apart from the backups, then: muster secrets kek rewrap.")
}

async fn retire(id: &str, sure: Confirmation, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let dry_run = sure.is_dry_run();
    if !dry_run {
        sure.ask(&format!("Retire the key {id}? Backups from before still need it."))?;
    }
    let query = [("dry_run", dry_run.then_some("true"))];
    let secrets: Secrets = client.act(&["secrets", "keks", id, "retire"], &query).await?;
    show(&secrets, out)?;
    out.note(&if dry_run {
        format!("Nothing needs the key {id}: it could be retired.")
    } else {
        format!("The key {id} is retired. Keep it for as long as you keep backups from before.")
    })
}

async fn walk(walk: &str, how: WalkArgs, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let request = SecretsWalkRequest { rate: (!how.stop).then_some(how.rate) };
    let mut secrets: Secrets = client.send_json(Method::POST, &["secrets", walk], &[], &request).await?;
    while how.wait && secrets.walks.iter().any(|it| it.walk == walk && it.ended_at.is_none()) {
        tokio::time::sleep(LOOK_EVERY).await;
        secrets = client.get(&["secrets"], &[]).await?;
    }
    show(&secrets, out)?;
    let failed = secrets.walks.iter().find(|it| it.walk == walk).map_or(0, |it| it.failed);
    if how.wait && failed > 0 {
        return Err(Failure::findings(format!("{failed} sealed values do not open"))
            .hint("muster secrets verify tells which"));
    }
    Ok(())
}

async fn verify(client: &Client, out: &mut Output) -> Result<(), Failure> {
    let found: SecretsVerify =
        client.send_json(Method::POST, &["secrets", "verify"], &[], &serde_json::json!({})).await?;
    if out.format().is_document() {
        out.document(&found)?;
    } else {
        out.note(&format!("{} sealed values, {} of them do not open.", found.values, found.unreadable))?;
        for place in &found.places {
            out.note(&format!("  {place}"))?;
        }
    }
    if found.unreadable == 0 {
        return Ok(());
    }
    Err(Failure::findings(format!("{} sealed values do not open", found.unreadable))
        .hint("muster secrets list shows which key is missing; put it back"))
}

async fn reset(
    dry_run: bool,
    passphrase: &Passphrase,
    client: &Client,
    out: &mut Output,
) -> Result<(), Failure> {
    let request = SecretsResetRequest { dry_run, passphrase: passphrase.read(true)? };
    let reset: SecretsReset = client.send_json(Method::POST, &["secrets", "reset"], &[], &request).await?;
    if out.format().is_document() {
        return out.document(&reset);
    }
    let (would, were) = if dry_run { ("would be", "would be") } else { ("are", "were") };
    out.note(&format!("{} sealed values {were} dropped.", reset.dropped))?;
    if reset.keys_made {
        out.note(&format!(
            "The server's own keys {would} made anew: devices {would} expected again and get new credentials \
             when they come, profiles {would} without a secret (muster profile set NAME --rotate-secret), \
             operator tokens {would} void, and the journal so far cannot be verified any more."
        ))?;
    }
    Ok(())
}

fn show(secrets: &Secrets, out: &mut Output) -> Result<(), Failure> {
    if out.format().is_document() {
        return out.document(secrets);
    }
    if let Some(why) = &secrets.locked {
        out.note(&format!("The secrets are locked: {why}"))?;
    }
    let mut listing = out.listing();
    listing.page(&secrets.keks)?;
    listing.end("There is no key-encryption key yet.")?;
    if secrets.walks.is_empty() {
        return Ok(());
    }
    out.note("")?;
    let mut listing = out.listing();
    listing.page(&secrets.walks)?;
    listing.end("")
}

impl Passphrase {
    /// The passphrase, if one is to be given; a new one is typed twice.
    fn read(&self, new: bool) -> Result<Option<Secret>, Failure> {
        if let Some(file) = &self.passphrase_file {
            return values::secret_from(Path::new(file)).map(Some);
        }
        if !self.passphrase {
            return Ok(None);
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::usage("nobody sits at a terminal to type the passphrase")
                .hint("--passphrase-file - reads it from standard input"));
        }
        let typed = values::hidden("Passphrase: ")?;
        if new && values::hidden("The same again: ")?.expose() != typed.expose() {
            return Err(Failure::new(Kind::Unconfirmed, "the two are not the same"));
        }
        Ok(Some(typed))
    }
}

impl Row for Kek {
    const COLUMNS: &'static [&'static str] = &["key", "state", "values", "added", "retired", "missing"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            render::word(&self.state),
            self.values.to_string(),
            self.added_at.clone(),
            render::or_dash(self.retired_at.as_deref()),
            render::or_dash(self.missing.as_deref()),
        ]
    }
}

impl Row for SecretsWalk {
    const COLUMNS: &'static [&'static str] = &["walk", "done", "failed", "rate", "started", "ended"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.walk.clone(),
            self.done.to_string(),
            self.failed.to_string(),
            format!("{}/s", self.rate),
            self.started_at.clone(),
            render::or_dash(self.ended_at.as_deref()),
        ]
    }
}
