//! Every verb of `muster` as an operator uses it: what it does, what it prints, how it ends.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::PATIENCE;
use e2e::device::{Answer, Connect, Group, Http, Mqtt};
use e2e::muster::Muster;
use e2e::musterd::Musterd;
use serde_json::{Value, json};
use testkit::wait::eventually;

/// Exit codes, as `muster --help` lists them.
const REFUSED: i32 = 1;
const USAGE: i32 = 2;
const UNREACHABLE: i32 = 3;
const UNAUTHORIZED: i32 = 4;
const UNCONFIRMED: i32 = 5;
const FINDINGS: i32 = 6;

#[test]
fn tenants_are_made_once_and_listed() -> Result<()> {
    let office = Office::open()?;
    let made = office.muster.json(&["tenant", "create", "acme"])?;
    has_members(&made, &["id", "name", "created_at"])?;
    office.muster.fails(REFUSED, &["tenant", "create", "acme"])?;
    let listed = office.muster.json(&["tenant", "list"])?;
    ensure!(names(&listed) == ["acme", "default"], "{listed}");
    ensure!(listed[0] == made, "{listed}");
    Ok(())
}

#[test]
fn a_tenants_token_sees_its_own_tenant_and_nothing_else() -> Result<()> {
    let office = Office::open()?;
    for tenant in ["acme", "umbrella"] {
        office.muster.ok(&["tenant", "create", tenant])?;
        let key = format!("{tenant}-key");
        let profile = ["profile", "create", "pumps", "--strategy", "create-new", "--tenant", tenant];
        office
            .muster
            .ok(&[&profile[..], &["--provision-key", &key, "--provision-secret", "s3cret"]].concat())?;
        let device = format!("{tenant}-pump");
        ensure!(office.http()?.provision(&Group::new(&key, "s3cret").ask(&device))?.is_granted());
    }
    let made = office.muster.json(&["operator", "token", "create", "--tenant", "acme"])?;
    ensure!(made["right"] == "tenant" && made["tenant"] == "acme", "{made}");
    let acme = office.with_token(&made)?;

    ensure!(names(&acme.json(&["tenant", "list"])?) == ["acme"]);
    ensure!(names(&acme.json(&["device", "list"])?) == ["acme-pump"]);
    ensure!(names(&acme.json(&["profile", "list"])?) == ["pumps"]);
    let attempts = acme.json(&["attempts"])?;
    ensure!(names(&attempts) == ["acme-pump"], "{attempts}");
    acme.ok(&["device", "show", "acme-pump"])?;
    acme.ok(&["explain", "acme-pump"])?;

    // The other tenant is as if it were not there.
    for verb in [
        &["device", "show", "umbrella-pump"][..],
        &["device", "telemetry", "umbrella-pump"],
        &["device", "disable", "umbrella-pump"],
        &["device", "delete", "umbrella-pump", "--yes"],
    ] {
        acme.fails(REFUSED, verb)?;
        let ended = acme.run(&[verb, &["--tenant", "umbrella"]].concat())?;
        ensure!(ended.code == UNAUTHORIZED || ended.code == REFUSED, "{verb:?}: {ended:?}");
        ensure!(ended.out.is_empty(), "{ended:?}");
    }
    for listing in [&["device", "list"][..], &["profile", "list"], &["attempts"]] {
        let ended = acme.run(&[listing, &["--tenant", "umbrella"]].concat())?;
        ensure!(ended.code != 0 && ended.out.is_empty(), "{listing:?}: {ended:?}");
    }
    for servers_own in [
        &["tenant", "create", "another"][..],
        &["operator", "token", "create"],
        &["audit", "verify"],
        &["audit", "head"],
    ] {
        acme.fails(UNAUTHORIZED, servers_own)?;
    }
    // Its own operators are its own business.
    acme.fails(REFUSED, &["operator", "token", "create", "--tenant", "umbrella"])?;
    acme.ok(&["operator", "token", "create", "--tenant", "acme", "--role", "viewer"])?;
    let tokens = acme.json(&["operator", "token", "list"])?;
    ensure!(rows(&tokens).iter().all(|token| token["tenant"] == "acme"), "{tokens}");
    let all = office.muster.json(&["device", "list", "--tenant", "umbrella"])?;
    ensure!(names(&all) == ["umbrella-pump"] && all[0]["state"] == "provisioned", "{all}");
    Ok(())
}

