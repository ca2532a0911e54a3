//! A server of its own for a test, on free ports and a folder that goes with it.

use std::net::SocketAddr;

use domain::{Secret, Strategy};
use engine::registry::{NewDevice, NewProfile, Operator, Registry, Tenant};
use server::config::{Bind, Config};
use server::serve::Server;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A running server; ends with the test.
pub(crate) struct Running {
    server: Option<Server>,
    runtime: Runtime,
    folder: TempDir,
}

impl Running {
    /// Serves with the defaults, changed by `change`. Unproven attempts are as good as unlimited: all tests
    /// come from one address.
    pub(crate) fn start(change: impl FnOnce(&mut Config)) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::defaults().unwrap();
        config.directory = folder.path().join("data");
        config.http.bind = vec![Bind::Address(([127, 0, 0, 1], 0).into())];
        config.mqtt.bind = vec![Bind::Address(([127, 0, 0, 1], 0).into())];
        config.provisioning.unproven_burst = 1_000_000;
        change(&mut config);
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(&config)).unwrap();
        Running { server: Some(server), runtime, folder }
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.server().addresses().http[0]
    }

    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.server().addresses().mqtt[0]
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.server().registry()
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Begins to stop; what follows runs while it does.
    pub(crate) fn stop(&mut self) -> tokio::task::JoinHandle<()> {
        self.runtime.spawn(self.server.take().unwrap().stop())
    }

    pub(crate) fn wait(&self, task: tokio::task::JoinHandle<()>) {
        self.runtime.block_on(task).unwrap();
    }

    /// Runs something beside the server.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    pub(crate) fn operator() -> Operator {
        Operator::server("test")
    }

    pub(crate) fn tenant(&self) -> Tenant {
        self.registry().tenant(&Self::operator(), None).unwrap()
    }

    /// A profile that admits anybody who knows `key` and `secret`.
    pub(crate) fn profile(&self, name: &str, key: &str, secret: &str) {
        self.profile_with(name, key, secret, |_| {});
    }

    pub(crate) fn profile_with(
        &self,
        name: &str,
        key: &str,
        secret: &str,
        change: impl FnOnce(&mut NewProfile),
    ) {
        let mut wanted = NewProfile {
            name: name.into(),
            strategy: Strategy::CreateNew,
            provision_key: Some(key.into()),
            provision_secret: Some(Secret::new(secret)),
            ..NewProfile::default()
        };
        change(&mut wanted);
        self.registry().create_profile(&Self::operator(), &self.tenant(), wanted).unwrap();
    }

    pub(crate) fn expect_device(&self, name: &str, profile: &str) {
        let wanted =
            NewDevice { name: name.into(), profile: profile.into(), label: None, labels: Vec::new() };
        self.registry().add_device(&Self::operator(), &self.tenant(), &wanted).unwrap();
    }

    /// The latest values of a device, as `key=value`.
    pub(crate) fn telemetry(&self, device: &str) -> Vec<String> {
        let latest = self.registry().telemetry(&self.tenant(), device).unwrap();
        latest.iter().map(|latest| format!("{}={:?}", latest.key, latest.value)).collect()
    }

    /// Provisions a device over HTTP and gives its token.
    pub(crate) fn provision(&self, key: &str, secret: &str, name: &str) -> String {
        let mut http = testkit::http::HttpConnection::open(self.http()).unwrap();
        let body = format!(
            r#"{{"deviceName":"{name}","provisionDeviceKey":"{key}","provisionDeviceSecret":"{secret}"}}"#
        );
        let reply = http.post_json("/api/v1/provision", &body).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        json["credentialsValue"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.server.is_some() {
            let task = self.stop();
            // A test that fails has said why already.
            let _ = self.runtime.block_on(task);
        }
    }
}
