//! The table of refusals in the manual, made from the code and compared with it.

use std::fmt::Write;
use std::path::Path;

use domain::{Kind, OperatorRefusal, Refusal, SignOnRefusal};

use crate::api::problem::status_of;
use crate::protocols::thingsboard;

const HEAD: &str = "\
# Refusals

Every \"no\" that Muster says to a device has a code that does not change. It stands in the journal
(`muster attempts`), in the metrics and in `muster explain`. This page is made from the code by
`cargo xtask refusals`; a test fails where the two differ.

What a device sees is less, and depends on its protocol: who has proven nothing learns nothing.
`temporary` is the protocol's way of asking it to try again: over HTTP 503 with `Retry-After` (429 for
`too-many-attempts`), over MQTT the end of the connection, in MQTT 5 behind a PUBACK with 0x83 (0x97).

| Code | Kind | What happened | What to try | ThingsBoard's provisioning answers |
|---|---|---|---|---|
";

/// What stands between the two tables.
const SIGN_ON_HEAD: &str = "
## Signing on

Operators whom an OpenID provider vouches for ([guide](../guides/single-sign-on.md)) hear these codes from the operator
API, and `muster` shows sentence and hint. Each refusal stands in the journal as `operator-sign-on-failed`.

| Code | Kind | What happened | What to try |
|---|---|---|---|
";

/// What stands before the third table.
const OPERATORS_HEAD: &str = "
## The operator API

Operators and their programs hear these codes from the [operator API](openapi.md), and `muster` shows sentence and hint; an
answer may say more exactly what happened. Besides there are those of signing on, and, of the first table, those that
speak of what an operator gives a device (`device-exists`, `device-of-other-profile`, `device-leaving`,
`credentials-…`), `too-many-attempts` with 429, and whatever the store may say (`store-unavailable`, `storage-full`,
`secrets-locked`, `internal`). ThingsBoard's REST says the same in ThingsBoard's words.

| Code | Status | What happened | What to try |
|---|---|---|---|
";

#[test]
fn the_manual_lists_every_refusal_as_it_is() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/refusals.md");
    let made = table();
    if std::env::var_os("MUSTER_WRITE_DOCS").is_some() {
        std::fs::write(&page, &made).unwrap();
    }
    let written = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(written == made, "docs/reference/refusals.md is not what the code says: cargo xtask refusals");
}

fn table() -> String {
    let mut page = HEAD.to_owned();
    for refusal in Refusal::ALL {
        let (code, kind, sentence, hint) =
            (refusal.code(), word(refusal.kind()), refusal.sentence(), refusal.hint());
        let told = thingsboard::refused_in_words(*refusal);
        writeln!(page, "| `{code}` | {kind} | {sentence} | {hint} | {told} |").unwrap();
    }
    page += SIGN_ON_HEAD;
    for refusal in SignOnRefusal::ALL {
        let (code, kind) = (refusal.code(), word(refusal.kind()));
        writeln!(page, "| `{code}` | {kind} | {} | {} |", refusal.sentence(), refusal.hint()).unwrap();
    }
    page += OPERATORS_HEAD;
    for refusal in OperatorRefusal::ALL {
        let (code, status) = (refusal.code(), status_of(*refusal).as_u16());
        writeln!(page, "| `{code}` | {status} | {} | {} |", refusal.sentence(), refusal.hint()).unwrap();
    }
    page
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Malformed => "malformed",
        Kind::Unproven => "unproven",
        Kind::Forbidden => "forbidden",
        Kind::NotFound => "not found",
        Kind::Conflict => "conflict",
        Kind::TooMany => "too many",
        Kind::Unavailable => "unavailable",
        Kind::Internal => "internal",
    }
}
