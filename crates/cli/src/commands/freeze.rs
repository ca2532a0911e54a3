//! `muster freeze`

use clap::Subcommand;
use reqwest::Method;
use wire::admin::{Freeze, FreezeCreate};

use super::Scope;
use crate::client::Client;
use crate::failure::Failure;
use crate::render::{self, Output, Row};

/// What can be done in an emergency.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let nobody in any more, at once; devices that hold credentials go on
    On {
        #[command(flatten)]
        target: Target,
        /// Why, for those who find it
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Let devices in again; a wider stop stays
    Off {
        #[command(flatten)]
        target: Target,
    },
    /// List what is stopped
    List {
        #[command(flatten)]
        scope: Scope,
    },
}

/// What is stopped: a tenant, a profile, or one group secret.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    #[command(flatten)]
    scope: Scope,
    /// Only this profile
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Only the profile's group secret in this slot, as `muster profile show` lists it
    #[arg(long, value_name = "SLOT", requires = "profile")]
    secret: Option<u64>,
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::On { target, reason } => {
                let words = target.words();
                let request = FreezeCreate { profile: target.profile, secret: target.secret, reason };
                client.submit(Method::POST, &["freezes"], &target.scope.query(), &request).await?;
                out.note(&format!("Nobody is let in any more by {words}."))
            }
            Self::Off { target } => {
                let secret = target.secret.map(|secret| secret.to_string());
                let query = [
                    ("tenant", target.scope.tenant.as_deref()),
                    ("profile", target.profile.as_deref()),
                    ("secret", secret.as_deref()),
                ];
                client.call(Method::DELETE, &["freezes"], &query).await?;
                out.note(&format!("Devices are let in again by {}.", target.words()))
            }
            Self::List { scope } => {
                let mut listing = out.listing();
                let page = |page: Vec<Freeze>| listing.page(&page);
                client.pages(&["freezes"], &scope.query(), None, page).await?;
                listing.end("Nothing is stopped.")
            }
        }
    }
}

impl Target {
    fn words(&self) -> String {
        match (&self.profile, self.secret) {
            (Some(profile), Some(slot)) => {
                format!("the group secret in slot {slot} of the profile {profile}")
            }
            (Some(profile), None) => format!("the profile {profile}"),
            (None, _) => {
                format!("the tenant {}", self.scope.tenant.as_deref().unwrap_or("of this token"))
            }
        }
    }
}

impl Row for Freeze {
    const COLUMNS: &'static [&'static str] = &["profile", "secret", "since", "by", "reason"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.profile.clone().unwrap_or_else(|| "all".to_owned()),
            self.secret.map_or_else(|| "all".to_owned(), |slot| slot.to_string()),
            self.since.clone(),
            self.actor.clone(),
            render::or_dash(Some(self.reason.as_str()).filter(|reason| !reason.is_empty())),
        ]
    }
}
