//! `muster operator add|list|set|password|remove` and `muster admin recover`: people who sign on.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use reqwest::Method;
use wire::Secret;
use wire::admin::{
    OperatorAccount, OperatorAccountChange, OperatorAccountCreate, OperatorRole, RECOVERY_FILE, Recovery,
};

use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::{Failure, Kind};
use crate::render::{self, Output, Row, Sheet};
use crate::values;

/// What an operator is there for.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Role {
    /// Looks at everything but secrets
    Viewer,
    /// Announces devices, and sees those that it announced
    Installer,
    /// Runs the fleet: devices, profiles, operations, approvals
    Operator,
    /// Guards the fleet: group secrets, the record, whoever has to be stopped
    Security,
    /// Everything, other operators too
    Admin,
}

impl Role {
    pub(crate) fn asked(self) -> OperatorRole {
        match self {
            Role::Viewer => OperatorRole::Viewer,
            Role::Installer => OperatorRole::Installer,
            Role::Operator => OperatorRole::Operator,
            Role::Security => OperatorRole::Security,
            Role::Admin => OperatorRole::Admin,
        }
    }
}

/// Whether something is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Switch {
    /// It is
    On,
    /// It is not
    Off,
}

/// Where a password comes from.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PasswordFrom {
    /// File that holds the password, - for standard input; without it, it is typed at the terminal, unseen
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A new account.
#[derive(Debug, clap::Args)]
pub(crate) struct Add {
    /// What it signs on with: an e-mail address or another name
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: Role,
    /// Limit it to one tenant; without this it opens the whole server
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    #[command(flatten)]
    password: PasswordFrom,
}

/// What is to change of an account.
#[derive(Debug, clap::Args)]
#[group(id = "change", required = true, multiple = true, args = ["role", "disabled"])]
pub(crate) struct Set {
    /// The account
    name: String,
    /// What it may do
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Whether it is shut out
    #[arg(long, value_enum)]
    disabled: Option<Switch>,
}

/// What can be done where nobody gets in any more.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// On the server's own machine, make or reset an admin's account; needs --data
    Recover {
        /// What it signs on with
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
    },
}

pub(crate) async fn add(add: Add, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let password = add.password.read()?;
    let request = OperatorAccountCreate {
        name: add.name,
        role: add.role.asked(),
        tenant: add.tenant,
        password: Some(password),
    };
    let account: OperatorAccount = client.send_json(Method::POST, &["operators"], &[], &request).await?;
    out.sheet(&account)
}

pub(crate) async fn list(client: &Client, out: &mut Output) -> Result<(), Failure> {
    let mut listing = out.listing();
    client.pages(&["operators"], &[], None, |page: Vec<OperatorAccount>| listing.page(&page)).await?;
    listing.end("There are no accounts.")
}

pub(crate) async fn set(set: Set, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let change = OperatorAccountChange {
        role: set.role.map(Role::asked),
        disabled: set.disabled.map(|disabled| disabled == Switch::On),
        password: None,
    };
    changed(&set.name, &change, client, out).await
}

pub(crate) async fn password(
    name: &str,
    password: &PasswordFrom,
    client: &Client,
    out: &mut Output,
) -> Result<(), Failure> {
    let change = OperatorAccountChange { password: Some(password.read()?), ..Default::default() };
    changed(name, &change, client, out).await
}

async fn changed(
    name: &str,
    change: &OperatorAccountChange,
    client: &Client,
    out: &mut Output,
) -> Result<(), Failure> {
    let account: OperatorAccount = client.send_json(Method::PATCH, &["operators", name], &[], change).await?;
    out.sheet(&account)
}

pub(crate) async fn remove(
    name: &str,
    sure: Confirmation,
    client: &Client,
    out: &mut Output,
) -> Result<(), Failure> {
    if sure.is_dry_run() {
        return out.note(&format!("The account {name} would be gone; nothing was changed."));
    }
    sure.ask(&format!("Delete the account {name}?"))?;
    client.call(Method::DELETE, &["operators", name], &[]).await?;
    out.note(&format!("The account {name} is gone."))
}

impl AdminCommand {
    /// `folder` is the server's, where it is on this machine.
    pub(crate) async fn run(
        self,
        folder: Option<&Path>,
        client: &Client,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let Self::Recover { name, password } = self;
        let folder = folder.ok_or_else(|| {
            Failure::usage("an account is recovered on the server's own machine").hint("use --data DIR")
        })?;
        let recovery = Recovery { name, password: password.read()? };
        // Whoever can write this file could read every key of the server: that is the proof.
        let file = folder.join("keys").join(RECOVERY_FILE);
        write_private(&file, &recovery)?;
        let done: Result<OperatorAccount, Failure> = client.act(&["recover"], &[]).await;
        // The server has taken it away, unless it could not be asked.
        let _ = fs::remove_file(&file);
        out.sheet(&done?)
    }
}

fn write_private(file: &Path, recovery: &Recovery) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::usage(format!("{} cannot be written: {error}", file.display()));
    let _ = fs::remove_file(file);
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let json =
        zeroize::Zeroizing::new(serde_json::to_vec(recovery).map_err(io::Error::from).map_err(failed)?);
    opened.and_then(|mut file| file.write_all(&json)).map_err(failed)
}

impl PasswordFrom {
    /// A new password; a typed one is typed twice.
    fn read(&self) -> Result<Secret, Failure> {
        let password = self.known()?;
        let is_typed = self.password_file.is_none();
        if is_typed && values::hidden("The same again: ")?.expose() != password.expose() {
            return Err(Failure::new(Kind::Unconfirmed, "the two are not the same"));
        }
        Ok(password)
    }

    /// A password that its owner knows.
    pub(crate) fn known(&self) -> Result<Secret, Failure> {
        if let Some(file) = &self.password_file {
            return values::secret_from(file);
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(Failure::usage("nobody sits at a terminal to type the password")
                .hint("--password-file - reads it from standard input"));
        }
        values::hidden("Password: ")
    }
}

impl Row for OperatorAccount {
    const COLUMNS: &'static [&'static str] = &["name", "role", "tenant", "password", "disabled", "changed"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            render::word(&self.role),
            render::or_dash(self.tenant.as_deref()),
            if self.password { "set" } else { "none" }.to_owned(),
            render::or_dash(self.disabled_at.as_deref()),
            self.changed_at.clone(),
        ]
    }
}

impl Sheet for OperatorAccount {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("name", self.name.clone()), ("role", render::word(&self.role))];
        lines.extend(self.tenant.clone().map(|tenant| ("tenant", tenant)));
        lines.push(("password", if self.password { "set" } else { "none" }.to_owned()));
        lines.extend(self.issuer.clone().map(|issuer| ("signs on at", issuer)));
        lines.extend(self.disabled_at.clone().map(|since| ("disabled", since)));
        lines.push(("changed", self.changed_at.clone()));
        lines
    }
}