#[test]
fn an_operator_token_is_shown_once_and_void_after_its_end() -> Result<()> {
    let office = Office::open()?;
    let made = office.muster.json(&["operator", "token", "create", "--label", "ci"])?;
    has_members(&made, &["token", "id", "label", "right", "created_at"])?;
    let ci = office.with_token(&made)?;
    ci.ok(&["tenant", "list"])?;
    let id = made["id"].as_str().context("no id")?;
    let listed = office.muster.ok(&["operator", "token", "list", "-o", "json"])?;
    ensure!(!listed.contains(made["token"].as_str().context("no token")?));

    office.muster.fails(UNCONFIRMED, &["operator", "token", "revoke", id])?;
    ci.ok(&["tenant", "list"])?;
    office.muster.ok(&["operator", "token", "revoke", id, "--yes"])?;
    ci.fails(UNAUTHORIZED, &["tenant", "list"])?;
    let listed = office.muster.json(&["operator", "token", "list"])?;
    let row = rows(&listed).iter().find(|row| row["id"] == id).context("no such row")?;
    ensure!(row["revoked_at"].is_string() && row["label"] == "ci", "{row}");

    let brief = office.muster.json(&["operator", "token", "create", "--expires", "1s"])?;
    ensure!(brief["expires_at"].is_string(), "{brief}");
    let brief = office.with_token(&brief)?;
    eventually("the token's end", PATIENCE, || {
        (brief.run(&["tenant", "list"]).ok()?.code == UNAUTHORIZED).then_some(())
    })
}

#[test]
fn a_profile_is_made_shown_changed_and_its_secret_rotated() -> Result<()> {
    let office = Office::open()?;
    let muster = &office.muster;
    let made = muster.json(&["profile", "create", "pumps", "--strategy", "create-new"])?;
    let first = group_of(&made)?;
    ensure!(made["reprovision"] == "refuse" && made["redelivery_window_s"] == 600, "{made}");
    muster.fails(REFUSED, &["profile", "create", "pumps", "--strategy", "create-new"])?;
    muster.fails(USAGE, &["profile", "create", "others", "--strategy", "whatever"])?;
    muster.fails(USAGE, &["profile", "create", "others"])?;

    let shown = muster.ok(&["profile", "show", "pumps", "-o", "json"])?;
    ensure!(!shown.contains(&first.secret), "a secret is shown once");
    let listed = muster.json(&["profile", "list"])?;
    ensure!(names(&listed) == ["pumps"] && listed[0] == serde_json::from_str::<Value>(&shown)?, "{listed}");
    muster.fails(REFUSED, &["profile", "show", "others"])?;

    ensure!(office.http()?.provision(&first.ask("pump-1"))?.is_granted());
    let rotated = muster.json(&["profile", "set", "pumps", "--rotate-secret", "--overlap", "1h"])?;
    let second = group_of(&rotated)?;
    ensure!(second.key == first.key && second.secret != first.secret);
    ensure!(office.http()?.provision(&first.ask("pump-2"))?.is_granted(), "both are valid for an hour");
    ensure!(office.http()?.provision(&second.ask("pump-3"))?.is_granted());
    // From here on a rotation voids a secret that devices hold.
    let rotate = ["profile", "set", "pumps", "--rotate-secret"];
    muster.fails(UNCONFIRMED, &rotate)?;
    muster.fails(UNCONFIRMED, &[&rotate[..], &["--overlap", "1h"]].concat())?;
    muster.ok(&[&rotate[..], &["--dry-run"]].concat())?;
    muster.fails(USAGE, &["profile", "set", "pumps", "--strategy", "disabled", "--dry-run"])?;
    ensure!(office.http()?.provision(&first.ask("pump-4"))?.is_granted(), "nothing was voided");
    ensure!(office.http()?.provision(&second.ask("pump-5"))?.is_granted(), "nothing was voided");
    let third = group_of(&muster.json(&[&rotate[..], &["--yes"]].concat())?)?;
    ensure!(office.http()?.provision(&second.ask("pump-6"))? == not_found());
    ensure!(office.http()?.provision(&third.ask("pump-6"))?.is_granted());

    let version = muster.json(&["profile", "show", "pumps"])?["version"].to_string();
    muster.ok(&["profile", "set", "pumps", "--version", &version, "--strategy", "disabled"])?;
    muster.fails(REFUSED, &["profile", "set", "pumps", "--version", &version, "--strategy", "create-new"])?;
    ensure!(office.http()?.provision(&third.ask("pump-7"))? == not_found());
    Ok(())
}

