//! Every sort of mistake, with the place where its author looks for it.

use super::*;

fn read(text: &str) -> Result<Config, Vec<String>> {
    read_with(text, &[])
}

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let mistakes = |found: Vec<Mistake>| found.iter().map(ToString::to_string).collect();
    Config::read(text, Path::new("m.toml"), &environment).map_err(mistakes)
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let config = Config::defaults().unwrap();
    assert_eq!(config.http.bind, [Bind::Loopback(8080)]);
    assert_eq!(config.mqtt.bind, [Bind::Loopback(1883)]);
    assert!(config.https.bind.is_empty() && config.mqtt.anonymous_provisioning);
    assert_eq!(config.layout().kek, Path::new("muster-data/keys/kek"));
}

#[test]
fn every_key_of_the_defaults_has_a_comment_above_it() {
    let mut commented = false;
    for line in DEFAULTS.lines() {
        let is_key = line.contains(" = ") && !line.starts_with('#');
        assert!(!is_key || commented, "{line}");
        commented = line.starts_with('#') || (is_key && line.starts_with("certificate"));
        commented |= is_key && ["unproven_per_second", "timeout_s"].iter().any(|key| line.starts_with(key));
    }
}

#[test]
fn a_file_changes_what_it_names_and_nothing_else() {
    let config =
        read("name = \"a\"\n[mqtt]\nbind = [\"0.0.0.0:1\", \"[::1]:2\", \"localhost:3\"]\n").unwrap();
    assert_eq!((config.name.as_str(), config.http.header_timeout_s), ("a", 10));
    let bound: Vec<String> = config.mqtt.bind.iter().map(ToString::to_string).collect();
    assert_eq!(bound, ["0.0.0.0:1", "[::1]:2", "localhost:3"]);
}

#[test]
fn the_environment_is_over_the_file() {
    let environment = [
        ("MUSTER__MQTT__BIND", "0.0.0.0:1883,[::]:1883"),
        ("MUSTER__STOP__GRACE_S", "7"),
        ("MUSTER__NAME", "b"),
    ];
    let config = read_with("name = \"a\"\n[stop]\ngrace_s = 1\n", &environment).unwrap();
    assert_eq!((config.name.as_str(), config.stop.grace_s, config.mqtt.bind.len()), ("b", 7, 2));
}

