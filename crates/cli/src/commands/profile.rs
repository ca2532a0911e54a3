//! `muster profile`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use wire::Secret;
use wire::admin::{
    self, Change, Profile, ProfileCreate, ProfileCreated, ProfileSecret, ProfileSet, RotateSecret,
    SecretLimits, SecretLimitsSet,
};

use super::Scope;
use super::joining::JoiningFlags;
use super::rotation::Rotation;
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::Failure;
use crate::render::{self, Output, Row, Sheet};
use crate::values;

/// What can be done with profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a profile; its group secret is shown this once
    Create(Box<Create>),
    /// List the profiles
    List {
        #[command(flatten)]
        scope: Scope,
    },
    /// Show one profile and the limits of its group secrets
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// Change a profile; what is not named stays
    Set(Box<Set>),
}

/// How a profile admits devices.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Strategy {
    /// A device nobody knows is created
    CreateNew,
    /// Only devices that were added or imported before
    CheckPreProvisioned,
    /// Nobody
    Disabled,
}

/// What happens when a provisioned device asks again.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reprovision {
    /// It is refused
    Refuse,
    /// It gets the same credentials, within the redelivery window
    ReturnExisting,
    /// It gets new credentials, and the old ones are void
    Rotate,
}

/// What a pre-provisioned device may do about its credentials.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PreProvisionedCredentials {
    /// Credentials it brings replace the stored ones
    Accept,
    /// The stored ones are returned
    Keep,
}

/// Where a group secret on the command line comes from.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(crate) struct GivenSecret {
    /// The group secret; visible to others on this machine, so better --provision-secret-file
    #[arg(long, value_name = "SECRET")]
    provision_secret: Option<Secret>,
    /// File that holds the group secret, - for standard input
    #[arg(long, value_name = "FILE")]
    provision_secret_file: Option<PathBuf>,
}

impl GivenSecret {
    /// The secret, if one was given.
    pub(crate) fn read(&self) -> Result<Option<Secret>, Failure> {
        match &self.provision_secret_file {
            Some(file) => values::secret_from(file).map(Some),
            None => Ok(self.provision_secret.clone()),
        }
    }
}

/// Flags of `create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name
    name: String,
    #[command(flatten)]
    scope: Scope,
    /// How it admits devices
    #[arg(long, value_enum)]
    strategy: Strategy,
    /// What happens when a provisioned device asks again [default: refuse]
    #[arg(long, value_enum)]
    reprovision: Option<Reprovision>,
    /// How long an equal request gets the same answer, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = values::seconds)]
    redelivery_window: Option<u64>,
    /// What a pre-provisioned device may do about its credentials [default: accept]
    #[arg(long, value_enum)]
    pre_provisioned_credentials: Option<PreProvisionedCredentials>,
    /// The key that devices name the profile by; made by the server if absent
    #[arg(long, value_name = "KEY")]
    provision_key: Option<String>,
    #[command(flatten)]
    secret: GivenSecret,
    /// When the group secret ends: a date (RFC 3339) or a duration from now
    #[arg(long, value_name = "WHEN", value_parser = values::instant_from_now)]
    secret_expires: Option<String>,
    /// How many devices the group secret may bring in
    #[arg(long, value_name = "N")]
    uses: Option<u64>,
    /// Source networks the group secret is accepted from, such as 10.0.0.0/8,fd00::/8
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    networks: Vec<String>,
    /// Regular expression that a device's whole name must match
    #[arg(long, value_name = "PATTERN")]
    name_pattern: Option<String>,
    #[command(flatten)]
    joining: JoiningFlags,
}