#[test]
fn the_limits_of_a_group_secret_hold_and_can_be_lifted() -> Result<()> {
    let office = Office::open()?;
    let muster = &office.muster;
    let limits = ["--uses", "1", "--networks", "192.0.2.0/24", "--name-pattern", "pump-[0-9]+"];
    let create = ["profile", "create", "pumps", "--strategy", "create-new", "--secret-expires", "1d"];
    let made = muster.json(&[&create[..], &limits].concat())?;
    let group = group_of(&made)?;
    let secret = &made["secrets"][0];
    has_members(secret, &["expires_at", "uses_left", "networks", "name_pattern"])?;

    let no = || -> Result<Answer> { office.http()?.provision(&group.ask("pump-1")) };
    let failed = Answer::Refused { status: "FAILURE".into(), why: "Failed to provision device!".into() };
    ensure!(no()? == failed, "the network is another one");
    muster.ok(&["profile", "set", "pumps", "--networks="])?;
    ensure!(office.http()?.provision(&group.ask("valve-1"))? == failed, "the pattern does not match");
    ensure!(office.http()?.provision(&group.ask("pump-1"))?.is_granted());
    ensure!(office.http()?.provision(&group.ask("pump-2"))? == failed, "no uses are left");
    muster.ok(&["profile", "set", "pumps", "--uses=", "--name-pattern="])?;
    ensure!(office.http()?.provision(&group.ask("valve-2"))?.is_granted());
    muster.ok(&["profile", "set", "pumps", "--secret-expires", "2020-01-01T00:00:00Z"])?;
    ensure!(office.http()?.provision(&group.ask("pump-3"))? == failed, "the secret has expired");
    Ok(())
}

