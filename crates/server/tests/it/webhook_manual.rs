//! The receiver that the manual shows works as it is printed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use domain::{DeviceState, OperationId, StepKey};
use engine::{Attributes, DeviceView};
use server::config::Config;
use testkit::http::HttpConnection;
use testkit::process::{Process, Stream};

const PAGE: &str = include_str!("../../../../docs/connectors/webhook.md");

/// How long it may take to start, before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_receiver_of_the_manual_takes_what_is_ours_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("crm-secret");
    fs::write(&secret, "correct-horse-battery\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let (receiver, port) = start(folder.path());
    let text = format!(
        "[connectors.crm]\nurl = \"http://127.0.0.1:{port}/\"\nsecret_file = {secret:?}\nallow_http = true\n\
         allow_networks = [\"127.0.0.0/8\"]\nconcurrency = 1\n"
    );
    let config = Config::read(&text, Path::new("musterd.toml"), &[]).unwrap();
    let crm = server::connectors::connectors(&config).unwrap().remove(0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let (device, key) = (device(), |operation| StepKey { operation: OperationId(operation), index: 0 });
    runtime.block_on(async {
        crm.check().await.unwrap();
        for _ in 0..2 {
            let ensured = crm.ensure(&device, &key(7001)).await.unwrap();
            assert_eq!(ensured.receipt.external_id, "crm-1");
        }
        crm.retire(&device, &key(7002), None).await.unwrap();
    });
    // It serves one connection at a time.
    drop((crm, runtime));
    let mut stranger = HttpConnection::open(("127.0.0.1", port)).unwrap();
    assert_eq!(stranger.post_json("/", "{\"event\": \"device.check\"}").unwrap().status, 401);

    let printed = receiver.lines(Stream::Out);
    let ensured = printed.iter().filter(|line| *line == "device.ensure 7001/0 ['crm-1']").count();
    assert_eq!(ensured, 2, "{printed:?}");
    assert!(printed.contains(&"device.retire 7002/0 []".to_owned()), "{printed:?}");
}

fn start(folder: &Path) -> (Process, u16) {
    let (_, program) = PAGE.split_once("```python\n").unwrap();
    let (program, _) = program.split_once("```").unwrap();
    fs::write(folder.join("receiver.py"), program).unwrap();
    let mut command = Command::new("python3");
    command.current_dir(folder).args(["receiver.py", "crm-secret", "0"]);
    let process = Process::start(&mut command).unwrap();
    let line = process.wait_for_line(PATIENCE, |line| line.starts_with("listening on port ")).unwrap();
    let port = line.rsplit(' ').next().unwrap().parse().unwrap();
    (process, port)
}

fn device() -> DeviceView {
    DeviceView {
        id: "6ba7b810-9dad-41d1-80b4-00c04fd430c8".into(),
        name: "SN-001".into(),
        tenant: "default".into(),
        profile: "line-1".into(),
        label: None,
        gateway: false,
        state: DeviceState::Provisioned,
        attributes: Attributes::new(),
    }
}