/// Flags of `set`.
#[derive(Debug, Args)]
#[group(id = "changes", required = true, multiple = true, args = [
    "strategy", "reprovision", "redelivery_window", "pre_provisioned_credentials", "rotate_secret",
    "secret_expires", "uses", "networks", "name_pattern", "step", "no_steps", "hook", "approval",
    "initial_attributes", "grace",
])]
pub(crate) struct Set {
    /// Its name
    name: String,
    #[command(flatten)]
    scope: Scope,
    /// Change it only if it still has this version
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// How it admits devices
    #[arg(long, value_enum)]
    strategy: Option<Strategy>,
    /// What happens when a provisioned device asks again
    #[arg(long, value_enum)]
    reprovision: Option<Reprovision>,
    /// How long an equal request gets the same answer, such as 10m
    #[arg(long, value_name = "DURATION", value_parser = values::seconds)]
    redelivery_window: Option<u64>,
    /// What a pre-provisioned device may do about its credentials
    #[arg(long, value_enum)]
    pre_provisioned_credentials: Option<PreProvisionedCredentials>,
    /// Put a new group secret in the place of the current one; it is shown this once. Asks before it voids one
    #[arg(long)]
    rotate_secret: bool,
    /// How long the old group secret stays valid beside the new one [default: not at all]
    #[arg(long, value_name = "DURATION", value_parser = values::seconds, requires = "rotate_secret")]
    overlap: Option<u64>,
    /// The new group secret; visible to others on this machine, so better --provision-secret-file
    #[arg(long, value_name = "SECRET", requires = "rotate_secret", conflicts_with = "provision_secret_file")]
    provision_secret: Option<Secret>,
    /// File that holds the new group secret, - for standard input
    #[arg(long, value_name = "FILE", requires = "rotate_secret")]
    provision_secret_file: Option<PathBuf>,
    /// When the group secret ends: a date (RFC 3339) or a duration from now; empty = never
    #[arg(long, value_name = "WHEN", value_parser = |text: &str| values::clearable(text, values::instant_from_now))]
    secret_expires: Option<Change<String>>,
    /// How many more devices the group secret may bring in; empty = any number
    #[arg(long, value_name = "N", value_parser = |text: &str| values::clearable(text, number))]
    uses: Option<Change<u64>>,
    /// Source networks the group secret is accepted from; empty = anywhere
    #[arg(long, value_name = "LIST", value_parser = |text: &str| values::clearable(text, |list| Ok(Networks(values::list(list)))))]
    networks: Option<Change<Networks>>,
    /// Regular expression that a device's whole name must match; empty = any name
    #[arg(long, value_name = "PATTERN", value_parser = |text: &str| values::clearable(text, |text| Ok(text.to_owned())))]
    name_pattern: Option<Change<String>>,
    #[command(flatten)]
    joining: JoiningFlags,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// One flag that holds several networks.
#[derive(Debug, Clone)]
struct Networks(Vec<String>);

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number"))
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::Create(flags) => create(*flags, client, out).await,
            Self::List { scope } => list(&scope, client, out).await,
            Self::Show { name, scope } => show(&name, &scope, client, out).await,
            Self::Set(flags) => set(*flags, client, out).await,
        }
    }
}

async fn create(flags: Create, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let request = flags.into_request()?;
    let created: ProfileCreated = client.send_json(Method::POST, &["profiles"], &[], &request).await?;
    show_created(&created, out)
}

async fn list(scope: &Scope, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let mut listing = out.listing();
    client.pages(&["profiles"], &scope.query(), None, |page: Vec<Profile>| listing.page(&page)).await?;
    listing.end("There are no profiles.")
}

async fn show(name: &str, scope: &Scope, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let profile: Profile = client.get(&["profiles", name], &scope.query()).await?;
    out.sheet(&profile)
}

async fn set(flags: Set, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let path = ["profiles", flags.name.as_str()];
    if flags.confirmation.is_dry_run() {
        return flags.as_rotation().rehearse(flags.rotate_secret, client, out).await;
    }
    let mut request = flags.request()?;
    if request.rotate_secret.is_some() {
        let rotation = flags.as_rotation();
        request.version = request.version.or(rotation.confirm(flags.confirmation, client).await?);
        let created: ProfileCreated =
            client.send_json(Method::PATCH, &path, &flags.scope.query(), &request).await?;
        return show_created(&created, out);
    }
    let profile: Profile = client.send_json(Method::PATCH, &path, &flags.scope.query(), &request).await?;
    out.sheet(&profile)
}

fn show_created(created: &ProfileCreated, out: &mut Output) -> Result<(), Failure> {
    out.sheet(created)?;
    out.note("The provision secret is shown only now.")
}

impl Create {
    fn into_request(self) -> Result<ProfileCreate, Failure> {
        Ok(ProfileCreate {
            tenant: self.scope.tenant,
            name: self.name,
            strategy: self.strategy.into(),
            reprovision: self.reprovision.map(Into::into),
            redelivery_window_s: self.redelivery_window,
            pre_provisioned_credentials: self.pre_provisioned_credentials.map(Into::into),
            provision_key: self.provision_key,
            provision_secret: self.secret.read()?,
            hook: self.joining.hook.clone().unwrap_or_default().apply(None),
            approval: self.joining.approval().unwrap_or_default(),
            initial_attributes: self.joining.attributes()?.apply(None),
            grace_period_s: self.joining.grace,
            steps: self.joining.steps().unwrap_or_default(),
            limits: SecretLimits {
                expires_at: self.secret_expires,
                uses: self.uses,
                networks: self.networks,
                name_pattern: self.name_pattern,
            },
        })
    }
}

impl Set {
    fn request(&self) -> Result<ProfileSet, Failure> {
        Ok(ProfileSet {
            version: self.version,
            strategy: self.strategy.map(Into::into),
            reprovision: self.reprovision.map(Into::into),
            redelivery_window_s: self.redelivery_window,
            pre_provisioned_credentials: self.pre_provisioned_credentials.map(Into::into),
            rotate_secret: self.rotation()?,
            hook: self.joining.hook.clone().unwrap_or_default(),
            approval: self.joining.approval(),
            steps: self.joining.steps(),
            initial_attributes: self.joining.attributes()?,
            grace_period_s: self.joining.grace,
            limits: SecretLimitsSet {
                expires_at: self.secret_expires.clone().unwrap_or_default(),
                uses: self.uses.unwrap_or_default(),
                networks: match self.networks.clone().unwrap_or_default() {
                    Change::Keep => Change::Keep,
                    Change::Clear => Change::Clear,
                    Change::Set(Networks(list)) => Change::Set(list),
                },
                name_pattern: self.name_pattern.clone().unwrap_or_default(),
            },
        })
    }

