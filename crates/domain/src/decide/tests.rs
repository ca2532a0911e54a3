//! The decision, by table and by property.

use std::sync::Arc;

use proptest::prelude::{Just, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as Generator;

use super::*;
use crate::attestation::{Trust, attest};
use crate::credentials::tests::Glass;
use crate::lifecycle::Resting;
use crate::plan::StepRule;
use crate::profile::{GroupSecret, Joining, NamePattern, PreProvisionedCredentials};
use crate::{Claim, CredentialKeys, Evidence, Origin, Profile, Request, Secret, Wire};

const NOW: Timestamp = Timestamp(1_000_000);

/// Chance that repeats itself.
struct Dice(u64);

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.0 >> 33) as u8;
        }
    }
}

fn profile() -> Profile {
    Profile {
        id: ProfileId(7),
        tenant: TenantId(1),
        name: "pumps".into(),
        strategy: Strategy::CreateNew,
        reprovision: Reprovision::Refuse,
        redelivery_window_ms: 1000,
        pre_provisioned_credentials: PreProvisionedCredentials::Accept,
        provision_key: "key".into(),
        secrets: vec![GroupSecret {
            id: SecretId(3),
            verifier: Glass.verifier("secret"),
            expires_at: None,
            uses_left: None,
            networks: vec![],
            name_pattern: None,
            frozen: false,
        }],
        joining: Joining::default(),
        grace_period_ms: 1000,
        frozen: false,
        version: Version(4),
    }
}

fn request(name: Option<&str>, wish: Wish) -> Request {
    Request {
        claim: Claim { within: None, registration_id: name.map(Into::into) },
        evidence: Evidence::GroupSecret { key: "key".into(), secret: Glass.verifier("secret") },
        wish,
        gateway: false,
        origin: Origin { source: [192, 0, 2, 1].into(), wire: Wire::ThingsboardHttp },
    }
}

fn attested(profile: Profile, name: Option<&str>, wish: Wish) -> Attested {
    attest(request(name, wish), &Trust { profile: Some(Arc::new(profile)) }).expect("the evidence holds")
}

fn device(state: DeviceState) -> DeviceRecord {
    DeviceRecord {
        key: DeviceKey(42),
        tenant: TenantId(1),
        name: "pump-1".into(),
        profile: ProfileId(7),
        state,
        state_since: Timestamp(NOW.0 - 500),
        credential: if state == DeviceState::Expected {
            Credential::None
        } else {
            Credential::Derived(Generation(5))
        },
        gateway: false,
        owed: Owed::default(),
        version: Version(9),
    }
}

fn facts(device: Option<DeviceRecord>) -> Facts {
    Facts { device, fresh_key: DeviceKey(100), uses_left: None, question: None }
}

fn decided(profile: Profile, device: Option<DeviceRecord>) -> Decision {
    decide(&attested(profile, Some("pump-1"), Wish::ServerMade), &facts(device), NOW, &mut Dice(1))
}

/// What a decision comes to, in a word.
fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Provision(provision) => provision.deed.word(),
        Decision::Unchanged(_) => "unchanged",
        Decision::Joins(_) => "joins",
        Decision::Needs(_) => "needs",
        Decision::Refused(refusal) => refusal.code(),
    }
}

#[test]
fn every_strategy_policy_and_state_has_its_answer() {
    use DeviceState::{Decommissioning, Disabled, Expected, Failed, Provisioned, Provisioning};
    let disabled = Disabled { was: Resting::Provisioned };
    let cases = [
        ("create-new", "refuse", None, "created"),
        ("create-new", "refuse", Some(Expected), "device-announced"),
        ("create-new", "refuse", Some(Provisioned), "device-exists"),
        ("create-new", "return-existing", Some(Provisioned), "unchanged"),
        ("create-new", "rotate", Some(Provisioned), "rotated"),
        ("create-new", "rotate", Some(Expected), "device-announced"),
        ("create-new", "rotate", Some(disabled), "device-disabled"),
        ("check-pre-provisioned", "refuse", None, "device-unknown"),
        ("check-pre-provisioned", "refuse", Some(Expected), "claimed"),
        ("check-pre-provisioned", "refuse", Some(Provisioned), "already-provisioned"),
        ("check-pre-provisioned", "return-existing", Some(Provisioned), "unchanged"),
        ("check-pre-provisioned", "rotate", Some(Provisioned), "rotated"),
        ("check-pre-provisioned", "refuse", Some(disabled), "device-disabled"),
        ("create-new", "refuse", Some(Provisioning), "joins"),
        ("check-pre-provisioned", "rotate", Some(Provisioning), "joins"),
        ("create-new", "rotate", Some(Failed), "operation-stopped"),
        ("check-pre-provisioned", "rotate", Some(Decommissioning), "device-leaving"),
        ("disabled", "rotate", Some(Provisioned), "provisioning-disabled"),
        ("disabled", "refuse", None, "provisioning-disabled"),
    ];
    for (strategy, reprovision, state, expected) in cases {
        let profile = Profile {
            strategy: Strategy::from_word(strategy).unwrap(),
            reprovision: Reprovision::from_word(reprovision).unwrap(),
            ..profile()
        };
        let decision = decided(profile, state.map(device));
        assert_eq!(word(&decision), expected, "{strategy} {reprovision} {state:?}");
    }
}