#[test]
fn a_device_is_added_shown_switched_off_and_on_and_deleted() -> Result<()> {
    let office = Office::open()?;
    let muster = &office.muster;
    let group = office.profile("pumps", "check-pre-provisioned")?;
    let refused = Answer::Refused { status: "FAILURE".into(), why: "Device not found".into() };
    ensure!(office.http()?.provision(&group.ask("pump-1"))? == refused);

    let added = muster.json(&["device", "add", "pump-1", "--profile", "pumps", "--label", "north"])?;
    has_members(&added, &["id", "name", "profile", "label", "state", "state_since", "gateway"])?;
    ensure!(added["state"] == "expected" && added["credentials_type"] == Value::Null, "{added}");
    muster.fails(REFUSED, &["device", "add", "pump-1", "--profile", "pumps"])?;
    muster.fails(REFUSED, &["device", "add", "pump-2", "--profile", "none"])?;
    muster.fails(REFUSED, &["device", "show", "pump-2"])?;

    let token = office.http()?.provision(&group.ask("pump-1"))?.into_token()?;
    let shown = muster.json(&["device", "show", "pump-1"])?;
    ensure!(shown["state"] == "provisioned" && shown["credentials_type"] == "access-token", "{shown}");
    ensure!(shown["label"] == "north", "{shown}");
    ensure!(office.http()?.telemetry(&token, &json!({"t": 1.5, "on": true, "name": "x"}))?.status == 200);
    let told = muster.json(&["device", "telemetry", "pump-1"])?;
    ensure!(rows(&told).len() == 3, "{told}");
    has_members(&told[0], &["key", "ts_ms", "value", "scope"])?;

    let session = Mqtt::open_with_token(office.server.address().mqtt(), &token)?;
    muster.ok(&["device", "disable", "pump-1"])?;
    is_closed(session)?;
    ensure!(office.http()?.telemetry(&token, &json!({"t": 2}))?.status == 401);
    ensure!(muster.json(&["device", "show", "pump-1"])?["state"] == "disabled");
    muster.ok(&["device", "enable", "pump-1"])?;
    ensure!(office.http()?.telemetry(&token, &json!({"t": 3}))?.status == 200);

    let session = Mqtt::open_with_token(office.server.address().mqtt(), &token)?;
    muster.fails(UNCONFIRMED, &["device", "delete", "pump-1"])?;
    muster.ok(&["device", "delete", "pump-1", "--yes"])?;
    is_closed(session)?;
    ensure!(office.http()?.telemetry(&token, &json!({"t": 4}))?.status == 401);
    let login = Connect { user_name: Some(&token), ..Connect::default() };
    ensure!(Mqtt::knock(office.server.address().mqtt(), &login)?.is_err());
    muster.fails(REFUSED, &["device", "show", "pump-1"])?;

    // The name is free at once, for another device with nothing of the old one.
    muster.ok(&["device", "add", "pump-1", "--profile", "pumps"])?;
    let again = office.http()?.provision(&group.ask("pump-1"))?.into_token()?;
    ensure!(again != token && office.http()?.telemetry(&token, &json!({}))?.status == 401);
    ensure!(muster.json(&["device", "telemetry", "pump-1"])? == json!([]));
    Ok(())
}

#[test]
fn devices_are_listed_by_profile_by_state_and_in_pieces() -> Result<()> {
    let office = Office::open()?;
    let group = office.profile("pumps", "create-new")?;
    office.profile("valves", "check-pre-provisioned")?;
    for device in ["a", "b", "c"] {
        office.muster.ok(&["device", "add", device, "--profile", "valves"])?;
    }
    ensure!(office.http()?.provision(&group.ask("d"))?.is_granted());
    let list = |words: &[&str]| office.muster.json(&[&["device", "list"], words].concat());
    ensure!(names(&list(&[])?) == ["a", "b", "c", "d"]);
    ensure!(names(&list(&["--profile", "valves"])?) == ["a", "b", "c"]);
    ensure!(names(&list(&["--state", "provisioned"])?) == ["d"]);
    ensure!(names(&list(&["--limit", "2"])?) == ["a", "b"]);
    office.muster.fails(REFUSED, &["device", "list", "--profile", "none"])?;
    // As pages, however small they are.
    let paged = office.server.operator()?.all("/devices?limit=1")?;
    ensure!(names(&Value::Array(paged)) == ["a", "b", "c", "d"]);
    Ok(())
}

