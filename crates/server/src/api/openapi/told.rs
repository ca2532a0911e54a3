//! What no type says of a call: its name, its sentence, its status, and bodies that are no JSON.

use serde_json::{Value, json};
use wire::admin::{BulkEvent, Decommissioned, Event, Events, ImportEvent, Profile, ProfileCreated};

use super::parts::{Shape, content};
use super::{Schemas, Verb};

/// What is told of one route.
pub(super) struct Told {
    /// The HTTP method.
    pub(super) verb: Verb,
    /// The path, as in the list of routes.
    pub(super) path: &'static str,
    /// The name by which generated clients call it; it never changes.
    pub(super) id: &'static str,
    /// The status when all went well.
    pub(super) status: u16,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
}

macro_rules! told {
    ($($verb:ident $path:literal $id:ident $status:literal $summary:literal;)*) => {
        /// The list, in the order of the routes; a test compares the two.
        pub(super) const TOLD: &[Told] = &[
            $(Told { verb: Verb::$verb, path: $path, id: stringify!($id), status: $status, summary: $summary },)*
        ];
    };
}

told! {
    Get    "/whoami"                      whoAmI 200 "Tells who the caller is.";
    Post   "/whoami/password"             changeOwnPassword 204 "Gives the caller's own account another password.";
    Get    "/tenants"                     listTenants 200 "Lists the tenants that the caller may see.";
    Post   "/tenants"                     createTenant 201 "Makes a tenant.";
    Get    "/operator-tokens"             listOperatorTokens 200 "Lists operator tokens, never their text.";
    Post   "/operator-tokens"             createOperatorToken 201 "Makes an operator token; this answer alone carries it.";
    Delete "/operator-tokens/{id}"        revokeOperatorToken 204 "Revokes an operator token.";
    Get    "/operators"                   listOperators 200 "Lists the local accounts of operators.";
    Post   "/operators"                   createOperator 201 "Makes a local account.";
    Patch  "/operators/{name}"            changeOperator 200 "Changes a local account; its sessions end.";
    Delete "/operators/{name}"            deleteOperator 204 "Removes a local account.";
    Get    "/profiles"                    listProfiles 200 "Lists the profiles.";
    Post   "/profiles"                    createProfile 201 "Makes a profile; this answer alone carries its group secret.";
    Get    "/profiles/{name}"             getProfile 200 "Shows a profile.";
    Patch  "/profiles/{name}"             changeProfile 200 "Changes a profile; the answer carries the group secret if it is new.";
    Get    "/devices"                     listDevices 200 "Lists the devices that a selector finds, a page at a time.";
    Post   "/devices"                     addDevice 201 "Adds a device that is expected.";
    Post   "/devices:import"              importDevices 200 "Adds the devices of a CSV file; the answer is a line for each row and a summary.";
    Get    "/devices/{name}"              getDevice 200 "Shows a device.";
    Patch  "/devices/{name}"              changeDevice 200 "Changes note and labels of a device.";
    Delete "/devices/{name}"              deleteDevice 204 "Removes a device that no neighbour knows.";
    Post   "/devices/{name}/disable"      disableDevice 200 "Switches a device off: it cannot log in.";
    Post   "/devices/{name}/enable"       enableDevice 200 "Switches a device on again.";
    Get    "/devices/{name}/telemetry"    getTelemetry 200 "Shows the last value of each key.";
    Post   "/devices:disable"             disableDevices 200 "Switches many devices off; the answer is a line for each and a summary.";
    Post   "/devices:enable"              enableDevices 200 "Switches many devices on again; the answer is a line for each and a summary.";
    Post   "/devices:label"               labelDevices 200 "Changes note and labels of many devices; the answer is a line for each and a summary.";
    Post   "/devices:decommission"        decommissionDevices 200 "Lets the devices leave that a selector finds: some hundreds a call, or all with a line for each.";
    Post   "/devices/{name}/decommission" decommissionDevice 200 "Lets a device leave: its credentials are void, and neighbours are told.";
    Post   "/devices/{name}/restore"      restoreDevice 200 "Takes a device back whose grace period lasts.";
    Get    "/devices/{name}/timeline"     getTimeline 200 "Lists what happened to a device, the newest first.";
    Post   "/devices/{name}/report"       signReport 200 "Tells, signed, what a device has left behind.";
    Get    "/report-key"                  getReportKey 200 "Shows the key that reports are signed with.";
    Get    "/operations"                  listOperations 200 "Lists operations that are not done, or all of one device.";
    Get    "/operations/{id}"             getOperation 200 "Shows an operation and its steps.";
    Post   "/operations/{id}/resume"      resumeOperation 200 "Tries the steps again that have stopped.";
    Post   "/operations/{id}/unwind"      unwindOperation 200 "Takes a join back, step by step.";
    Post   "/operations/{id}/steps/{step}/write-off" writeOffStep 200 "Gives a step up that has stopped.";
    Get    "/approvals"                   listApprovals 200 "Lists the devices that wait for a hook or a person.";
    Post   "/approvals/{id}/approve"      approve 200 "Lets a device in.";
    Post   "/approvals/{id}/reject"       reject 200 "Turns a device away.";
    Delete "/approvals/{id}"              forgetApproval 204 "Forgets an answer: the device is asked about anew.";
    Get    "/neighbours"                  listNeighbours 200 "Lists the connectors and hooks of the configuration.";
    Post   "/neighbours/{name}/test"      testNeighbour 200 "Asks a neighbour whether it could work right now.";
    Get    "/events"                      listEvents 200 "Tells what happens: a page, or a stream of server-sent events.";
    Get    "/freezes"                     listFreezes 200 "Lists where provisioning is stopped.";
    Post   "/freezes"                     freeze 204 "Stops provisioning: of the tenant, a profile or a group secret.";
    Delete "/freezes"                     thaw 204 "Lifts a stop.";
    Get    "/attempts"                    listAttempts 200 "Lists attempts to provision, the newest first.";
    Get    "/explain"                     explain 200 "Tells what a registration id would get, and why.";
    Get    "/traces"                      listTraces 200 "Lists the devices that are traced.";
    Post   "/traces"                      beginTrace 200 "Keeps what a device sends and is told from now on.";
    Get    "/traces/{name}"               getTrace 200 "Shows what a device sent and was told, the oldest first.";
    Delete "/traces/{name}"               endTrace 204 "Ends a trace and forgets what it kept.";
    Get    "/audit/head"                  getAuditHead 200 "Shows the ends of the journal's chains.";
    Post   "/audit/verify"                verifyAudit 200 "Checks the journal's chains.";
    Get    "/secrets"                     getSecrets 200 "Shows the key-encryption keys, never their bytes.";
    Post   "/secrets/unlock"              unlockSecrets 200 "Opens the secrets.";
    Post   "/secrets/keks"                addKek 200 "Makes another key-encryption key the active one.";
    Post   "/secrets/keks/{id}/retire"    retireKek 200 "Retires a key-encryption key that nothing needs.";
    Post   "/secrets/rewrap"              rewrapSecrets 200 "Begins or stops a walk that wraps all values' keys anew.";
    Post   "/secrets/rekey"               rekeySecrets 200 "Begins or stops a walk that encrypts all values anew.";
    Post   "/secrets/verify"              verifySecrets 200 "Opens every sealed value, to see that it can be opened.";
    Post   "/secrets/reset"               resetSecrets 200 "Gives up what does not open.";
    Get    "/backups"                     listBackups 200 "Lists backups.";
    Post   "/backups"                     createBackup 202 "Begins a backup.";
    Get    "/sign-on/openid"              getOpenIdProvider 200 "Tells where people sign on.";
    Post   "/sign-on/openid"              signOnByOpenId 200 "Gives a token to whoever shows what the OpenID provider gave.";
    Post   "/sign-on/openid/device"       beginOpenIdDevice 200 "Begins to sign somebody on at another machine, by a code.";
}

