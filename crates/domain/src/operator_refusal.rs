//! What operators and their programs are told where the registry, or the API before it, says no.

use crate::{Refusal, SignOnRefusal};

vocabulary! {
    /// Why an operator was told no. An answer may say more exactly what happened than the sentence does.
    OperatorRefusal;

    TokenMissing, "token-missing", Unproven,
        "The request carries no operator token.",
        "Send it as `Authorization: Bearer TOKEN`.";
    TokenUnknown, "token-unknown", Unproven,
        "This token is not known.",
        "Make another one: muster operator token create; or log in: muster login.";
    TokenExpired, "token-expired", Unproven,
        "This token has expired.",
        "Make another one: muster operator token create; or log in again: muster login.";
    TokenRevoked, "token-revoked", Unproven,
        "This token has been revoked.",
        "Make another one: muster operator token create; or log in again: muster login.";
    PasswordWrong, "password-wrong", Unproven,
        "No account has this name and this password.",
        "Correct them, or let an admin set another password: muster operator password NAME.";
    AccountDisabled, "account-disabled", Unproven,
        "This account is disabled.",
        "Let an admin enable it: muster operator set NAME --disabled off.";
    Busy, "busy", TooMany,
        "Too many wait to be let in.",
        "Try again in a moment.";
    RightMissing, "right-missing", Forbidden,
        "This token is limited to one tenant; what was asked for concerns the whole server.",
        "Use a token for the whole server: muster operator token create.";
    RoleInsufficient, "role-insufficient", Forbidden,
        "The caller's role does not allow this.",
        "Ask somebody whose role allows it, or an admin for another role: muster operator set --role.";
    RecoveryNotAsked, "recovery-not-asked", Forbidden,
        "Nobody asked for it on the server's own machine.",
        "Use `muster --data DIR admin recover NAME` as the user that the server runs as.";

    PathNotFound, "path-not-found", NotFound,
        "Nothing answers at this path.",
        "Compare it with the OpenAPI document: GET /api/muster/v1/openapi.json.";
    MethodNotAllowed, "method-not-allowed", Malformed,
        "The path does not take this method.",
        "Compare it with the OpenAPI document: GET /api/muster/v1/openapi.json.";
    PathMalformed, "path-malformed", Malformed,
        "What varies in the path cannot be read.",
        "Percent-encode it, as UTF-8.";
    QueryMalformed, "query-malformed", Malformed,
        "The query cannot be read, or names what is not known.",
        "Compare it with the OpenAPI document: GET /api/muster/v1/openapi.json.";
    BodyMalformed, "body-malformed", Malformed,
        "The body is not the JSON that the call takes.",
        "Compare it with the OpenAPI document: GET /api/muster/v1/openapi.json.";
    BodyUnreadable, "body-unreadable", Malformed,
        "The body ended before it was whole.",
        "Send it again.";
    BodyTooLarge, "body-too-large", Malformed,
        "The body is larger than the call takes.",
        "Make it smaller, or several of it; devices:import takes files of any size.";
    ValueInvalid, "value-invalid", Malformed,
        "A value breaks the rules.",
        "Correct the value and try again.";
    CsvUnreadable, "csv-unreadable", Malformed,
        "The beginning of the file cannot be read.",
        "Send CSV, each row of at most 64 KiB.";
    CsvHeaderInvalid, "csv-header-invalid", Malformed,
        "The first line does not name the columns.",
        "The first line is `name,type,label`; `type` names the profile, and `label` may be left out.";
    RowUnreadable, "row-unreadable", Malformed,
        "A row of an import cannot be read; the other rows are not concerned.",
        "Correct it, and import the file again: what is there stays as it is.";

    IdempotencyKeyInvalid, "idempotency-key-invalid", Malformed,
        "`Idempotency-Key` has 1 to 255 visible characters of ASCII.",
        "Take a UUID.";
    IdempotencyKeyReused, "idempotency-key-reused", Malformed,
        "This `Idempotency-Key` came with another request.",
        "Take a new key for each thing that is to be made.";
    IdempotencyRunning, "idempotency-running", Conflict,
        "The same call is being carried out.",
        "Ask again in a moment.";
    IdempotencyOutcomeUnknown, "idempotency-outcome-unknown", Conflict,
        "The server ended while it carried this call out; nobody knows how far it came.",
        "Look whether it was made; if not, ask again with a new key.";
    IdempotencyAnswerWithheld, "idempotency-answer-withheld", Conflict,
        "The call was carried out. Its answer held a secret, which was shown then and never again.",
        "If the answer was lost: rotate the secret, or revoke the token and make another one.";
    IdempotencyKeysFull, "idempotency-keys-full", TooMany,
        "10000 calls with keys of this caller are remembered, for 24 hours each.",
        "Wait, or leave the key out.";

    PreconditionFailed, "precondition-failed", Conflict,
        "What was to be changed has changed meanwhile (`If-Match`).",
        "Look at it again, and repeat the change with its new ETag.";
    VersionChanged, "version-changed", Conflict,
        "The profile has changed meanwhile.",
        "Look at it again (muster profile show) and repeat the change.";
    RevisionChanged, "revision-changed", Conflict,
        "It has changed meanwhile.",
        "Look at it again and repeat the save.";
    CountMissing, "count-missing", Malformed,
        "`expected_count` says how many devices the selector is thought to find.",
        "Ask with `dry_run` first; then say how many they are, or their `names`.";
    CountChanged, "count-changed", Conflict,
        "The selector finds another number of devices than was expected; nothing was done.",
        "Look at them again, and say the number that they are now.";

    TenantNotFound, "tenant-not-found", NotFound,
        "There is no such tenant, or none that the caller may see.",
        "See which there are: muster tenant list.";
    OperatorTokenNotFound, "operator-token-not-found", NotFound,
        "There is no such operator token.",
        "See which there are: muster operator token list.";
    AccountNotFound, "account-not-found", NotFound,
        "There is no such account.",
        "See which there are: muster operator list.";
    ProfileNotFound, "profile-not-found", NotFound,
        "There is no such profile.",
        "See which there are: muster profile list.";
    GroupSecretNotFound, "group-secret-not-found", NotFound,
        "There is no such group secret.",
        "See which there are: muster profile show NAME.";
    FreezeNotFound, "freeze-not-found", NotFound,
        "There is no such stop of provisioning.",
        "See which there are: muster freeze list.";
    TraceNotFound, "trace-not-found", NotFound,
        "The device is not traced.",
        "See which there are: muster trace list.";
    DeviceNotFound, "device-not-found", NotFound,
        "There is no such device.",
        "See which there are: muster device list.";
    OperationNotFound, "operation-not-found", NotFound,
        "There is no such operation.",
        "See which there are: muster operation list.";
    ApprovalNotFound, "approval-not-found", NotFound,
        "There is no such approval.",
        "See which there are: muster approval list --all.";
    ConnectorNotFound, "connector-not-found", NotFound,
        "No connector and no hook has this name.",
        "See which there are: muster connector list.";
    CredentialsNotFound, "credentials-not-found", NotFound,
        "The device holds no credentials.",
        "Give the device credentials, or let it provision.";
    KekNotFound, "kek-not-found", NotFound,
        "There is no such key-encryption key.",
        "See which there are: muster secrets list.";

    TenantExists, "tenant-exists", Conflict,
        "There is a tenant of this name already.",
        "Choose another name, or change the one that is there.";
    AccountExists, "account-exists", Conflict,
        "There is an account of this name already.",
        "Choose another name, or change the one that is there.";
    ProfileExists, "profile-exists", Conflict,
        "There is a profile of this name already.",
        "Choose another name, or change the one that is there.";
    BackupExists, "backup-exists", Conflict,
        "There is a backup of this name already.",
        "Choose another name, or change the one that is there.";
    ProvisionKeyInUse, "provision-key-in-use", Conflict,
        "Another profile has this provision key.",
        "Choose another key, or leave it out and let the server make one.";
    ProfileInUse, "profile-in-use", Conflict,
        "Devices belong to the profile.",
        "Delete the devices, or give them another profile.";
    ProfileDefault, "profile-default", Conflict,
        "It is the tenant's default profile.",
        "Make another one the default first.";
    DeviceJoined, "device-joined", Conflict,
        "The device is known to neighbours, who have to be told that it leaves.",
        "Let it leave: muster device decommission NAME --grace 0s.";
    DeviceNotLeaving, "device-not-leaving", Conflict,
        "The device is not being decommissioned.",
        "Look at its state: muster device show NAME.";
    GraceOver, "grace-over", Conflict,
        "The grace period of the device is over.",
        "Once every neighbour knows, it may come anew: muster device show NAME.";
    OperationNotStopped, "operation-not-stopped", Conflict,
        "The operation has not stopped before its device was answered.",
        "Look at its steps: muster operation show NUMBER.";
    StepNotOpen, "step-not-open", Conflict,
        "The step is over, running now, or not there.",
        "Look at its steps: muster operation show NUMBER.";
    ApprovalDecided, "approval-decided", Conflict,
        "Somebody else has decided already.",
        "Let the device be asked about anew: muster approval forget NUMBER.";
    BackupRunning, "backup-running", Conflict,
        "Another backup is being made.",
        "Wait for it: muster backup list.";
    TracesExhausted, "traces-exhausted", Conflict,
        "As many devices are traced as can be at a time.",
        "End some: muster trace list, muster trace off NAME.";
    KekUnavailable, "kek-unavailable", Conflict,
        "The key cannot be had.",
        "Put the key where the server looks for it, or correct [keys] in its configuration.";
    KekNeeded, "kek-needed", Conflict,
        "Sealed values need the key-encryption key.",
        "Wrap them by the new key first: muster secrets kek rewrap.";
    ReadersFull, "readers-full", Unavailable,
        "Too many streams of events are open.",
        "Close one, or read a page at a time.";
}

