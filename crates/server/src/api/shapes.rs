//! From the registry's words to those of the operator API, and back.

use std::net::IpAddr;

use domain::name::MAX_CHARS;
use domain::plan::{Gate, PlannedStep, StepRule, StepState};
use domain::profile::{NamePattern, PreProvisionedCredentials};
use domain::{Credential, DeviceState, Reprovision, Role, Secret, Strategy, Timestamp, Verdict};
use engine::registry::{self as ours, RegistryError, Right};
use ipnet::IpNet;
use store::telemetry::{Scope, Value};
use wire::admin;

use super::tagged::Tagged;

/// A listing that is one page.
pub(super) fn whole<T, W>(items: Vec<T>, shape: impl Fn(T) -> W) -> admin::Page<W> {
    admin::Page { items: items.into_iter().map(shape).collect(), next: None }
}

/// RFC 3339 in UTC; what is further away than it can say is told as the last moment that it can.
pub(super) fn instant(at: Timestamp) -> String {
    // Whole seconds: milliseconds are read only up to the last one of them.
    let [first, last] =
        [jiff::Timestamp::MIN, jiff::Timestamp::MAX].map(|end| end.as_second().saturating_mul(1000));
    let bounded = at.0.clamp(first, last);
    jiff::Timestamp::from_millisecond(bounded).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

pub(super) fn right(right: Right) -> admin::OperatorRight {
    match right {
        Right::Server => admin::OperatorRight::Server,
        Right::Tenant(_) => admin::OperatorRight::Tenant,
    }
}

pub(super) fn role(role: Role) -> admin::OperatorRole {
    match role {
        Role::Viewer => admin::OperatorRole::Viewer,
        Role::Installer => admin::OperatorRole::Installer,
        Role::Operator => admin::OperatorRole::Operator,
        Role::Security => admin::OperatorRole::Security,
        Role::Admin => admin::OperatorRole::Admin,
    }
}

pub(super) fn to_role(role: admin::OperatorRole) -> Role {
    match role {
        admin::OperatorRole::Viewer => Role::Viewer,
        admin::OperatorRole::Installer => Role::Installer,
        admin::OperatorRole::Operator => Role::Operator,
        admin::OperatorRole::Security => Role::Security,
        admin::OperatorRole::Admin => Role::Admin,
    }
}

pub(super) fn account(account: ours::AccountView) -> admin::OperatorAccount {
    admin::OperatorAccount {
        name: account.name,
        role: role(account.role),
        tenant: account.tenant,
        password: account.has_password,
        created_at: instant(account.created_at),
        changed_at: instant(account.changed_at),
        disabled_at: account.disabled_at.map(instant),
        issuer: account.issuer,
    }
}

pub(super) fn freeze(freeze: ours::FreezeView) -> admin::Freeze {
    admin::Freeze {
        profile: freeze.stopped.profile,
        secret: freeze.stopped.secret,
        since: instant(freeze.since),
        actor: freeze.actor,
        reason: freeze.reason,
    }
}

pub(super) fn tenant(tenant: store::Tenant) -> admin::Tenant {
    admin::Tenant { id: tenant.id.to_string(), name: tenant.name, created_at: instant(tenant.created_at) }
}

pub(super) fn operator_token(token: ours::OperatorToken) -> admin::OperatorToken {
    let right =
        if token.tenant.is_some() { admin::OperatorRight::Tenant } else { admin::OperatorRight::Server };
    admin::OperatorToken {
        id: token.id.to_string(),
        label: token.label,
        right,
        role: role(token.role),
        tenant: token.tenant,
        expires_at: token.expires_at.map(instant),
        created_at: instant(token.created_at),
        revoked_at: token.revoked_at.map(instant),
    }
}

pub(super) fn profile(view: ours::ProfileView) -> admin::Profile {
    admin::Profile {
        id: view.profile.id.to_string(),
        tenant: view.tenant,
        name: view.profile.name,
        strategy: strategy(view.profile.strategy),
        reprovision: reprovision(view.profile.reprovision),
        redelivery_window_s: view.profile.redelivery_window_ms / 1000,
        pre_provisioned_credentials: bringing(view.profile.pre_provisioned_credentials),
        provision_key: view.profile.provision_key,
        hook: view.profile.joining.hook,
        approval: view.profile.joining.approval,
        steps: view.profile.joining.steps.into_iter().map(profile_step).collect(),
        initial_attributes: view
            .profile
            .joining
            .initial_attributes
            .and_then(|object| serde_json::from_str(&object).ok()),
        grace_period_s: view.profile.grace_period_ms / 1000,
        secrets: view
            .secrets
            .into_iter()
            .enumerate()
            .map(|(at, secret)| profile_secret(secret, at == 0))
            .collect(),
        version: view.profile.version.0,
        created_at: instant(view.created_at),
    }
}

fn profile_secret(secret: ours::SecretView, current: bool) -> admin::ProfileSecret {
    admin::ProfileSecret {
        slot: u32::try_from(secret.number).unwrap_or(u32::MAX),
        created_at: instant(secret.created_at),
        expires_at: secret.limits.expires_at.map(instant),
        uses_left: secret.limits.uses,
        networks: secret.limits.networks.iter().map(ToString::to_string).collect(),
        name_pattern: secret.limits.name_pattern.map(|pattern| pattern.text().to_owned()),
        current,
    }
}

/// With the tag of how it stands.
pub(super) fn tagged_device(ours: ours::Device) -> Tagged<admin::Device> {
    Tagged { stand: ours.stand.clone(), body: device(ours) }
}

pub(super) fn device(device: ours::Device) -> admin::Device {
    admin::Device {
        id: device.id,
        name: device.name,
        profile: device.profile,
        label: device.label,
        labels: device.labels,
        state: device_state(device.state),
        state_since: instant(device.state_since),
        credentials_type: credentials_type(&device.credential),
        gateway: device.gateway,
        last_seen: device.seen_at.map(instant),
        attributes: None,
        grace_until: None,
        known_to: Vec::new(),
        would_retire: Vec::new(),
        operation: None,
    }
}

/// One device with what only its own page shows.
pub(super) fn life(life: ours::Life) -> admin::Device {
    let object: serde_json::Map<String, serde_json::Value> = life
        .attributes
        .into_iter()
        .filter_map(|(key, value)| Some((key, serde_json::from_str(&value).ok()?)))
        .collect();
    let leaving = life.device.state == DeviceState::Decommissioning;
    let steps: Vec<_> = life.steps.into_iter().map(|step| step.record).collect();
    let plan = domain::plan::leaving(&steps);
    admin::Device {
        attributes: (!object.is_empty()).then_some(object.into()),
        grace_until: life.grace_until.filter(|_| leaving).map(instant),
        known_to: plan.iter().map(|step| step.connector.clone()).collect(),
        would_retire: (0..).zip(plan).map(retirement).collect(),
        operation: life.pending.map(|operation| operation.0),
        ..device(life.device)
    }
}

fn retirement((step, planned): (u32, PlannedStep)) -> admin::Retirement {
    let external_id = planned.receipt.map(|receipt| receipt.external_id);
    admin::Retirement { step, connector: planned.connector, external_id }
}

pub(super) fn operation(operation: ours::Operation) -> admin::Operation {
    let row = operation.row;
    admin::Operation {
        id: row.id.0,
        device: operation.device,
        kind: row.kind.word().to_owned(),
        phase: row.phase.word().to_owned(),
        began_at: instant(row.began_at),
        ended_at: row.ended_at.map(instant),
        steps: operation.steps.into_iter().map(step).collect(),
    }
}

pub(super) fn step(step: store::StepRow) -> admin::Step {
    let record = step.record;
    let (external_id, receipt) =
        record.receipt.map_or((None, None), |receipt| (Some(receipt.external_id), receipt.detail));
    admin::Step {
        operation: record.key.operation.0,
        step: record.key.index,
        action: record.action.word().to_owned(),
        connector: record.connector,
        gate: gate(step.gate),
        state: record.state.word().to_owned(),
        attempts: record.attempts,
        external_id,
        receipt,
        fault: step.fault,
        fault_message: step.fault_message,
        due_at: (record.state == StepState::Due).then(|| instant(step.due_at)),
        server: step.server,
        changed_at: instant(step.changed_at),
    }
}

pub(super) fn approval(approval: ours::Approval) -> admin::Approval {
    let row = approval.row;
    admin::Approval {
        id: row.standing.id.0,
        name: row.name,
        profile: approval.profile,
        verdict: verdict(&row.standing.verdict).to_owned(),
        source: row.source,
        wire: row.wire,
        credential: row.credential,
        gateway: row.gateway,
        hook: row.hook,
        attempts: row.attempts,
        fault: row.fault_message.or(row.fault),
        reason: row.reason,
        asked_at: instant(row.asked_at),
        expires_at: instant(row.standing.expires_at),
        decided_at: row.decided_at.map(instant),
        decided_by: row.decided_by,
    }
}

fn verdict(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::AwaitsHook => "awaits-hook",
        Verdict::AwaitsPerson => "awaits-person",
        Verdict::Allowed { .. } => "allowed",
        Verdict::Denied => "denied",
    }
}

