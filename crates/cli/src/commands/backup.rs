//! `muster backup`

use std::time::Duration;

use clap::Subcommand;
use reqwest::Method;
use wire::admin::{Backup, BackupCreate, BackupState, Page};

use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::render::{self, Output, Row};

/// How often a backup that is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What can be done with backups. `musterd backup verify` and `musterd restore` need no server.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Copy everything but the keys into a folder on the server's machine, while it serves
    Create {
        /// Name of the folder, below the server's `backup.directory`; without it the moment
        #[arg(long)]
        name: Option<String>,
        /// Do not wait until it is made
        #[arg(long)]
        no_wait: bool,
    },
    /// List the backups on the server's machine
    List,
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Create { name, no_wait } => create(name, !no_wait, client, out).await,
            Self::List => list(client, out).await,
        }
    }
}

async fn create(name: Option<String>, wait: bool, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let request = BackupCreate { name };
    let mut backup: Backup = client.send_json(Method::POST, &["backups"], &[], &request).await?;
    while wait && backup.state == BackupState::Running {
        tokio::time::sleep(LOOK_EVERY).await;
        let all: Page<Backup> = client.get(&["backups"], &[]).await?;
        backup = all.items.into_iter().find(|it| it.name == backup.name).unwrap_or(backup);
    }
    if let Some(error) = &backup.error {
        return Err(Failure::new(Kind::Refused, format!("the backup was not made: {error}")));
    }
    let mut listing = out.listing();
    listing.page(&[backup])?;
    listing.end("")
}

async fn list(client: &Client, out: &mut Output) -> Result<(), Failure> {
    let mut listing = out.listing();
    client.pages(&["backups"], &[], None, |page: Vec<Backup>| listing.page(&page)).await?;
    listing.end("There are no backups.")
}

impl Row for Backup {
    const COLUMNS: &'static [&'static str] = &["name", "state", "made", "bytes", "keys"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            render::word(&self.state),
            render::or_dash(self.made_at.as_deref()),
            self.bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string()),
            self.kek_ids.join(", "),
        ]
    }
}