#[test]
fn every_mistake_is_told_with_line_and_column() {
    let cases: &[(&str, &str, &str)] = &[
        ("name = \n", "m.toml:1:", ""),
        ("name = \"a\nb\"\n", "m.toml:1:", ""),
        ("name = \"a\" x\n", "m.toml:1:", ""),
        ("[http\nconnections = 1\n", "m.toml:1:", ""),
        ("name = \"a\"\nname = \"b\"\n", "m.toml:2:1", ""),
        ("\n\nnmae = \"a\"\n", "m.toml:3:1", "there is no setting `nmae`"),
        ("[htttp]\nconnections = 1\n", "m.toml:1:2", "there is no setting `htttp`"),
        ("[http]\nconections = 1\n", "m.toml:2:1", "there is no setting `http.conections`"),
        ("[mqtt.tls]\nx = 1\n", "m.toml:1:7", "there is no setting `mqtt.tls`"),
        ("name = 1\n", "m.toml:1:8", "`name` takes a text, not integer"),
        ("http = 1\n", "m.toml:1:8", "`http` takes a section"),
        ("[http]\nbind = \"x\"\n", "m.toml:2:8", "`http.bind` takes a list of texts"),
        ("[http]\nbind = [1]\n", "m.toml:2:8", "`http.bind` takes a list of texts"),
        ("[http]\nbind = [\"localhost:1\", \"nowhere\"]\n", "m.toml:2:", "`nowhere` is not an address"),
        ("[http]\nconnections = \"many\"\n", "m.toml:2:15", "`http.connections` takes a whole number"),
        ("[http]\nconnections = 1.5\n", "m.toml:2:15", "`http.connections` takes a whole number"),
        ("[http]\nconnections = -1\n", "m.toml:2:15", "http.connections"),
        ("[http]\nconnections = 0\n", "m.toml:2:15", "0 is not between 1 and 1000000"),
        ("[http]\nconnections = 99999999999999999999\n", "m.toml:2:15", "http.connections"),
        ("[http]\n  header_bytes = 1\n", "m.toml:2:18", "1 is not between 8192 and 1048576"),
        ("[mqtt]\nanonymous_provisioning = 1\n", "m.toml:2:26", "takes true or false"),
        ("[mqtt]\nconnect_timeout_s = 0\n", "m.toml:2:21", "0 is not between 1 and 600"),
        ("[log]\nformat = \"xml\"\n", "m.toml:2:10", "unknown variant `xml`"),
        ("[log]\nfilter = \"a=b=c\"\n", "m.toml:2:10", "log.filter"),
        ("[database]\nurl = \"nonsense\"\n", "m.toml:2:7", "it is no address of a PostgreSQL"),
        (
            "[database]\nurl = \"postgres://u:geheim@h/d?sslmode=verify-full\"\n",
            "m.toml:2:7",
            "needs a root certificate",
        ),
        ("[database]\nsecrets_url = \"postgres://u@h/d\"\n", "m.toml:2:15", "only beside database.url"),
        ("[database]\nconnections = 1\n", "m.toml:2:15", "1 is not between 4 and 200"),
        ("name = \"a b\"\n", "m.toml:1:8", "it takes 1 to 64 letters"),
        ("[keys]\nprovider = \"tape\"\n", "m.toml:2:12", "unknown variant `tape`"),
        ("[keys]\npassphrase_from = \"fd\"\n", "m.toml:2:19", "`fd:` and a number"),
        ("[keys]\ncredential = \"a/b\"\n", "m.toml:2:14", "it takes 1 to 48 letters"),
        (
            "[keys]\nprovider = \"pkcs11\"\n[keys.pkcs11]\nmodule = \"m\"\ntoken = \"\"\n",
            "m.toml:5:9",
            "it is needed",
        ),
        ("directory = \"\"\n", "m.toml:1:13", "it is empty"),
        (
            "[https]\nbind = [\"localhost:1\"]\nkey = \"k\"\ncertificate = \"/nowhere.pem\"\n",
            "m.toml:4:15",
            "/nowhere.pem: No such file",
        ),
        ("[https]\nbind = [\"localhost:1\"]\n", "m.toml", "it is needed for HTTPS"),
        ("[mqtts]\nbind = [\"localhost:1\"]\n", "m.toml", "it is needed for MQTT over TLS"),
        ("[mqtts]\nproxy_protocol = true\n", "m.toml:2:", "it needs trusted_proxies"),
        ("ü = 1\n", "m.toml:1:1", ""),
    ];
    for (text, place, message) in cases {
        let mistakes = read(text).expect_err(text);
        let found = mistakes.iter().any(|told| told.starts_with(place) && told.contains(message));
        assert!(found, "{text:?}: {mistakes:?}");
        assert!(!mistakes.concat().contains("geheim"), "{mistakes:?}");
    }
}

#[test]
fn several_mistakes_are_all_told() {
    assert_eq!(read("nmae = 1\n[http]\nconnections = \"x\"\n[moqt]\n").unwrap_err().len(), 3);
    assert_eq!(read("nmae = 1\n[http]\nconnections = 0\nidle_timeout_s = 0\n").unwrap_err().len(), 3);
    assert_eq!(read("[http]\nconnections = 0\nidle_timeout_s = 0\n").unwrap_err().len(), 2);
}

#[test]
fn a_mistake_in_the_environment_names_the_variable() {
    for (name, value, message) in [
        ("MUSTER__HTTP__CONECTIONS", "1", "there is no setting `http.conections`"),
        ("MUSTER__HTTP", "1", "there is no setting `http`"),
        ("MUSTER__HTTP__CONNECTIONS", "x", "`http.connections` takes a whole number"),
        ("MUSTER__HTTP__CONNECTIONS", "0", "0 is not between"),
        ("MUSTER__HTTP__BIND", "x", "`x` is not an address"),
    ] {
        let mistakes = read_with("", &[(name, value)]).unwrap_err();
        let expected = format!("{name}: ");
        assert!(mistakes[0].starts_with(&expected) && mistakes[0].contains(message), "{mistakes:?}");
    }
}