fn profile_step(rule: StepRule) -> admin::ProfileStep {
    admin::ProfileStep { connector: rule.connector, gate: gate(rule.gate) }
}

pub(super) fn step_asked(asked: admin::ProfileStep) -> StepRule {
    let gate = match asked.gate {
        admin::Gate::BeforeReply => Gate::BeforeReply,
        admin::Gate::WithReply => Gate::WithReply,
        admin::Gate::AfterReply => Gate::AfterReply,
        admin::Gate::OnFirstConnection => Gate::OnFirstConnection,
    };
    StepRule { connector: asked.connector, gate }
}

fn gate(gate: Gate) -> admin::Gate {
    match gate {
        Gate::BeforeReply => admin::Gate::BeforeReply,
        Gate::WithReply => admin::Gate::WithReply,
        Gate::AfterReply => admin::Gate::AfterReply,
        Gate::OnFirstConnection => admin::Gate::OnFirstConnection,
    }
}

fn device_state(state: DeviceState) -> admin::DeviceState {
    match state {
        DeviceState::Expected => admin::DeviceState::Expected,
        DeviceState::Provisioning => admin::DeviceState::Provisioning,
        DeviceState::Provisioned => admin::DeviceState::Provisioned,
        DeviceState::Failed => admin::DeviceState::Failed,
        DeviceState::Disabled { .. } => admin::DeviceState::Disabled,
        DeviceState::Decommissioning => admin::DeviceState::Decommissioning,
        DeviceState::Decommissioned => admin::DeviceState::Decommissioned,
    }
}

