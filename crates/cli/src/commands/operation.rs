//! `muster operation`, `muster approval`, `muster connector`

use clap::Subcommand;
use reqwest::Method;
use wire::admin::{Approval, Neighbour, NeighbourCheck, Operation, Rejection, Step};

use super::Scope;
use crate::client::Client;
use crate::confirm::Confirmation;
use crate::failure::{Failure, Kind};
use crate::render::{self, Output, Row, Sheet};

/// What can be done with durable work.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the operations that are not done, or all of one device
    List {
        /// Only those that a failure for good has stopped
        #[arg(long)]
        stopped: bool,
        /// All of this device, the ended ones too
        #[arg(long, value_name = "NAME", conflicts_with = "stopped")]
        device: Option<String>,
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Show one operation and its steps
    Show {
        #[command(flatten)]
        numbered: Numbered,
    },
    /// Let the failed steps of an operation be tried again
    Resume {
        #[command(flatten)]
        numbered: Numbered,
    },
    /// Undo a join that stopped before its device was answered: what was made is retired
    Unwind {
        #[command(flatten)]
        numbered: Numbered,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Write a step off: the operation goes on without it
    WriteOff {
        /// The operation's number
        number: u64,
        /// The step's place in the plan, as shown
        step: u32,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        scope: Scope,
    },
}

/// One operation.
#[derive(Debug, clap::Args)]
pub(crate) struct Numbered {
    /// Its number
    number: u64,
    #[command(flatten)]
    scope: Scope,
}

impl Command {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List { stopped, device, limit, scope } => {
                let [tenant] = scope.query();
                let stopped = stopped.then_some("true");
                let query = [tenant, ("stopped", stopped), ("device", device.as_deref())];
                let mut listing = out.listing();
                client
                    .pages(&["operations"], &query, limit, |page: Vec<Operation>| listing.page(&page))
                    .await?;
                listing.end("There is nothing left to do.")
            }
            Self::Show { numbered } => show(&numbered, client, out).await,
            Self::Resume { numbered } => act(&numbered, "resume", client, out).await,
            Self::Unwind { numbered, confirmation } => {
                if confirmation.is_dry_run() {
                    show(&numbered, client, out).await?;
                    return out.note("What it has made would be undone; nothing was changed.");
                }
                confirmation.ask(&format!("Undo operation {} and void the credentials?", numbered.number))?;
                act(&numbered, "unwind", client, out).await
            }
            Self::WriteOff { number, step, confirmation, scope } => {
                if confirmation.is_dry_run() {
                    show(&Numbered { number, scope }, client, out).await?;
                    return out.note(&format!("Step {step} would be written off; nothing was changed."));
                }
                confirmation.ask(&format!("Write off step {step} of operation {number}?"))?;
                let (number, step) = (number.to_string(), step.to_string());
                let path = ["operations", &number, "steps", &step, "write-off"];
                shown(&client.act(&path, &scope.query()).await?, out)
            }
        }
    }
}

async fn show(numbered: &Numbered, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let number = numbered.number.to_string();
    shown(&client.get(&["operations", &number], &numbered.scope.query()).await?, out)
}

async fn act(numbered: &Numbered, verb: &str, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let number = numbered.number.to_string();
    shown(&client.act(&["operations", &number, verb], &numbered.scope.query()).await?, out)
}

fn shown(operation: &Operation, out: &mut Output) -> Result<(), Failure> {
    out.sheet(operation)
}

/// What can be done with questions that wait for an answer.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalCommand {
    /// List what waits for a person or a hook
    List {
        /// Also what was answered
        #[arg(long)]
        all: bool,
        /// At most this many
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Let devices in: their next request is granted
    Approve {
        /// The numbers, as listed
        #[arg(required = true)]
        numbers: Vec<u64>,
        #[command(flatten)]
        scope: Scope,
    },
    /// Turn a device away
    Reject {
        /// The number, as listed
        number: u64,
        /// Why; operators see it
        #[arg(long, default_value = "")]
        reason: String,
        #[command(flatten)]
        scope: Scope,
    },
    /// Forget a question, whatever was answered: the device that asks again is asked about anew
    Forget {
        /// The number, as listed
        number: u64,
        #[command(flatten)]
        confirmation: Confirmation,
        #[command(flatten)]
        scope: Scope,
    },
}

impl ApprovalCommand {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List { all, limit, scope } => {
                let [tenant] = scope.query();
                let query = [tenant, ("all", all.then_some("true"))];
                let mut listing = out.listing();
                client
                    .pages(&["approvals"], &query, limit, |page: Vec<Approval>| listing.page(&page))
                    .await?;
                listing.end("Nothing waits for an answer.")
            }
            Self::Approve { numbers, scope } => approve(&numbers, &scope, client, out).await,
            Self::Reject { number, reason, scope } => {
                let number = number.to_string();
                let path = ["approvals", &number, "reject"];
                let approval: Approval =
                    client.send_json(Method::POST, &path, &scope.query(), &Rejection { reason }).await?;
                out.sheet(&approval)
            }
            Self::Forget { number, confirmation, scope } => {
                if confirmation.is_dry_run() {
                    return out.note(&format!("Question {number} would be forgotten; nothing was changed."));
                }
                confirmation.ask(&format!("Forget question {number} and its answer?"))?;
                let text = number.to_string();
                client.call(Method::DELETE, &["approvals", &text], &scope.query()).await?;
                out.note(&format!("Question {number} is forgotten."))
            }
        }
    }
}