#[test]
fn an_import_tells_what_became_of_each_row_and_may_be_repeated() -> Result<()> {
    let office = Office::open()?;
    let group = office.profile("pumps", "check-pre-provisioned")?;
    let file =
        office.file("fleet.csv", "name,type,label\nSN-1,pumps,North\n\"SN-2\",pumps,\nSN-3,none,\n")?;
    let file = file.to_str().context("a path")?;
    let ended = office.muster.run(&["-o", "json", "device", "import", file])?;
    ensure!(ended.code == FINDINGS, "{ended:?}");
    let told: Value = serde_json::from_str(&ended.out)?;
    let results: Vec<_> = rows(&told).iter().filter(|row| row["type"] == "row").collect();
    let expected = [(2, "SN-1", "created"), (3, "SN-2", "created"), (4, "SN-3", "error")];
    ensure!(results.len() == expected.len(), "{told}");
    for (row, (line, name, result)) in results.iter().zip(expected) {
        ensure!(row["line"] == line && row["name"] == name && row["result"] == result, "{told}");
    }
    ensure!(results[2]["code"] == "profile-not-found", "{told}");
    let summary = json!({"type": "summary", "created": 2, "unchanged": 0, "updated": 0, "errors": 1});
    ensure!(rows(&told).last() == Some(&summary), "{told}");

    ensure!(office.http()?.provision(&group.ask("SN-1"))?.is_granted());
    let file = office.file("again.csv", "name,type,label\r\nSN-1,pumps,North\r\nSN-2,pumps,South\r\n")?;
    let told = office.muster.json(&["device", "import", file.to_str().context("a path")?])?;
    let summary = json!({"type": "summary", "created": 0, "unchanged": 1, "updated": 1, "errors": 0});
    ensure!(rows(&told).last() == Some(&summary), "{told}");
    ensure!(office.muster.json(&["device", "show", "SN-1"])?["state"] == "provisioned");
    ensure!(office.muster.json(&["device", "show", "SN-2"])?["label"] == "South");

    let file = office.file("wrong.csv", "serial,type\nSN-1,pumps\n")?;
    office.muster.fails(REFUSED, &["device", "import", file.to_str().context("a path")?])?;
    office.muster.fails(USAGE, &["device", "import", "/nowhere/fleet.csv"])?;
    Ok(())
}

#[test]
fn explain_says_which_check_says_no_and_what_to_try() -> Result<()> {
    let office = Office::open()?;
    let group = office.profile("pumps", "create-new")?;
    office.profile("valves", "check-pre-provisioned")?;
    ensure!(office.http()?.provision(&group.ask("pump-1"))?.is_granted());

    let told = office.muster.json(&["explain", "pump-1"])?;
    let no = refusing_check(&told)?;
    ensure!(told[0]["verdict"] == "refused" && no["code"] == "device-exists", "{told}");
    ensure!(no["hint"].as_str().is_some_and(|hint| hint.contains("muster profile set")), "{no}");

    let told = office.muster.json(&["explain", "valve-1", "--profile", "valves"])?;
    ensure!(refusing_check(&told)?["code"] == "device-unknown", "{told}");
    let told = office.muster.json(&["explain", "nobody"])?;
    ensure!(rows(&told).len() == 2, "for each profile: {told}");

    office.muster.ok(&["profile", "set", "pumps", "--networks", "192.0.2.0/24"])?;
    let told = office.muster.json(&["explain", "pump-2", "--profile", "pumps", "--source", "10.0.0.1"])?;
    ensure!(refusing_check(&told)?["code"] == "source-not-allowed", "{told}");
    let told = office.muster.json(&["explain", "pump-2", "--profile", "pumps", "--source", "192.0.2.7"])?;
    ensure!(told[0]["verdict"] != "refused", "{told}");
    // What it says is what happens.
    ensure!(!office.http()?.provision(&group.ask("pump-2"))?.is_granted());
    Ok(())
}

#[test]
fn attempts_say_who_tried_and_what_became_of_it() -> Result<()> {
    let office = Office::open()?;
    let group = office.profile("pumps", "create-new")?;
    ensure!(office.http()?.provision(&group.ask("pump-1"))?.is_granted());
    let mut mqtt = Mqtt::open_to_provision(office.server.address().mqtt())?;
    ensure!(!mqtt.provision(&group.ask("pump-1"))?.is_granted());
    let wrong = Group::new(&group.key, "wrong");
    ensure!(office.http()?.provision(&wrong.ask("pump-2"))? == not_found());

    let attempts = || office.muster.json(&["attempts"]).ok().filter(|told| rows(told).len() == 3);
    let told = eventually("the attempts in the journal", PATIENCE, attempts)?;
    let row = |code: &str| rows(&told).iter().find(|row| row["code"] == code).context("no such row");
    let (taken, unproven) = (row("device-exists")?, row("proof-invalid")?);
    ensure!(taken["wire"] == "thingsboard-mqtt" && taken["name"] == "pump-1", "{taken}");
    ensure!(unproven["wire"] == "thingsboard-http" && unproven["source"] == "127.0.0.1", "{unproven}");
    ensure!(unproven["profile"] == "pumps" && unproven["tenant"] == "default", "{unproven}");
    ensure!(rows(&told).iter().filter(|row| row["outcome"] == "granted").count() == 1, "{told}");

    ensure!(rows(&office.muster.json(&["attempts", "--name", "pump-1"])?).len() == 2);
    ensure!(rows(&office.muster.json(&["attempts", "--limit", "1"])?).len() == 1);
    Ok(())
}