fn credentials_type(credential: &Credential) -> Option<admin::CredentialsType> {
    match credential {
        Credential::None => None,
        Credential::Derived(_) | Credential::Token(..) => Some(admin::CredentialsType::AccessToken),
        Credential::Basic(..) => Some(admin::CredentialsType::MqttBasic),
        Credential::Certificate(..) => Some(admin::CredentialsType::X509),
    }
}

pub(super) fn strategy_asked(asked: admin::Strategy) -> Strategy {
    match asked {
        admin::Strategy::CreateNew => Strategy::CreateNew,
        admin::Strategy::CheckPreProvisioned => Strategy::CheckPreProvisioned,
        admin::Strategy::Disabled => Strategy::Disabled,
    }
}

fn strategy(strategy: Strategy) -> admin::Strategy {
    match strategy {
        Strategy::CreateNew => admin::Strategy::CreateNew,
        Strategy::CheckPreProvisioned => admin::Strategy::CheckPreProvisioned,
        Strategy::Disabled => admin::Strategy::Disabled,
    }
}

pub(super) fn reprovision_asked(asked: admin::Reprovision) -> Reprovision {
    match asked {
        admin::Reprovision::Refuse => Reprovision::Refuse,
        admin::Reprovision::ReturnExisting => Reprovision::ReturnExisting,
        admin::Reprovision::Rotate => Reprovision::Rotate,
    }
}

fn reprovision(policy: Reprovision) -> admin::Reprovision {
    match policy {
        Reprovision::Refuse => admin::Reprovision::Refuse,
        Reprovision::ReturnExisting => admin::Reprovision::ReturnExisting,
        Reprovision::Rotate => admin::Reprovision::Rotate,
    }
}

pub(super) fn bringing_asked(asked: admin::PreProvisionedCredentials) -> PreProvisionedCredentials {
    match asked {
        admin::PreProvisionedCredentials::Accept => PreProvisionedCredentials::Accept,
        admin::PreProvisionedCredentials::Keep => PreProvisionedCredentials::Keep,
    }
}

fn bringing(bringing: PreProvisionedCredentials) -> admin::PreProvisionedCredentials {
    match bringing {
        PreProvisionedCredentials::Accept => admin::PreProvisionedCredentials::Accept,
        PreProvisionedCredentials::Keep => admin::PreProvisionedCredentials::Keep,
    }
}

pub(super) fn secret_asked(asked: &wire::Secret) -> Secret {
    Secret::new(asked.expose())
}

pub(super) fn instant_asked(text: &str) -> Result<Timestamp, RegistryError> {
    super::selectors::moment_asked("expires_at", text)
}

/// A single address counts as the network of itself.
pub(super) fn networks_asked(texts: &[String]) -> Result<Vec<IpNet>, RegistryError> {
    texts.iter().map(|text| network_asked(text.trim())).collect()
}

fn network_asked(text: &str) -> Result<IpNet, RegistryError> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| network.trunc()).ok_or_else(|| RegistryError::Invalid {
        field: "networks",
        detail: format!("`{}` is no network such as `10.0.0.0/8`.", shortened(text)),
    })
}

pub(super) fn pattern_asked(text: &str) -> Result<NamePattern, RegistryError> {
    NamePattern::parse(text).map_err(|detail| RegistryError::Invalid { field: "name_pattern", detail })
}

/// What was sent may be of any length; what is told back is not.
fn shortened(text: &str) -> String {
    text.chars().take(MAX_CHARS).collect()
}

pub(super) fn telemetry(value: store::telemetry::Latest) -> admin::TelemetryValue {
    admin::TelemetryValue {
        key: value.key,
        ts_ms: value.at.0,
        value: json(value.value),
        scope: match value.scope {
            Scope::Timeseries => admin::ValueScope::Telemetry,
            Scope::ClientAttribute => admin::ValueScope::Client,
        },
    }
}

fn json(value: Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => value.into(),
        Value::Integer(value) => value.into(),
        Value::Double(value) => value.into(),
        // What is not JSON any more is still shown, as the text that it is.
        Value::Json(text) => serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)),
        Value::Text(text) => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_further_away_than_can_be_said_is_not_long_ago() {
        for (at, told) in [(i64::MAX, "9999-"), (i64::MIN, "-009999-"), (0, "1970-01-01T00:00:00Z")] {
            assert!(instant(Timestamp(at)).starts_with(told), "{}", instant(Timestamp(at)));
        }
    }
}