/// What is told of a route; a test finds that there is something for each.
pub(super) fn of(verb: Verb, path: &'static str) -> &'static Told {
    const NOTHING: &Told = &Told { verb: Verb::Get, path: "", id: "", status: 200, summary: "" };
    TOLD.iter().find(|told| told.verb == verb && told.path == path).unwrap_or(NOTHING)
}

/// Adds what the types leave open: bodies that are no JSON, and answers of more than one kind.
pub(super) fn amend(id: &str, shape: &mut Shape, schemas: &mut Schemas) {
    match id {
        "changeProfile" => {
            let either = [schemas.answered::<ProfileCreated>(), schemas.answered::<Profile>()];
            shape.answer = Some(content("application/json", &json!({ "anyOf": either })));
        }
        "importDevices" => {
            let csv = json!({ "type": "string", "format": "binary", "examples": ["name,type,label\npump-17,pumps,north hall\n"] });
            shape.body = Some(content("text/csv", &csv));
            shape.answer = Some(content("application/x-ndjson", &schemas.answered::<ImportEvent>()));
        }
        "disableDevices" | "enableDevices" | "labelDevices" => {
            shape.answer = Some(content("application/x-ndjson", &schemas.answered::<BulkEvent>()));
        }
        "decommissionDevices" => {
            let mut answer = content("application/json", &schemas.answered::<Decommissioned>());
            answer["application/x-ndjson"] = json!({ "schema": schemas.answered::<BulkEvent>() });
            shape.answer = Some(answer);
        }
        "listEvents" => {
            let mut answer = content("application/json", &schemas.answered::<Events>());
            answer["text/event-stream"] = json!({ "schema": schemas.answered::<Event>() });
            shape.answer = Some(answer);
            shape.parameters.push(last_event_id());
        }
        // Without a provider there is nothing.
        "getOpenIdProvider" | "beginOpenIdDevice" => shape.refusals.push(404),
        _ => {}
    }
}

fn last_event_id() -> Value {
    json!({
        "name": "Last-Event-ID",
        "in": "header",
        "required": false,
        "description": "The place of the last event that was heard; goes before `after`.",
        "schema": { "type": "string" },
    })
}
