use super::*;

#[test]
fn explain_names_the_check_that_says_no() {
    let house = House::new();
    let expected_only = |name: &str| house.profile(name, Strategy::CheckPreProvisioned);
    expected_only("pumps");
    expected_only("valves");
    house.profile("closed", Strategy::Disabled);
    house.add("v1", "valves");
    house.add("off", "pumps");
    house.registry.disable_device(&server(), &house.home(), "off").unwrap();
    let limited = |name: &str, limits| {
        house.profile_with(NewProfile { name: name.to_owned(), limits, ..NewProfile::default() })
    };
    limited("expiring", Limits { expires_at: Some(house.clock.now().plus_ms(1)), ..Limits::default() });
    limited("inside", Limits { networks: vec!["10.0.0.0/8".parse().unwrap()], ..Limits::default() });
    limited(
        "named",
        Limits { name_pattern: Some(NamePattern::parse("x-[0-9]+").unwrap()), ..Limits::default() },
    );
    limited("used-up", Limits { uses: Some(0), ..Limits::default() });
    house.later(1);
    let again = |name: &str, strategy, reprovision| {
        let wanted = NewProfile { name: name.to_owned(), strategy, reprovision, ..NewProfile::default() };
        let view = house.profile_with(wanted).1;
        house.provisioned(&format!("{name}-1"), &view);
    };
    again("once", Strategy::CheckPreProvisioned, Reprovision::Refuse);
    again("first", Strategy::CreateNew, Reprovision::Refuse);
    again("retold", Strategy::CreateNew, Reprovision::ReturnExisting);
    let cases = [
        ("once-1", None, None, Some(("device", Refusal::AlreadyProvisioned))),
        ("first-1", None, None, Some(("device", Refusal::DeviceExists))),
        ("retold-1", None, None, None),
        ("new", Some("closed"), None, Some(("strategy", Refusal::ProvisioningDisabled))),
        ("new", Some("expiring"), None, Some(("secret-expiry", Refusal::SecretExpired))),
        ("new", Some("inside"), Some("192.0.2.1"), Some(("secret-networks", Refusal::SourceNotAllowed))),
        ("new", Some("inside"), Some("10.1.2.3"), None),
        ("new", Some("named"), None, Some(("secret-name-pattern", Refusal::NameNotAllowed))),
        ("x-1", Some("named"), None, None),
        ("new", Some("used-up"), None, Some(("secret-uses", Refusal::UsesExhausted))),
        ("new", Some("pumps"), None, Some(("device", Refusal::DeviceUnknown))),
        ("v1", Some("pumps"), None, Some(("device", Refusal::DeviceOfOtherProfile))),
        ("v1", None, None, None),
        ("off", None, None, Some(("device", Refusal::DeviceDisabled))),
        ("<b>", Some("pumps"), None, Some(("name", Refusal::NameMalformed))),
        ("", Some("pumps"), None, Some(("device", Refusal::NameMissing))),
    ];
    for (name, profile, source, expected) in cases {
        assert_eq!(house.refusal(name, profile, source), expected, "{name} {profile:?} {source:?}");
    }
}

#[test]
fn a_device_that_was_disabled_and_enabled_is_not_told_the_same_again_after_its_window() {
    let house = House::new();
    let reprovision = Reprovision::ReturnExisting;
    let view =
        house.profile_with(NewProfile { name: "retold".to_owned(), reprovision, ..NewProfile::default() }).1;
    house.provisioned("r", &view);
    house.later(600_000);
    house.registry.disable_device(&server(), &house.home(), "r").unwrap();
    house.registry.enable_device(&server(), &house.home(), "r").unwrap();
    assert_eq!(house.refusal("r", None, None), Some(("device", Refusal::DeviceExists)));
}

#[test]
fn explain_cannot_judge_the_proof_and_says_so() {
    let house = House::new();
    house.profile("pumps", Strategy::CreateNew);
    let supposed = Supposed { registration_id: "new", profile: None, source: None };
    let explained = house.registry.explain(&server(), &house.home(), &supposed).unwrap();
    let proof = explained[0].checks.iter().find(|check| check.check == "proof").unwrap();
    assert_eq!(proof.answer, Answer::Unknown);
    assert!(proof.hint().unwrap().contains("attempts"));
    assert!(explained[0].is_open());
}

#[test]
fn explain_answers_for_each_profile_when_nobody_knows_the_device() {
    let house = House::new();
    let supposed = Supposed { registration_id: "new", profile: None, source: None };
    let none = house.registry.explain(&server(), &house.home(), &supposed).unwrap();
    assert_eq!(none[0].refused_by(), Some(("profile", Refusal::ProfileUnknown)));
    house.profile("pumps", Strategy::CreateNew);
    house.profile("valves", Strategy::CheckPreProvisioned);
    let explained = house.registry.explain(&server(), &house.home(), &supposed).unwrap();
    let verdicts: Vec<_> =
        explained.iter().map(|it| (it.profile.as_deref(), it.refused_by().is_some())).collect();
    assert_eq!(verdicts, [(Some("pumps"), false), (Some("valves"), true)]);
    let supposed = Supposed { profile: Some("none"), ..supposed };
    assert_eq!(code(house.registry.explain(&server(), &house.home(), &supposed)), "profile-not-found");
}
