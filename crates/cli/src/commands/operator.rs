//! `muster operator`

use clap::Subcommand;
use reqwest::Method;
use wire::admin::{OperatorRole, OperatorToken, OperatorTokenCreate, OperatorTokenCreated};

use super::account;
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::Failure;
use crate::render::{self, Output, Row, Sheet};
use crate::values;

/// What can be done about operators.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let somebody sign on with a password
    Add(account::Add),
    /// List the accounts
    List,
    /// Change an account's role, or shut it out; its sessions end
    Set(account::Set),
    /// Give an account another password; its sessions end
    Password {
        /// The account
        name: String,
        #[command(flatten)]
        password: account::PasswordFrom,
    },
    /// Delete an account
    Remove {
        /// The account
        name: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Tokens that open the operator API
    #[command(subcommand)]
    Token(Token),
}

/// What can be done with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token; it is shown this once
    Create {
        /// Limit it to one tenant; without this it opens the whole server
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
        /// What its holder may do
        #[arg(long, value_enum, default_value = "admin")]
        role: account::Role,
        /// End it by itself after this time, such as 24h or 90d
        #[arg(long, value_name = "DURATION", value_parser = values::life)]
        expires: Option<u64>,
        /// A note to recognise it by
        #[arg(long, default_value = "", hide_default_value = true)]
        label: String,
    },
    /// List the tokens, without their text
    List,
    /// Void a token at once
    Revoke {
        /// Its id, as listed
        id: String,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Add(add) => account::add(add, client, out).await,
            Self::List => account::list(client, out).await,
            Self::Set(set) => account::set(set, client, out).await,
            Self::Password { name, password } => account::password(&name, &password, client, out).await,
            Self::Remove { name, confirmation } => account::remove(&name, confirmation, client, out).await,
            Self::Token(Token::Create { tenant, role, expires, label }) => {
                let request =
                    OperatorTokenCreate { tenant, role: role.asked(), label, expires_in_s: expires };
                create(&request, client, out).await
            }
            Self::Token(Token::List) => list(client, out).await,
            Self::Token(Token::Revoke { id, confirmation }) => revoke(&id, confirmation, client, out).await,
        }
    }
}

async fn create(request: &OperatorTokenCreate, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let created: OperatorTokenCreated =
        client.send_json(Method::POST, &["operator-tokens"], &[], request).await?;
    out.sheet(&created)?;
    let unbounded = request.tenant.is_none() && request.expires_in_s.is_none();
    if unbounded && request.role == OperatorRole::Admin {
        render::remark(
            "this token may do everything on the whole server, and never ends; --tenant, --role and --expires say less",
        );
    }
    out.note("The token is shown only now.")
}

async fn list(client: &Client, out: &mut Output) -> Result<(), Failure> {
    let mut listing = out.listing();
    client.pages(&["operator-tokens"], &[], None, |page: Vec<OperatorToken>| listing.page(&page)).await?;
    listing.end("There are no operator tokens.")
}

async fn revoke(id: &str, sure: Confirmation, client: &Client, out: &mut Output) -> Result<(), Failure> {
    if sure.is_dry_run() {
        return out.note(&format!("The operator token {id} would be void; nothing was changed."));
    }
    sure.ask(&format!("Void the operator token {id}?"))?;
    client.call(Method::DELETE, &["operator-tokens", id], &[]).await?;
    out.note(&format!("The token {id} is void."))
}

impl Row for OperatorToken {
    const COLUMNS: &'static [&'static str] =
        &["id", "right", "role", "tenant", "label", "created", "expires", "revoked"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            render::word(&self.right),
            render::word(&self.role),
            render::or_dash(self.tenant.as_deref()),
            self.label.clone(),
            self.created_at.clone(),
            self.expires_at.clone().unwrap_or_else(|| "never".to_owned()),
            render::or_dash(self.revoked_at.as_deref()),
        ]
    }
}

impl Sheet for OperatorTokenCreated {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let listed = &self.listed;
        let mut lines = vec![
            ("token", self.token.expose().to_owned()),
            ("id", listed.id.clone()),
            ("right", render::word(&listed.right)),
            ("role", render::word(&listed.role)),
        ];
        lines.extend(listed.tenant.clone().map(|tenant| ("tenant", tenant)));
        lines.push(("expires", listed.expires_at.clone().unwrap_or_else(|| "never".to_owned())));
        lines
    }
}
