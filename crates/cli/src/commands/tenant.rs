//! `muster tenant`

use clap::Subcommand;
use reqwest::Method;
use wire::admin::{Tenant, TenantCreate};

use crate::client::Client;
use crate::failure::Failure;
use crate::render::{Output, Row, Sheet};

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a tenant
    Create {
        /// Its name
        name: String,
    },
    /// List the tenants that the token may see
    List,
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Create { name } => create(name, client, out).await,
            Self::List => list(client, out).await,
        }
    }
}

async fn create(name: String, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let tenant: Tenant = client.send_json(Method::POST, &["tenants"], &[], &TenantCreate { name }).await?;
    out.sheet(&tenant)
}

async fn list(client: &Client, out: &mut Output) -> Result<(), Failure> {
    let mut listing = out.listing();
    client.pages(&["tenants"], &[], None, |page: Vec<Tenant>| listing.page(&page)).await?;
    listing.end("There are no tenants.")
}

impl Row for Tenant {
    const COLUMNS: &'static [&'static str] = &["name", "id", "created"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.id.clone(), self.created_at.clone()]
    }
}

impl Sheet for Tenant {
    fn lines(&self) -> Vec<(&'static str, String)> {
        vec![("name", self.name.clone()), ("id", self.id.clone()), ("created", self.created_at.clone())]
    }
}
