//! `muster attempts`

use wire::admin::Attempt;

use super::Scope;
use crate::client::Client;
use crate::failure::Failure;
use crate::render::{self, Output, Row};

/// Flags of `attempts`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only attempts that named this registration id
    #[arg(long, value_name = "REGISTRATION_ID")]
    name: Option<String>,
    /// At most this many, the newest first
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    #[command(flatten)]
    scope: Scope,
}

impl Args {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        let [tenant] = self.scope.query();
        let query = [tenant, ("name", self.name.as_deref())];
        let mut listing = out.listing();
        client
            .pages(&["attempts"], &query, Some(self.limit), |page: Vec<Attempt>| listing.page(&page))
            .await?;
        listing.end("Nobody has tried.")
    }
}

impl Row for Attempt {
    const COLUMNS: &'static [&'static str] =
        &["at", "source", "wire", "profile", "name", "outcome", "code", "count"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.at.clone(),
            render::or_dash(self.source.as_deref()),
            self.wire.clone(),
            render::or_dash(self.profile.as_deref()),
            render::or_dash(self.name.as_deref()),
            render::word(&self.outcome),
            render::or_dash(self.code.as_deref()),
            self.count.to_string(),
        ]
    }

    /// The device that asked.
    fn name(&self) -> String {
        render::or_dash(self.name.as_deref())
    }
}