#[test]
fn the_journal_is_verified_against_an_exported_head() -> Result<()> {
    let office = Office::open()?;
    office.profile("pumps", "create-new")?;
    let head = office.muster.json(&["audit", "head"])?;
    has_members(&head, &["at", "writers"])?;
    has_members(&head["writers"][0], &["writer", "entries", "head_number", "head_link"])?;
    let file = office.file("head.json", &head.to_string())?;
    let against = ["audit", "verify", "--head", file.to_str().context("a path")?];
    office.muster.ok(&["device", "add", "pump-1", "--profile", "pumps"])?;
    let found = office.muster.json(&against)?;
    ensure!(found["ok"] == true && found["faults"] == json!([]), "{found}");

    // A head that this journal never had: its end was cut off.
    let mut later = head;
    later["writers"][0]["head_number"] = json!(1_000_000);
    fs::write(&file, later.to_string())?;
    let ended = office.muster.run(&[&["-o", "json"], &against[..]].concat())?;
    ensure!(ended.code == FINDINGS, "{ended:?}");
    let found: Value = serde_json::from_str(&ended.out)?;
    ensure!(found["ok"] == false && !rows(&found["faults"]).is_empty(), "{found}");
    fs::write(&file, "no head")?;
    office.muster.fails(USAGE, &against)?;
    Ok(())
}

#[test]
fn the_simulator_reports_and_notes_what_was_acknowledged() -> Result<()> {
    let office = Office::open()?;
    let group = office.profile("pumps", "create-new")?;
    for (wire, address) in [
        ("thingsboard-http", office.server.address().http()),
        ("thingsboard-mqtt", office.server.address().mqtt()),
    ] {
        let (noted, report) = (office.path(&format!("{wire}.tsv")), office.path(&format!("{wire}.json")));
        let address = address.to_string();
        let given = ["--provision-key", &group.key, "--provision-secret", &group.secret];
        let devices = ["simulate", "--wire", wire, "--devices", "20", "--telemetry=2", "--target", &address];
        let files =
            ["--acknowledged", noted.to_str().unwrap_or(""), "--report", report.to_str().unwrap_or("")];
        office.muster.ok(&[&devices[..], &given, &files].concat())?;
        let promises = e2e::fleet::acknowledged(&noted)?;
        ensure!(promises.len() == 20 && promises.iter().all(|promise| promise.values == 2));
        e2e::fleet::check(&office.server, &promises)?;
        let report: Value = serde_json::from_slice(&fs::read(report)?)?;
        ensure!(report["devices"] == 20, "{report}");
    }
    let wrong = ["--provision-key", &group.key, "--provision-secret", "wrong"];
    let target = office.server.address().http().to_string();
    let devices = ["simulate", "--wire", "thingsboard-http", "--devices", "2", "--target", &target];
    office.muster.fails(FINDINGS, &[&devices[..], &wrong].concat())?;
    Ok(())
}