#[test]
fn a_device_of_another_profile_is_none_of_ours() {
    let other = DeviceRecord { profile: ProfileId(8), ..device(DeviceState::Provisioned) };
    let rotate = Profile { reprovision: Reprovision::Rotate, ..profile() };
    assert_eq!(word(&decided(rotate.clone(), Some(other.clone()))), "name-of-other-profile");
    let check = Profile { strategy: Strategy::CheckPreProvisioned, ..rotate };
    assert_eq!(word(&decided(check, Some(other))), "device-of-other-profile");
}

#[test]
fn a_device_whose_own_credentials_were_ignored_is_told_the_same_again() {
    let keeping = Profile {
        strategy: Strategy::CheckPreProvisioned,
        reprovision: Reprovision::ReturnExisting,
        pre_provisioned_credentials: PreProvisionedCredentials::Keep,
        ..profile()
    };
    let own = || Wish::token(crate::Secret::new("mine"), &Glass);
    let decide_again = |profile: &Profile, device| {
        decide(&attested(profile.clone(), Some("pump-1"), own()), &facts(Some(device)), NOW, &mut Dice(1))
    };
    let Decision::Provision(claimed) = decide_again(&keeping, device(DeviceState::Expected)) else {
        panic!("an expected device is let in")
    };
    let Decision::Unchanged(promise) = decide_again(&keeping, claimed.device) else {
        panic!("an equal request within the window is told the same again")
    };
    assert_eq!(promise.generation, claimed.generation);
    assert!(matches!(promise.clear, Clear::Derived));
    let creating = Profile { strategy: Strategy::CreateNew, ..keeping };
    assert_eq!(word(&decide_again(&creating, device(DeviceState::Provisioned))), "device-exists");
}

#[test]
fn the_same_is_told_again_only_within_the_redelivery_window_and_only_to_an_equal_request() {
    let again = Profile { reprovision: Reprovision::ReturnExisting, ..profile() };
    let late = DeviceRecord { state_since: Timestamp(NOW.0 - 1000), ..device(DeviceState::Provisioned) };
    assert_eq!(word(&decided(again.clone(), Some(late))), "device-exists");
    let other = attested(again, Some("pump-1"), Wish::token(Secret::new("mine"), &Glass));
    let decision = decide(&other, &facts(Some(device(DeviceState::Provisioned))), NOW, &mut Dice(1));
    assert_eq!(word(&decision), "device-exists");
}

#[test]
fn what_is_told_again_is_the_generation_that_stands() {
    let again = Profile { reprovision: Reprovision::ReturnExisting, ..profile() };
    let Decision::Unchanged(promise) = decided(again, Some(device(DeviceState::Provisioned))) else {
        panic!()
    };
    assert_eq!((promise.device, promise.generation), (DeviceKey(42), Generation(5)));
}

#[test]
fn a_rotation_draws_a_new_generation_and_keeps_key_and_name() {
    let rotate = Profile { reprovision: Reprovision::Rotate, ..profile() };
    let Decision::Provision(provision) = decided(rotate, Some(device(DeviceState::Provisioned))) else {
        panic!()
    };
    assert_eq!((provision.device.key, provision.device.name.as_str()), (DeviceKey(42), "pump-1"));
    assert_eq!((provision.replaces, provision.device.version), (Some(Version(9)), Version(10)));
    assert_ne!(provision.generation, Generation(5));
}

#[test]
fn an_unnamed_device_is_named_by_the_server_but_not_where_devices_are_expected() {
    let unnamed = attested(profile(), None, Wish::ServerMade);
    let Decision::Provision(provision) = decide(&unnamed, &facts(None), NOW, &mut Dice(1)) else { panic!() };
    assert_eq!(provision.device.name.len(), 20);
    let check = Profile { strategy: Strategy::CheckPreProvisioned, ..profile() };
    let unnamed = attested(check, Some(""), Wish::ServerMade);
    assert_eq!(word(&decide(&unnamed, &facts(None), NOW, &mut Dice(1))), "name-missing");
}

