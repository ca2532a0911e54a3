//! Calls that are carried out once, however often they come: each under a key that its caller chose.

use aws_lc_rs::digest::{SHA256, digest};
use domain::{CredentialKeys, Verifier};
use store::{Begun, Change};

use super::{Operator, Registry, RegistryError, Who};

/// How long a call may take; of one that has not ended by then nobody knows how far it came.
const LONGEST_MS: i64 = 60_000;

/// A call that is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnceCall {
    call: Verifier,
    request: Verifier,
}

/// Whether a call is to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Once {
    /// It is.
    Go,
    /// Its key came with another request.
    Other,
    /// It is being carried out.
    Running,
    /// It was begun, and whoever carried it out has ended: nobody knows how far it came.
    Unknown,
    /// It has ended so.
    Ended {
        /// The status of its answer.
        status: u16,
        /// The answer; `None` where that holds what is shown once only.
        answer: Option<String>,
    },
    /// Its caller has too many.
    Full,
}

impl Registry {
    /// Which call it is. What is kept of it are keyed digests.
    ///
    /// # Errors
    /// What the store says.
    pub fn once_call(
        &self,
        operator: &Operator,
        call: &str,
        key: &str,
        body: &[u8],
    ) -> Result<OnceCall, RegistryError> {
        let keys = self.store.keys()?;
        let body: String = digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let owner = owner(operator);
        Ok(OnceCall {
            call: keys.verifier(&format!("once\n{owner}\n{call}\n{key}")),
            request: keys.verifier(&format!("once-request\n{body}")),
        })
    }

    /// Whether a call is to be carried out now.
    ///
    /// # Errors
    /// What the store says.
    pub fn begin_once(&self, operator: &Operator, once: &OnceCall) -> Result<Once, RegistryError> {
        let (owner, now) = (owner(operator), self.now());
        let begun = self
            .store
            .write(|change: &mut Change<'_>| change.begin_once(&once.call, &owner, &once.request, now))?;
        Ok(match begun {
            Begun::New => Once::Go,
            Begun::Other => Once::Other,
            Begun::Unended(at) if now.0.saturating_sub(at.0) > LONGEST_MS => Once::Unknown,
            Begun::Unended(_) => Once::Running,
            Begun::Ended { status, answer } => Once::Ended { status, answer },
            Begun::Full => Once::Full,
        })
    }

    /// Remembers how a call ended; `None` where nothing came of it, so that it may come again.
    ///
    /// # Errors
    /// What the store says.
    pub fn end_once(&self, once: &OnceCall, ended: Option<(u16, Option<&str>)>) -> Result<(), RegistryError> {
        Ok(self.store.write(|change: &mut Change<'_>| match ended {
            Some((status, answer)) => change.end_once(&once.call, status, answer),
            None => change.forget_once(&once.call),
        })?)
    }
}

fn owner(operator: &Operator) -> String {
    match operator.who {
        Who::Token(number) => format!("token:{number}"),
        Who::Account(number) => format!("account:{number}"),
        _ => operator.actor.clone(),
    }
}