    fn as_rotation(&self) -> Rotation<'_> {
        Rotation { profile: &self.name, scope: &self.scope, overlap: self.overlap.unwrap_or(0) }
    }

    fn rotation(&self) -> Result<Option<RotateSecret>, Failure> {
        if !self.rotate_secret {
            return Ok(None);
        }
        let given = GivenSecret {
            provision_secret: self.provision_secret.clone(),
            provision_secret_file: self.provision_secret_file.clone(),
        };
        Ok(Some(RotateSecret { secret: given.read()?, overlap_s: self.overlap.unwrap_or(0) }))
    }
}

// === Words on the command line and on the wire ===

impl From<Strategy> for admin::Strategy {
    fn from(strategy: Strategy) -> Self {
        match strategy {
            Strategy::CreateNew => Self::CreateNew,
            Strategy::CheckPreProvisioned => Self::CheckPreProvisioned,
            Strategy::Disabled => Self::Disabled,
        }
    }
}

impl From<Reprovision> for admin::Reprovision {
    fn from(policy: Reprovision) -> Self {
        match policy {
            Reprovision::Refuse => Self::Refuse,
            Reprovision::ReturnExisting => Self::ReturnExisting,
            Reprovision::Rotate => Self::Rotate,
        }
    }
}

impl From<PreProvisionedCredentials> for admin::PreProvisionedCredentials {
    fn from(policy: PreProvisionedCredentials) -> Self {
        match policy {
            PreProvisionedCredentials::Accept => Self::Accept,
            PreProvisionedCredentials::Keep => Self::Keep,
        }
    }
}

// === How profiles are shown ===

impl Row for Profile {
    const COLUMNS: &'static [&'static str] =
        &["name", "tenant", "strategy", "reprovision", "provision key", "secrets"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.tenant.clone(),
            render::word(&self.strategy),
            render::word(&self.reprovision),
            self.provision_key.clone(),
            self.secrets.len().to_string(),
        ]
    }
}

impl Sheet for Profile {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("name", self.name.clone()),
            ("id", self.id.clone()),
            ("tenant", self.tenant.clone()),
            ("strategy", render::word(&self.strategy)),
            ("reprovision", render::word(&self.reprovision)),
            ("redelivery window", render::duration(self.redelivery_window_s)),
            ("pre-provisioned credentials", render::word(&self.pre_provisioned_credentials)),
            ("provision key", self.provision_key.clone()),
            ("grace period", render::duration(self.grace_period_s)),
            ("version", self.version.to_string()),
            ("created", self.created_at.clone()),
        ];
        lines.extend(self.hook.iter().map(|hook| ("hook", hook.clone())));
        lines.extend(self.approval.then(|| ("approval", "by a person".to_owned())));
        lines.extend(
            self.steps.iter().map(|it| ("step", format!("{}, {}", it.connector, render::word(&it.gate)))),
        );
        lines.extend(self.initial_attributes.iter().map(|object| ("initial attributes", object.to_string())));
        lines.extend(self.secrets.iter().map(|secret| ("group secret", secret_in_words(secret))));
        lines
    }
}

impl Sheet for ProfileCreated {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = self.profile.lines();
        lines.push(("provision secret", self.provision_secret.expose().to_owned()));
        lines
    }
}

fn secret_in_words(secret: &ProfileSecret) -> String {
    let standing = if secret.current { "current" } else { "on its way out" };
    let mut words = vec![format!("slot {}, {standing}, made {}", secret.slot, secret.created_at)];
    words.extend(secret.expires_at.as_ref().map(|at| format!("ends {at}")));
    words.extend(secret.uses_left.map(|uses| format!("{uses} uses left")));
    if !secret.networks.is_empty() {
        words.push(format!("from {}", secret.networks.join(" ")));
    }
    words.extend(secret.name_pattern.as_ref().map(|pattern| format!("names like {pattern}")));
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: Command,
    }

    fn set_request(line: &str) -> String {
        let line = <Line as clap::Parser>::try_parse_from(format!("profile {line}").split(' ')).unwrap();
        let Command::Set(set) = line.command else { panic!("not a set") };
        serde_json::to_string(&set.request().unwrap()).unwrap()
    }

    #[test]
    fn set_sends_only_what_is_named_and_clears_what_is_empty() {
        assert_eq!(set_request("set p --strategy disabled"), r#"{"strategy":"disabled"}"#);
        assert_eq!(
            set_request("set p --uses= --networks 10.0.0.0/8,fd00::/8 --name-pattern="),
            r#"{"limits":{"uses":null,"networks":["10.0.0.0/8","fd00::/8"],"name_pattern":null}}"#
        );
    }

    #[test]
    fn a_rotation_says_how_long_the_old_secret_stays() {
        assert_eq!(
            set_request("set p --rotate-secret --overlap 1h --provision-secret s3cret"),
            r#"{"rotate_secret":{"secret":"s3cret","overlap_s":3600}}"#
        );
        assert_eq!(set_request("set p --rotate-secret"), r#"{"rotate_secret":{"overlap_s":0}}"#);
    }
}