/// A file with one connector, whose secret is in a file of this mode.
fn with_connector(settings: &str, mode: u32) -> (tempfile::TempDir, String) {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "correct-horse-battery").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
    let text = format!("[connectors.crm]\nsecret_file = {secret:?}\n{settings}");
    (folder, text)
}

#[test]
fn nobody_is_called_unless_somebody_is_named() {
    let config = Config::defaults().unwrap();
    assert!(config.connectors.is_empty() && config.hooks.is_empty());
    assert!(crate::connectors::connectors(&config).unwrap().is_empty());
}

#[test]
fn a_connector_has_a_name_and_the_documented_defaults() {
    let (_folder, text) = with_connector("url = \"https://crm.example/\"\nconcurrency = 7\n", 0o600);
    let config = read(&(text.clone() + &text.replace("[connectors.crm]", "[hooks.gate-1]"))).unwrap();
    let crm = &config.connectors["crm"];
    assert_eq!((crm.timeout_s, crm.connect_timeout_s, crm.concurrency), (10, 5, 7));
    assert!(!crm.allow_http && crm.allow_networks.is_empty());
    let connectors = crate::connectors::connectors(&config).unwrap();
    assert_eq!(connectors.iter().map(|connector| connector.name()).collect::<Vec<_>>(), ["crm"]);
    let hooks = crate::hooks::hooks(&config).unwrap();
    assert_eq!(hooks.iter().map(|hook| hook.name()).collect::<Vec<_>>(), ["gate-1"]);
    let overridden = read_with(&text, &[("MUSTER__CONNECTORS__CRM__TIMEOUT_S", "3")]).unwrap();
    assert_eq!(overridden.connectors["crm"].timeout_s, 3);
}

#[test]
fn a_mistake_in_a_connector_is_told_with_line_and_column() {
    for (settings, place, message) in [
        ("", "m.toml:1:1", "`connectors.crm.url`: it is needed"),
        ("url = \"http://crm.example/\"", "m.toml:3:7", "allow_http"),
        ("url = \"https://10.0.0.1/\"", "m.toml:3:7", "10.0.0.1 is not a public address"),
        ("url = \"https://a/\"\ntimeout_s = 61", "m.toml:4:13", "61 is not between 1 and 60"),
        ("url = \"https://a/\"\nconcurrency = 0", "m.toml:4:15", "0 is not between 1 and 1024"),
        ("url = \"https://a/\"\nkind = \"fax\"", "m.toml:4:8", "unknown variant `fax`"),
        ("url = \"https://a/\"\nallow_networks = [\"10.0.0.0/33\"]", "m.toml:4:", "allow_networks"),
        ("url = \"https://a/\"\nallow_networks = \"10.0.0.0/8\"", "m.toml:4:18", "takes a list of texts"),
        ("url = \"https://a/\"\nroot_certificate = \"/nowhere.pem\"", "m.toml:4:20", "/nowhere.pem"),
        ("url = \"https://a/\"\nprevious_secret_file = \"/nowhere\"", "m.toml:4:24", "/nowhere"),
        ("url = \"https://a/\"\nsecret = \"x\"", "m.toml:4:1", "there is no setting `connectors.crm.secret`"),
        ("url = \"https://a/\"\n[connectors.Crm]", "m.toml:4:13", "a name takes 1 to 64 of a-z"),
        ("url = \"https://a/\"\n[hooks]\ncrm = 1", "m.toml:5:7", "`hooks.crm` takes a section"),
    ] {
        let (_folder, text) = with_connector(settings, 0o600);
        let mistakes = read(&text).expect_err(settings);
        let found = mistakes.iter().any(|told| told.starts_with(place) && told.contains(message));
        assert!(found, "{settings:?}: {mistakes:?}");
    }
    let (_folder, text) = with_connector("url = \"https://a/\"", 0o644);
    let mistakes = read(&text).unwrap_err();
    assert!(mistakes[0].starts_with("m.toml:2:15") && mistakes[0].contains("chmod 600"), "{mistakes:?}");
    let mistakes = read("connectors = 1").unwrap_err();
    assert!(mistakes[0].contains("`connectors` takes a section"), "{mistakes:?}");
}
