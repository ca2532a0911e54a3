//! `muster explain`

use std::net::IpAddr;

use wire::admin::{Attempt, AttemptOutcome, CheckAnswer, Explain, ExplainedCheck, Page, Verdict};

use super::Scope;
use crate::client::Client;
use crate::failure::Failure;
use crate::render::{self, Output, Row};

/// Flags of `explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the device calls itself
    registration_id: String,
    /// The profile it would come under; without it that of its last attempt if it was refused, the device's own, or each in turn
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The address it would come from; without it that of its last attempt
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    #[command(flatten)]
    scope: Scope,
}

impl Args {
    pub(crate) async fn run(self, client: &Client, out: &mut Output) -> Result<(), Failure> {
        let source = self.source.map(|source| source.to_string());
        let [tenant] = self.scope.query();
        let query = [
            tenant,
            ("registration_id", Some(self.registration_id.as_str())),
            ("profile", self.profile.as_deref()),
            ("source", source.as_deref()),
        ];
        let answer: Page<Explain> = client.get(&["explain"], &query).await?;
        if out.format().is_document() {
            return out.document(&answer.items);
        }
        answer.items.iter().try_for_each(|explanation| show(explanation, out))
    }
}

fn show(explanation: &Explain, out: &mut Output) -> Result<(), Failure> {
    let mut listing = out.listing();
    listing.page(&explanation.checks)?;
    listing.close()?;
    out.note(&verdict_in_words(explanation))?;
    if let Some(last) = &explanation.last_attempt {
        out.note(&attempt_in_words(last))?;
    }
    // What helps against the no comes before what only may help.
    let (against, others): (Vec<_>, Vec<_>) =
        explanation.checks.iter().partition(|check| check.answer == CheckAnswer::No);
    for hint in against.into_iter().chain(others).filter_map(|check| check.hint.as_ref()) {
        out.note(&format!("  hint: {hint}"))?;
    }
    Ok(())
}

fn verdict_in_words(explanation: &Explain) -> String {
    let device = &explanation.registration_id;
    let under =
        explanation.profile.as_ref().map(|name| format!(" under the profile {name}")).unwrap_or_default();
    match (explanation.verdict, first_no(&explanation.checks)) {
        (Verdict::Refused, Some(check)) => {
            format!("{device} would be refused{under} by the check `{}`: {}", check.check, check.sentence)
        }
        (Verdict::Refused, None) => format!("{device} would be refused{under}."),
        (Verdict::Admitted, _) => format!("{device} would be admitted{under}."),
        (Verdict::Unknown, _) => {
            format!("Nothing known stands against {device}{under}; not every check could be judged.")
        }
    }
}

fn attempt_in_words(last: &Attempt) -> String {
    let from = last.source.as_ref().map(|source| format!(" from {source}")).unwrap_or_default();
    let came = match (&last.outcome, &last.code, &last.sentence) {
        (AttemptOutcome::Granted, ..) => "it was provisioned".to_owned(),
        (AttemptOutcome::Unchanged, ..) => "it was told the same again".to_owned(),
        (_, Some(code), Some(sentence)) => format!("`{code}`: {sentence}"),
        (_, code, _) => render::or_dash(code.as_deref()),
    };
    format!("  its last attempt, {}{from} by {}: {came}", last.at, last.wire)
}

fn first_no(checks: &[ExplainedCheck]) -> Option<&ExplainedCheck> {
    checks.iter().find(|check| check.answer == CheckAnswer::No)
}

impl Row for ExplainedCheck {
    const COLUMNS: &'static [&'static str] = &["check", "answer", "finding"];

    fn cells(&self) -> Vec<String> {
        let answer = match self.answer {
            CheckAnswer::Pass => "pass",
            CheckAnswer::No => "NO",
            CheckAnswer::Unknown => "?",
        };
        vec![self.check.clone(), answer.to_owned(), self.sentence.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(verdict: Verdict, answer: CheckAnswer) -> Explain {
        let check = ExplainedCheck {
            check: "strategy".to_owned(),
            answer,
            code: None,
            sentence: "The profile lets nobody in.".to_owned(),
            hint: None,
        };
        let profile = Some("press".to_owned());
        Explain {
            registration_id: "pump-17".to_owned(),
            profile,
            verdict,
            checks: vec![check],
            last_attempt: None,
        }
    }

    #[test]
    fn a_refusal_names_the_check_that_says_no() {
        assert_eq!(
            verdict_in_words(&explanation(Verdict::Refused, CheckAnswer::No)),
            "pump-17 would be refused under the profile press by the check `strategy`: The profile lets nobody in."
        );
        assert_eq!(
            verdict_in_words(&explanation(Verdict::Admitted, CheckAnswer::Pass)),
            "pump-17 would be admitted under the profile press."
        );
    }
}
