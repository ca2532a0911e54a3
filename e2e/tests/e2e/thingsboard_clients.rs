//! ThingsBoard's own clients and the document's `curl` lines, unmodified, against our server.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::device::Http;
use e2e::muster::ended;
use e2e::musterd::Musterd;
use e2e::python::Python;
use serde_json::{Value, json};

const NAME: &str = "tenant@example.org";
const PASSWORD: &str = "a password of some length";

#[test]
fn the_python_client_walks_through_a_registry() -> Result<()> {
    let stand = Stand::open()?;
    stand.walks(Python::ThingsboardCe.interpreter()?, "thingsboard_ce.py", &[])
}

#[test]
fn the_older_python_client_walks_through_a_registry() -> Result<()> {
    let stand = Stand::open()?;
    stand.walks(Python::ThingsboardRest.interpreter()?, "thingsboard_rest.py", &[])
}

#[test]
fn the_command_line_walks_through_a_registry() -> Result<()> {
    let stand = Stand::open()?;
    let tb = Python::ThingsboardCli.interpreter()?.with_file_name("tb");
    stand.walks("/bin/sh".into(), "thingsboard_cli.sh", &[tb.to_str().context("a path is a text")?])
}

#[test]
fn the_documents_curl_lines_make_devices() -> Result<()> {
    let stand = Stand::open()?;
    let one = stand.curl("/api/device", r#"{"name": "SN-001234", "type": "default"}"#)?;
    ensure!(one["name"] == "SN-001234" && one["type"] == "default", "{one}");
    let many = r#"[
    {"name": "SN-001234", "type": "sensor"},
    {"name": "SN-001235", "type": "sensor"},
    {"name": "SN-001236", "type": "sensor"}
  ]"#;
    let made = stand.curl("/api/devices", many)?;
    let made = made.as_array().context("not an array")?;
    ensure!(
        made.len() == 3 && made[0]["error"]["message"] == "Device with such name already exists!",
        "{made:?}"
    );
    ensure!(made[2]["name"] == "SN-001236" && made[2]["type"] == "sensor", "{made:?}");
    Ok(())
}

#[test]
fn a_device_made_by_rest_connects_at_once_and_is_told_the_same_token_when_it_provisions() -> Result<()> {
    let stand = Stand::open()?;
    let profile = json!({
        "name": "pumps", "type": "DEFAULT", "transportType": "DEFAULT",
        "provisionType": "CHECK_PRE_PROVISIONED_DEVICES", "provisionDeviceKey": "pump-key",
        "profileData": {
            "configuration": { "type": "DEFAULT" }, "transportConfiguration": { "type": "DEFAULT" },
            "provisionConfiguration": {
                "type": "CHECK_PRE_PROVISIONED_DEVICES", "provisionDeviceSecret": "pump-secret"
            }
        }
    });
    stand.curl("/api/deviceProfile", &profile.to_string())?;
    stand.curl("/api/device?accessToken=a-token", r#"{"name":"pump-1","type":"pumps"}"#)?;
    let mut http = Http::open(stand.server.address().http())?;
    let ask = json!({
        "deviceName": "pump-1", "provisionDeviceKey": "pump-key", "provisionDeviceSecret": "pump-secret"
    });
    ensure!(http.telemetry("a-token", &json!({ "temperature": 20 }))?.status == 200);
    let granted = stand.curl("/api/v1/provision", &ask.to_string())?;
    ensure!(granted["status"] == "SUCCESS" && granted["credentialsValue"] == "a-token", "{granted}");
    let refused = stand.curl("/api/v1/provision", &ask.to_string())?;
    ensure!(refused["status"] == "FAILURE", "{refused}");
    Ok(())
}

#[test]
fn a_table_of_devices_is_streamed_into_the_registry() -> Result<()> {
    const ROWS: usize = 3000;
    let stand = Stand::open()?;
    let rows: String = (0..ROWS).map(|row| format!("SN-{row:06},sensor,Row {row}\n")).collect();
    let file = stand.server.setup().home().join("devices.csv");
    fs::write(&file, format!("name,type,label\n{rows},sensor,nameless\nSN-000001,sensor,twice\n"))?;
    let answer = ended(
        stand
            .server
            .setup()
            .neighbour("curl")
            .args(["--silent", "--show-error", "-X", "POST", "-H", "Content-Type: text/csv"])
            .args(["-H", &format!("Authorization: Bearer {}", stand.token()?)])
            .arg("--data-binary")
            .arg(format!("@{}", file.display()))
            .arg(stand.url("/api/device/bulk_import")),
    )?;
    let result: Value = serde_json::from_str(&answer.out).with_context(|| format!("{answer:?}"))?;
    ensure!(result["created"] == ROWS && result["updated"] == 0 && result["errors"] == 2, "{result}");
    let errors = [
        format!("Line {}: Device name should be specified!", ROWS + 2),
        format!("Line {}: Device with such name already exists!", ROWS + 3),
    ];
    ensure!(result["errorsList"] == json!(errors), "{result}");
    Ok(())
}

/// A server with one account.
struct Stand {
    server: Musterd,
}

impl Stand {
    fn open() -> Result<Self> {
        let server = Musterd::serve("")?;
        let file = server.setup().home().join("password");
        fs::write(&file, PASSWORD)?;
        let file = file.to_str().context("a path is a text")?;
        let add =
            ["operator", "add", NAME, "--role", "operator", "--tenant", "default", "--password-file", file];
        server.muster()?.ok(&add)?;
        Ok(Self { server })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address().http())
    }

    /// Runs a program of ours that uses an unmodified client, with `first` before what all of them are told.
    fn walks(&self, interpreter: PathBuf, program: &str, first: &[&str]) -> Result<()> {
        let home = self.server.setup().home();
        let ended = ended(
            self.server
                .setup()
                .neighbour(interpreter)
                .arg(e2e::own("programs").join(program))
                .args(first)
                .args([&self.url(""), NAME, PASSWORD])
                // The command line tells its makers what it is used for, if nobody says no.
                .envs([("TB_ANALYTICS", "0"), ("DO_NOT_TRACK", "1")])
                .env("TB_CONFIG_HOME", home.join("tb"))
                .env("HOME", home),
        )?;
        ensure!(ended.code == 0 && ended.out.trim_end().ends_with("walked through"), "{ended:?}");
        Ok(())
    }

    fn token(&self) -> Result<String> {
        let mut http = testkit::http::HttpConnection::open(self.server.address().http())?;
        let body = json!({ "username": NAME, "password": PASSWORD }).to_string();
        let tokens: Value = serde_json::from_slice(&http.post_json("/api/auth/login", &body)?.body)?;
        Ok(tokens["token"].as_str().context("no token")?.to_owned())
    }

    /// One of the document's lines, with only host and token filled in.
    fn curl(&self, path: &str, body: &str) -> Result<Value> {
        let bearer = format!("Authorization: Bearer {}", self.token()?);
        let ended = ended(
            self.server
                .setup()
                .neighbour("curl")
                .args(["--silent", "--show-error", "-X", "POST", "-H", &bearer])
                .args(["-H", "Content-Type: application/json", "-d", body, &self.url(path)]),
        )?;
        serde_json::from_str(&ended.out).with_context(|| format!("{ended:?}"))
    }
}
