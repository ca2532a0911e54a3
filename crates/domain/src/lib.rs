//! What a provisioning decision is.
//!
//! Pure functions and types: no runtime, no sockets, no files, no clock, no random source. Time and
//! chance come in as arguments, so a year of a fleet's life is a test of a millisecond.
//!
//! The line of one request through this package:
//! [`Request`] → [`attestation::attest`] → [`Attested`] → [`decide::decide`] → [`Decision`].

#[macro_use]
mod vocabulary;
#[macro_use]
mod words;

pub mod admission;
pub mod attestation;
pub mod credentials;
pub mod decide;
pub mod ids;
pub mod lifecycle;
pub mod login;
pub mod name;
pub mod operator_refusal;
pub mod outcome;
pub mod plan;
pub mod profile;
pub mod question;
pub mod refusal;
pub mod request;
pub mod role;
pub mod secret;
pub mod sign_on;
pub mod time;

pub use attestation::{Attested, attest};
pub use credentials::{Credential, CredentialKeys, Wish};
pub use decide::{Decision, DeviceRecord, Facts, Owed, Provision, decide};
pub use ids::{DeviceKey, Generation, ProfileId, SecretId, TenantId, Version};
pub use lifecycle::DeviceState;
pub use operator_refusal::{OperatorRefusal, Said};
pub use outcome::{Clear, Grant, Held, Outcome, Promise};
pub use plan::{OperationId, PlannedStep, Receipt, StepKey};
pub use profile::{GroupSecret, Profile, Reprovision, Strategy};
pub use question::{Question, QuestionId, StandingQuestion, Verdict};
pub use refusal::{Kind, Refusal};
pub use request::{Claim, Evidence, Origin, Request, Wire};
pub use role::{Power, Role};
pub use secret::{Secret, Verifier};
pub use sign_on::SignOnRefusal;
pub use time::Timestamp;

/// Where chance comes from; an argument, so that a test can own it.
pub trait Entropy {
    /// Fills `bytes` with numbers nobody can guess.
    fn fill(&mut self, bytes: &mut [u8]);

    /// A number of 64 random bits.
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_be_bytes(bytes)
    }
}
