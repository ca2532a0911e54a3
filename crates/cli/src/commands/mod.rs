//! One file for each noun: its flags, its calls, and how its answers are shown.

pub(crate) mod account;
pub(crate) mod attempts;
pub(crate) mod audit;
pub(crate) mod backup;
mod bulk;
pub(crate) mod context;
pub(crate) mod device;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod freeze;
pub(crate) mod import;
pub(crate) mod joining;
pub(crate) mod leaving;
pub(crate) mod login;
pub(crate) mod operation;
pub(crate) mod operator;
pub(crate) mod profile;
mod rotation;
pub(crate) mod secrets;
pub(crate) mod selector;
pub(crate) mod shell;
pub(crate) mod simulate;
pub(crate) mod tenant;
pub(crate) mod trace;

/// The tenant that a command is about.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Scope {
    /// Name of the tenant; without it the token's own, or the default one
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
}

impl Scope {
    /// The tenant as a named value in an address.
    pub(crate) fn query(&self) -> [(&'static str, Option<&str>); 1] {
        [("tenant", self.tenant.as_deref())]
    }
}
