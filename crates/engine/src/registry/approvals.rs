//! What waits for a person's word, and the word.

use domain::{QuestionId, Verdict};
use serde_json::json;
use store::{Change, QuestionRow};

use super::journal::Deed;
use super::{Operator, Registry, RegistryError, Tenant, What};

const MOST_PER_PAGE: usize = 1000;
const USUAL_PER_PAGE: usize = 100;

/// A question and the name of its profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The question.
    pub row: QuestionRow,
    /// The name of the profile.
    pub profile: String,
}

impl Registry {
    /// The questions that wait for an answer, the oldest first; with `decided` also those that have one. Behind
    /// them the number after which the next page begins.
    ///
    /// # Errors
    /// What the store says.
    pub fn approvals(
        &self,
        tenant: &Tenant,
        decided: bool,
        after: Option<u64>,
        limit: Option<usize>,
    ) -> Result<(Vec<Approval>, Option<u64>), RegistryError> {
        let now = self.now();
        let limit = limit.unwrap_or(USUAL_PER_PAGE).clamp(1, MOST_PER_PAGE);
        let approvals = self.store.read(|view| {
            let rows = view.questions(tenant.id, decided, after.map(QuestionId), limit, now)?;
            rows.into_iter().map(|row| named(view, row)).collect::<Result<Vec<_>, _>>()
        })?;
        let next = approvals.last().filter(|_| approvals.len() == limit).map(|last| last.row.standing.id.0);
        Ok((approvals, next))
    }

    /// Lets the device of a question in: its next request is granted, whatever a hook has said.
    ///
    /// # Errors
    /// `approval-not-found`; `approval-decided` where another person was first.
    pub fn approve(&self, operator: &Operator, tenant: &Tenant, id: u64) -> Result<Approval, RegistryError> {
        self.decide(operator, tenant, id, None)
    }

    /// Turns the device of a question away, until the question is forgotten or has expired.
    ///
    /// # Errors
    /// `approval-not-found`; `approval-decided` where another person was first.
    pub fn reject(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: u64,
        reason: &str,
    ) -> Result<Approval, RegistryError> {
        self.decide(operator, tenant, id, Some(reason))
    }

    /// Forgets a question: the device that asks again is asked about anew.
    ///
    /// # Errors
    /// `approval-not-found`.
    pub fn forget_approval(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: u64,
    ) -> Result<(), RegistryError> {
        self.store.write(|change: &mut Change<'_>| {
            let row = asked(change, tenant, id)?;
            change.forget_question(row.standing.id)?;
            let detail = json!({ "question": id, "name": row.name });
            self.journal(change, operator, &Deed::of(tenant.id, "question-forgotten", detail))
        })
    }

    fn decide(
        &self,
        operator: &Operator,
        tenant: &Tenant,
        id: u64,
        rejected: Option<&str>,
    ) -> Result<Approval, RegistryError> {
        let now = self.now();
        self.store.write(|change: &mut Change<'_>| {
            let row = asked(change, tenant, id)?;
            let verdict =
                if rejected.is_some() { Verdict::Denied } else { Verdict::Allowed { attributes: None } };
            if !change.decide_question(row.standing.id, &verdict, rejected, &operator.actor, now)? {
                return Err(decided(asked(change, tenant, id)?));
            }
            let kind = if rejected.is_some() { "approval-rejected" } else { "approval-given" };
            let detail = json!({ "question": id, "name": row.name, "reason": rejected });
            self.journal(change, operator, &Deed::of(tenant.id, kind, detail))?;
            Ok(named(change, asked(change, tenant, id)?)?)
        })
    }
}

fn named(view: &store::View<'_>, row: QuestionRow) -> Result<Approval, store::StoreError> {
    let profile = view.profile_by_id(row.profile)?.map(|row| row.profile.name).unwrap_or_default();
    Ok(Approval { row, profile })
}

fn decided(row: QuestionRow) -> RegistryError {
    let verdict = if row.standing.verdict == Verdict::Denied { "denied" } else { "allowed" };
    RegistryError::Decided { question: row.standing.id.0, by: row.decided_by.unwrap_or_default(), verdict }
}

fn asked(view: &store::View<'_>, tenant: &Tenant, id: u64) -> Result<QuestionRow, RegistryError> {
    let row = view.question(tenant.id, QuestionId(id))?;
    row.ok_or_else(|| RegistryError::not_found(What::Approval, &id.to_string()))
}