async fn approve(numbers: &[u64], scope: &Scope, client: &Client, out: &mut Output) -> Result<(), Failure> {
    let mut approved = Vec::new();
    for number in numbers {
        let number = number.to_string();
        let approval: Approval = client.act(&["approvals", &number, "approve"], &scope.query()).await?;
        approved.push(approval);
    }
    let mut listing = out.listing();
    listing.page(&approved)?;
    listing.end("Nothing was approved.")
}

/// What can be done with connectors and hooks.
#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// List the connectors and hooks of the server's configuration
    List,
    /// Ask one whether it could work right now
    Test {
        /// Its name
        name: String,
    },
}

impl ConnectorCommand {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        match self {
            Self::List => {
                let mut listing = out.listing();
                client.pages(&["neighbours"], &[], None, |page: Vec<Neighbour>| listing.page(&page)).await?;
                listing.end("The configuration names none: see [connectors.NAME].")
            }
            Self::Test { name } => {
                let check: NeighbourCheck = client.act(&["neighbours", &name, "test"], &[]).await?;
                out.sheet(&check)?;
                if check.works {
                    return Ok(());
                }
                let code = check.code.unwrap_or_default();
                Err(Failure::new(Kind::Refused, format!("{name} could not work right now: {code}"))
                    .hint("what each code means, and what to do about it: docs/connectors/webhook.md"))
            }
        }
    }
}

// === How things are shown ===

impl Row for Operation {
    const COLUMNS: &'static [&'static str] = &["number", "device", "kind", "phase", "began", "steps"];

    fn cells(&self) -> Vec<String> {
        let over = |step: &&Step| matches!(step.state.as_str(), "done" | "abandoned" | "absorbed");
        let done = self.steps.iter().filter(over).count();
        vec![
            self.id.to_string(),
            self.device.clone(),
            self.kind.clone(),
            self.phase.clone(),
            self.began_at.clone(),
            format!("{done} of {}", self.steps.len()),
        ]
    }
}

impl Sheet for Operation {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("number", self.id.to_string()),
            ("device", self.device.clone()),
            ("kind", self.kind.clone()),
            ("phase", self.phase.clone()),
            ("began", self.began_at.clone()),
        ];
        lines.extend(self.ended_at.iter().map(|at| ("ended", at.clone())));
        lines.extend(self.steps.iter().map(|step| ("step", step_in_words(step))));
        lines
    }
}

fn step_in_words(step: &Step) -> String {
    let what = format!("{}: {} {}, {}", step.step, step.action, step.connector, render::word(&step.gate));
    let mut words = vec![what, step.state.clone(), format!("begun {} times", step.attempts)];
    words.extend(step.external_id.iter().map(|id| format!("known outside as {id}")));
    words.extend(step.due_at.iter().map(|at| format!("due {at}")));
    words.extend(
        step.fault
            .iter()
            .map(|code| format!("last fault {code}: {}", step.fault_message.as_deref().unwrap_or_default())),
    );
    words.join(", ")
}

impl Row for Approval {
    const COLUMNS: &'static [&'static str] =
        &["number", "device", "profile", "verdict", "source", "asked", "by"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.name.clone(),
            self.profile.clone(),
            self.verdict.clone(),
            self.source.clone(),
            self.asked_at.clone(),
            self.decided_by.clone().unwrap_or_default(),
        ]
    }
}

impl Sheet for Approval {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("number", self.id.to_string()),
            ("device", self.name.clone()),
            ("profile", self.profile.clone()),
            ("verdict", self.verdict.clone()),
            ("source", self.source.clone()),
            ("asked", self.asked_at.clone()),
            ("counts until", self.expires_at.clone()),
        ];
        lines.extend(self.reason.iter().map(|reason| ("reason", reason.clone())));
        lines.extend(self.decided_by.iter().map(|by| ("decided by", by.clone())));
        lines.extend(self.fault.iter().map(|fault| ("hook said last", fault.clone())));
        lines
    }
}

impl Row for Neighbour {
    const COLUMNS: &'static [&'static str] = &["name", "kind"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.kind.clone()]
    }
}

impl Sheet for NeighbourCheck {
    fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines =
            vec![("name", self.name.clone()), ("works", if self.works { "yes" } else { "no" }.to_owned())];
        lines.extend(self.code.iter().map(|code| ("code", code.clone())));
        lines.extend(self.detail.iter().map(|detail| ("detail", detail.clone())));
        lines
    }
}