#[test]
fn every_answer_comes_as_a_table_json_or_yaml() -> Result<()> {
    let office = Office::open()?;
    office.profile("pumps", "create-new")?;
    office.muster.ok(&["device", "add", "pump-1", "--profile", "pumps"])?;
    for verb in [
        &["tenant", "list"][..],
        &["operator", "token", "list"],
        &["profile", "list"],
        &["profile", "show", "pumps"],
        &["device", "list"],
        &["device", "show", "pump-1"],
        &["device", "telemetry", "pump-1"],
        &["attempts"],
        &["explain", "pump-1"],
        &["audit", "head"],
        &["audit", "verify"],
    ] {
        office.muster.json(verb)?;
        for format in ["table", "yaml"] {
            let said = office.muster.ok(&[&["-o", format], verb].concat())?;
            ensure!(!said.trim().is_empty() && !said.starts_with('{'), "{verb:?} as {format}: {said}");
        }
    }
    Ok(())
}

#[test]
fn each_way_to_fail_has_its_own_exit_code() -> Result<()> {
    let office = Office::open()?;
    let muster = &office.muster;
    muster.fails(USAGE, &["device", "fly"])?;
    let url = format!("http://{}", office.server.address().http());
    let wrong = office.file("wrong", "mst_0000000000000000000000000000000000000000000\n")?;
    let said = Muster::with_token(&url, &wrong)?.fails(UNAUTHORIZED, &["tenant", "list"])?;
    ensure!(said.contains("hint:") && !said.contains("mst_0000"), "{said}");
    let absent = office.path("absent");
    Muster::with_token(&url, &absent)?.fails(USAGE, &["tenant", "list"])?;
    Muster::with_token("http://127.0.0.1:9", &wrong)?.fails(UNREACHABLE, &["tenant", "list"])?;
    muster.ok(&["--help"]).map(drop)?;
    muster.ok(&["--version"]).map(drop)
}

// === An office ===

/// A server with an operator beside it.
struct Office {
    server: Musterd,
    muster: Muster,
}

impl Office {
    fn open() -> Result<Self> {
        let server = Musterd::serve("")?;
        let muster = server.muster()?;
        Ok(Self { server, muster })
    }

    fn http(&self) -> Result<Http> {
        Http::open(self.server.address().http())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.server.setup().home().join(name)
    }

    fn file(&self, name: &str, text: &str) -> Result<PathBuf> {
        fs::write(self.path(name), text)?;
        Ok(self.path(name))
    }

    /// The operator with a token that was just made.
    fn with_token(&self, made: &Value) -> Result<Muster> {
        let token = made["token"].as_str().context("no token")?;
        let file = self.file(&format!("token-{}", made["id"]), token)?;
        Muster::with_token(&format!("http://{}", self.server.address().http()), &file)
    }

    fn profile(&self, name: &str, strategy: &str) -> Result<Group> {
        group_of(&self.muster.json(&["profile", "create", name, "--strategy", strategy])?)
    }
}

fn group_of(made: &Value) -> Result<Group> {
    let word = |key: &str| made[key].as_str().with_context(|| format!("no {key}: {made}"));
    Ok(Group::new(word("provision_key")?, word("provision_secret")?))
}

fn not_found() -> Answer {
    Answer::Refused { status: "NOT_FOUND".into(), why: "Provision data was not found!".into() }
}

fn is_closed(mut session: Mqtt) -> Result<()> {
    ensure!(session.raw().read_packet()?.is_none(), "the session goes on");
    Ok(())
}

fn rows(listing: &Value) -> &[Value] {
    listing.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn names(listing: &Value) -> Vec<&str> {
    let mut names: Vec<_> = rows(listing).iter().filter_map(|row| row["name"].as_str()).collect();
    names.sort_unstable();
    names
}

fn has_members(thing: &Value, members: &[&str]) -> Result<()> {
    let absent: Vec<_> = members.iter().filter(|member| thing[**member].is_null()).collect();
    ensure!(absent.is_empty(), "{absent:?} missing in {thing}");
    Ok(())
}

fn refusing_check(explained: &Value) -> Result<&Value> {
    let checks = explained[0]["checks"].as_array().context("no checks")?;
    checks
        .iter()
        .find(|check| check["answer"] == "no")
        .with_context(|| format!("no check says no: {explained}"))
}