/// A no to an operator, from whichever vocabulary it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Of operators.
    Operator(OperatorRefusal),
    /// Of devices: their rules hold for operators too.
    Device(Refusal),
    /// Of signing on.
    SignOn(SignOnRefusal),
}

impl Said {
    /// The stable word for it.
    pub fn code(self) -> &'static str {
        match self {
            Said::Operator(refusal) => refusal.code(),
            Said::Device(refusal) => refusal.code(),
            Said::SignOn(refusal) => refusal.code(),
        }
    }

    /// What to try.
    pub fn hint(self) -> &'static str {
        match self {
            Said::Operator(refusal) => refusal.hint(),
            Said::Device(refusal) => refusal.hint(),
            Said::SignOn(refusal) => refusal.hint(),
        }
    }
}

impl From<OperatorRefusal> for Said {
    fn from(refusal: OperatorRefusal) -> Said {
        Said::Operator(refusal)
    }
}

impl From<Refusal> for Said {
    fn from(refusal: Refusal) -> Said {
        Said::Device(refusal)
    }
}

impl From<SignOnRefusal> for Said {
    fn from(refusal: SignOnRefusal) -> Said {
        Said::SignOn(refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_once_in_all_vocabularies() {
        let operators = OperatorRefusal::ALL.iter().map(|refusal| Said::from(*refusal));
        let devices = Refusal::ALL.iter().map(|refusal| Said::from(*refusal));
        let sign_on = SignOnRefusal::ALL.iter().map(|refusal| Said::from(*refusal));
        let mut codes: Vec<_> = operators.chain(devices).chain(sign_on).map(Said::code).collect();
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
    }
}