#[test]
fn expected_devices_keep_to_the_servers_credentials_where_the_profile_says_so() {
    let check = |pre_provisioned_credentials| Profile {
        strategy: Strategy::CheckPreProvisioned,
        pre_provisioned_credentials,
        ..profile()
    };
    let kind = |credentials| {
        let attested = attested(check(credentials), Some("pump-1"), Wish::token(Secret::new("mine"), &Glass));
        match decide(&attested, &facts(Some(device(DeviceState::Expected))), NOW, &mut Dice(1)) {
            Decision::Provision(provision) => provision.device.credential.kind(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(kind(PreProvisionedCredentials::Accept), "chosen-token");
    assert_eq!(kind(PreProvisionedCredentials::Keep), "token");
}

#[test]
fn each_limit_of_a_group_secret_refuses_by_its_own_name() {
    type Limit = fn(&mut GroupSecret);
    let cases: [(Limit, &str); 5] = [
        (|_| {}, "created"),
        (|secret| secret.expires_at = Some(NOW), "secret-expired"),
        (|secret| secret.networks = vec!["10.0.0.0/8".parse().unwrap()], "source-not-allowed"),
        (|secret| secret.name_pattern = NamePattern::parse("valve-.*").ok(), "name-not-allowed"),
        (|secret| secret.uses_left = Some(5), "uses-exhausted"),
    ];
    for (limit, expected) in cases {
        let mut profile = profile();
        limit(&mut profile.secrets[0]);
        let attested = attested(profile, Some("pump-1"), Wish::ServerMade);
        let facts = Facts { uses_left: Some(0), ..facts(None) };
        assert_eq!(word(&decide(&attested, &facts, NOW, &mut Dice(1))), expected);
    }
}

#[test]
fn only_the_move_to_provisioned_spends_a_use() {
    let mut limited = Profile { reprovision: Reprovision::Rotate, ..profile() };
    limited.secrets[0].uses_left = Some(5);
    let spends = |device: Option<DeviceRecord>, uses_left| {
        let attested = attested(limited.clone(), Some("pump-1"), Wish::ServerMade);
        match decide(&attested, &Facts { uses_left, ..facts(device) }, NOW, &mut Dice(1)) {
            Decision::Provision(provision) => provision.spends,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(spends(None, Some(1)), Some(SecretId(3)));
    assert_eq!(spends(Some(device(DeviceState::Provisioned)), Some(0)), None);
}

#[test]
fn a_secret_being_rotated_admits_with_either_value() {
    let mut two = profile();
    two.secrets.insert(
        0,
        GroupSecret { id: SecretId(4), verifier: Glass.verifier("newer"), ..two.secrets[0].clone() },
    );
    let trust = Trust { profile: Some(Arc::new(two)) };
    for (offered, expected) in [("newer", Some(SecretId(4))), ("secret", Some(SecretId(3))), ("none", None)] {
        let mut request = request(Some("pump-1"), Wish::ServerMade);
        request.evidence = Evidence::GroupSecret { key: "key".into(), secret: Glass.verifier(offered) };
        let proven =
            attest(request, &trust).ok().and_then(|attested| attested.secret().map(|secret| secret.id));
        assert_eq!(proven, expected);
    }
}

#[test]
fn a_listener_of_another_tenant_knows_no_such_profile() {
    let mut request = request(Some("pump-1"), Wish::ServerMade);
    request.claim.within = Some(TenantId(2));
    let trust = Trust { profile: Some(Arc::new(profile())) };
    assert_eq!(attest(request, &trust).err(), Some(Refusal::ProfileUnknown));
}

fn rule(connector: &str, gate: Gate) -> StepRule {
    StepRule { connector: connector.into(), gate }
}

fn planned(steps: Vec<StepRule>) -> Box<Provision> {
    let joining = Joining { steps, ..Joining::default() };
    match decided(Profile { joining, ..profile() }, None) {
        Decision::Provision(provision) => provision,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_steps_before_the_reply_keep_a_device_waiting() {
    let cases = [
        (vec![], DeviceState::Provisioned, Owed::default()),
        (vec![Gate::AfterReply], DeviceState::Provisioned, Owed::default()),
        (vec![Gate::WithReply], DeviceState::Provisioned, Owed { answer: true, ..Owed::default() }),
        (vec![Gate::BeforeReply], DeviceState::Provisioning, Owed { answer: true, ..Owed::default() }),
        (vec![Gate::OnFirstConnection], DeviceState::Provisioned, Owed { steps: true, ..Owed::default() }),
    ];
    for (gates, state, owed) in cases {
        let provision = planned(gates.iter().map(|gate| rule("erp", *gate)).collect());
        assert_eq!((provision.device.state, provision.device.owed), (state, owed), "{gates:?}");
        assert_eq!(provision.plan.len(), gates.len());
    }
}

#[test]
fn who_asks_for_something_else_while_its_steps_are_being_done_has_to_wait() {
    let other = attested(profile(), Some("pump-1"), Wish::token(Secret::new("mine"), &Glass));
    let decision = decide(&other, &facts(Some(device(DeviceState::Provisioning))), NOW, &mut Dice(1));
    assert_eq!(word(&decision), "operation-running");
}

#[test]
fn a_device_that_stopped_waiting_is_told_the_same_until_it_shows_that_it_knows() {
    let late = |answer| DeviceRecord {
        owed: Owed { answer, ..Owed::default() },
        state_since: Timestamp(0),
        ..device(DeviceState::Provisioned)
    };
    assert_eq!(word(&decided(profile(), Some(late(true)))), "unchanged");
    assert_eq!(word(&decided(profile(), Some(late(false)))), "device-exists");
}

#[test]
fn a_device_that_was_taken_back_may_come_in_where_only_new_ones_may() {
    let owed = Owed { return_home: true, ..Owed::default() };
    let back = DeviceRecord { owed, ..device(DeviceState::Expected) };
    let Decision::Provision(provision) = decided(profile(), Some(back)) else { panic!() };
    assert_eq!((provision.deed, provision.device.owed), (Deed::Claimed, Owed::default()));
}

fn asking(hook: bool, approval: bool) -> Profile {
    let hook = hook.then(|| "gatekeeper".to_owned());
    let initial_attributes = Some(r#"{"site":"a"}"#.to_owned());
    Profile { joining: Joining { hook, approval, initial_attributes, ..Joining::default() }, ..profile() }
}

fn with_question(verdict: Verdict, expires_in: i64) -> Facts {
    let expires_at = Timestamp(NOW.0 + expires_in);
    Facts { question: Some(StandingQuestion { id: QuestionId(5), verdict, expires_at }), ..facts(None) }
}

#[test]
fn nobody_comes_in_before_the_question_is_answered() {
    let allowed = Verdict::Allowed { attributes: None };
    let cases = [
        (facts(None), "needs"),
        (with_question(Verdict::AwaitsHook, 1), "needs"),
        (with_question(Verdict::AwaitsPerson, 1), "needs"),
        (with_question(Verdict::Denied, 1), "provisioning-denied"),
        (with_question(Verdict::Denied, 0), "needs"),
        (with_question(allowed.clone(), 1), "created"),
        (with_question(allowed, 0), "needs"),
    ];
    for (facts, expected) in cases {
        let attested = attested(asking(true, true), Some("pump-1"), Wish::ServerMade);
        assert_eq!(word(&decide(&attested, &facts, NOW, &mut Dice(1))), expected, "{facts:?}");
    }
}

#[test]
fn an_answer_is_used_up_and_brings_its_attributes_behind_those_of_the_profile() {
    let facts = with_question(Verdict::Allowed { attributes: Some(r#"{"site":"b"}"#.into()) }, 1);
    let attested = attested(asking(false, true), Some("pump-1"), Wish::ServerMade);
    let Decision::Provision(provision) = decide(&attested, &facts, NOW, &mut Dice(1)) else { panic!() };
    assert_eq!(provision.answered, Some(QuestionId(5)));
    assert_eq!(provision.initial_attributes, [r#"{"site":"a"}"#, r#"{"site":"b"}"#]);
}

#[test]
fn who_is_asked_about_needs_a_name() {
    let unnamed = attested(asking(false, true), None, Wish::ServerMade);
    assert_eq!(word(&decide(&unnamed, &facts(None), NOW, &mut Dice(1))), "name-missing");
}

fn any_state() -> impl Generator<Value = Option<DeviceState>> {
    prop_oneof![Just(None), proptest::sample::select(DeviceState::ALL).prop_map(|(state, _)| Some(state)),]
}

proptest! {
    /// Whatever the profile, the facts and the claim are: what is decided keeps the invariants of the registry.
    #[test]
    fn a_decision_never_breaks_the_registry(
        strategy in proptest::sample::select(Strategy::ALL),
        reprovision in proptest::sample::select(Reprovision::ALL),
        state in any_state(),
        same_profile: bool,
        age in 0_i64..3000,
        uses in proptest::option::of(0_u64..3),
        chosen in proptest::option::of("[a-z]{1,5}"),
        name in "[ -~]{0,12}",
    ) {
        let mut profile = Profile { strategy, reprovision, ..profile() };
        profile.secrets[0].uses_left = uses;
        let wish = chosen.map_or(Wish::ServerMade, |token| Wish::token(Secret::new(token), &Glass));
        let trust = Trust { profile: Some(Arc::new(profile)) };
        let Ok(attested) = attest(request(Some(&name), wish), &trust) else { return Ok(()) };
        let known = state.map(|state| DeviceRecord {
            profile: ProfileId(if same_profile { 7 } else { 8 }),
            state_since: Timestamp(NOW.0 - age),
            ..device(state)
        }).filter(|_| attested.name().is_some());
        let facts = Facts { uses_left: uses, ..facts(known.clone()) };
        match decide(&attested, &facts, NOW, &mut Dice(9)) {
            Decision::Provision(provision) => {
                prop_assert!(strategy != Strategy::Disabled);
                prop_assert_eq!(provision.device.state, DeviceState::Provisioned);
                prop_assert_eq!(provision.device.credential.generation(), Some(provision.generation));
                prop_assert_eq!(provision.replaces, known.as_ref().map(|device| device.version));
                prop_assert_eq!(provision.device.key, known.as_ref().map_or(DeviceKey(100), |device| device.key));
                prop_assert!(known.as_ref().is_none_or(|device| same_profile && device.state.provision(false).is_ok()));
                prop_assert!(provision.spends.is_none() || uses.is_some_and(|left| left > 0));
            }
            Decision::Unchanged(promise) => {
                let device = known.expect("only a known device is told the same again");
                prop_assert!(same_profile && device.state == DeviceState::Provisioned && age < 1000);
                prop_assert_eq!(Some(promise.generation), device.credential.generation());
            }
            Decision::Joins(promise) => {
                let device = known.expect("only a known device joins its operation");
                prop_assert!(same_profile && device.state == DeviceState::Provisioning);
                prop_assert_eq!(Some(promise.generation), device.credential.generation());
            }
            Decision::Needs(_) => prop_assert!(false, "nothing is to be asked here"),
            Decision::Refused(refusal) => prop_assert!(!refusal.hint().is_empty()),
        }
    }
}

#[test]
fn an_expected_device_is_told_what_an_operator_gave_it_unless_it_brings_its_own() {
    let profile = Profile { strategy: Strategy::CheckPreProvisioned, ..profile() };
    let given = Generation(5);
    let token = Credential::Token(given, Glass.verifier("given"));
    for credential in [Credential::Derived(given), token] {
        let expected = DeviceRecord { credential, ..device(DeviceState::Expected) };
        let Decision::Provision(told) = decided(profile.clone(), Some(expected.clone())) else { panic!() };
        assert_eq!((told.device.credential, told.generation), (credential, given));
        assert_eq!(told.device.state, DeviceState::Provisioned);
        assert_eq!(matches!(told.promise().clear, Clear::Sealed), credential == token);
        let wish = Wish::token(Secret::new("own"), &Glass);
        let attested = attested(profile.clone(), Some("pump-1"), wish);
        let decision = decide(&attested, &facts(Some(expected)), NOW, &mut Dice(1));
        let Decision::Provision(own) = decision else { panic!() };
        assert!(matches!(own.promise().clear, Clear::Chosen(_)));
        assert_ne!(own.generation, given);
    }
}

#[test]
fn only_a_device_that_has_come_in_is_reset_and_then_it_is_told_again_what_it_holds() {
    for (state, _) in DeviceState::ALL {
        let reset = device(*state).reset(NOW);
        assert_eq!(
            reset.as_ref().map(|it| it.state.enable()),
            state.has_come().then_some(DeviceState::Expected)
        );
        assert!(reset.is_none_or(|it| (it.state == DeviceState::Expected) == (*state == state.enable())));
    }
    let held = Credential::Derived(Generation(5));
    let provisioned = DeviceRecord { credential: held, ..device(DeviceState::Provisioned) };
    for strategy in [Strategy::CreateNew, Strategy::CheckPreProvisioned] {
        let profile = Profile { strategy, ..profile() };
        let Decision::Refused(_) = decided(profile.clone(), Some(provisioned.clone())) else { panic!() };
        let Decision::Provision(again) = decided(profile, provisioned.reset(NOW)) else { panic!() };
        assert_eq!((again.device.state, again.device.credential), (DeviceState::Provisioned, held));
    }
}
