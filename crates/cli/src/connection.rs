//! Which server is spoken to, and with which token.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use serde::Deserialize;
use wire::Secret;

use crate::contexts::{Context, Contexts};
use crate::failure::{Failure, Kind};
use crate::session::Session;
use crate::values;

/// Flags that say which server is meant.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServerFlags {
    /// Folder of a server on this machine: its address and admin secret are read from there
    /// [env: MUSTER_DATA]
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "server", help_heading = "Server")]
    pub(crate) data: Option<PathBuf>,
    /// Address of a server, such as https://muster.example; goes with --token-file [env: MUSTER_SERVER]
    #[arg(long, global = true, value_name = "URL", help_heading = "Server")]
    pub(crate) server: Option<String>,
    /// File that holds the operator token, - for standard input [env: MUSTER_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server")]
    pub(crate) token_file: Option<PathBuf>,
    /// A server by the name that `muster context add` gave it [env: MUSTER_CONTEXT]
    #[arg(long, global = true, value_name = "NAME", conflicts_with_all = ["data", "server"], help_heading = "Server")]
    pub(crate) context: Option<String>,
}

/// A server and the token to speak to it with.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Base address, without a path.
    pub(crate) url: String,
    /// The operator token.
    pub(crate) token: Secret,
    /// The folder it was read from, if it was.
    pub(crate) data: Option<PathBuf>,
    /// The file of the session that the token belongs to, if it does.
    pub(crate) session: Option<PathBuf>,
}

/// What a running server leaves in its folder.
#[derive(Debug, Deserialize)]
struct Running {
    http: String,
}

impl ServerFlags {
    /// Finds server and token. A flag counts more than the environment, a server more than a folder, and either more
    /// than the context in use.
    ///
    /// # Errors
    /// When no server is named, or the folder or file named cannot be used.
    pub(crate) fn resolve(&self) -> Result<Connection, Failure> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        self.with_environment(variable, Contexts::read)
    }

    /// The address alone, for whoever has no token yet.
    ///
    /// # Errors
    /// When no server is named, or the folder named cannot be used.
    pub(crate) fn address(&self) -> Result<String, Failure> {
        let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
        let named = variable("MUSTER_SERVER").map(|server| server.to_string_lossy().into_owned());
        let server =
            self.server.clone().or_else(|| named.filter(|_| self.data.is_none() && self.context.is_none()));
        if let Some(server) = server {
            return Ok(with_scheme(&server));
        }
        if let Some(folder) = &self.data {
            return Ok(running_server(folder)?.http);
        }
        let contexts = Contexts::read()?;
        let context = match &self.context {
            Some(name) => Some(contexts.named(name)?),
            None => contexts.current()?,
        };
        match context {
            Some(Context::Data(folder)) => Ok(running_server(folder)?.http),
            Some(Context::Server { url, .. } | Context::SignedOn { url, .. }) => Ok(url.clone()),
            None => Err(Failure::usage("no server is named").hint("use --server URL")),
        }
    }

    /// Has the session of the server in use renewed, if it has one that ends soon.
    pub(crate) async fn keep_session(&self) {
        let from_elsewhere = self.token_file.is_some() || env::var_os("MUSTER_TOKEN_FILE").is_some();
        if from_elsewhere || self.server.is_some() || self.data.is_some() {
            return;
        }
        if let Ok(connection) = self.resolve()
            && let Some(file) = connection.session.clone()
        {
            Session::keep(&connection, &file).await;
        }
    }

    fn with_environment(
        &self,
        variable: impl Fn(&str) -> Option<PathBuf>,
        contexts: impl FnOnce() -> Result<Contexts, Failure>,
    ) -> Result<Connection, Failure> {
        if let Some(name) = &self.context {
            return of_context(contexts()?.named(name)?, self.token_file.as_deref());
        }
        let token_file = self.token_file.clone().or_else(|| variable("MUSTER_TOKEN_FILE"));
        if let Some(folder) = &self.data {
            // The folder has its own token; only a flag beside it means another one.
            return local(folder, self.token_file.as_deref());
        }
        let server = self
            .server
            .clone()
            .or_else(|| variable("MUSTER_SERVER").map(|server| server.to_string_lossy().into_owned()));
        if let Some(server) = server {
            return remote(&server, token_file.as_deref());
        }
        if let Some(folder) = variable("MUSTER_DATA") {
            return local(&folder, token_file.as_deref());
        }
        let contexts = contexts()?;
        let named = variable("MUSTER_CONTEXT").map(|name| name.to_string_lossy().into_owned());
        let context = match named {
            Some(name) => Some(contexts.named(&name)?),
            None => contexts.current()?,
        };
        let context = context.ok_or_else(|| {
            Failure::usage("no server is named").hint(
                "use --data DIR for a server on this machine, --server URL with --token-file FILE, or give one a \
                 name: muster context add NAME",
            )
        })?;
        of_context(context, token_file.as_deref())
    }
}

/// The server of a context; a token that is named beside it counts more than its own.
fn of_context(context: &Context, token_file: Option<&Path>) -> Result<Connection, Failure> {
    match context {
        Context::Data(folder) => local(folder, token_file),
        Context::Server { url, token_file: own } => remote(url, token_file.or(Some(own))),
        Context::SignedOn { url, .. } if token_file.is_some() => remote(url, token_file),
        Context::SignedOn { url, session_file } => {
            let token = Session::read(session_file)?.token;
            Ok(Connection { url: url.clone(), token, data: None, session: Some(session_file.clone()) })
        }
    }
}

fn remote(server: &str, token_file: Option<&Path>) -> Result<Connection, Failure> {
    let url = with_scheme(server);
    let Some(file) = token_file else {
        return Err(Failure::usage("a token is needed to speak to the server").hint(
            "use --token-file FILE; `muster operator token create` makes one on the server's machine",
        ));
    };
    Ok(Connection { url, token: token_from(file)?, data: None, session: None })
}

fn with_scheme(server: &str) -> String {
    if server.contains("://") { server.to_owned() } else { format!("http://{server}") }
}

fn local(folder: &Path, token_file: Option<&Path>) -> Result<Connection, Failure> {
    let running = running_server(folder)?;
    let secret = folder.join("keys").join("admin-secret");
    let token = token_from(token_file.unwrap_or(&secret))?;
    Ok(Connection { url: running.http, token, data: Some(folder.to_owned()), session: None })
}

fn token_from(file: &Path) -> Result<Secret, Failure> {
    let secret = values::secret_from(file)?;
    let usable = secret.expose().bytes().all(|byte| byte.is_ascii_graphic());
    if !usable {
        return Err(Failure::usage(format!("{} does not hold an operator token", file.display()))
            .hint("the file holds the token alone, on one line"));
    }
    Ok(secret)
}

fn running_server(folder: &Path) -> Result<Running, Failure> {
    let file = folder.join("run").join("server.json");
    let text = fs::read_to_string(&file).map_err(|error| no_running_server(folder, &file, &error))?;
    serde_json::from_str(&text).map_err(|error| {
        Failure::usage(format!("{} cannot be used: {error}", file.display()))
            .hint("a server that starts on the folder writes the file anew")
    })
}

fn no_running_server(folder: &Path, file: &Path, error: &io::Error) -> Failure {
    let folder_name = folder.display();
    if error.kind() != io::ErrorKind::NotFound {
        return Failure::usage(format!("cannot read {}: {error}", file.display()))
            .hint("the folder belongs to the user that runs the server");
    }
    if !folder.is_dir() {
        return Failure::usage(format!("there is no folder {folder_name}"))
            .hint("--data names the folder that the server was started with");
    }
    Failure::new(Kind::Unreachable, format!("no server is running on the folder {folder_name}"))
        .hint(format!("start one: musterd quickstart --data {folder_name}"))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn folder_of_a_server() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        let running = r#"{"pid":1,"http":"http://127.0.0.1:8080"}"#;
        fs::write(folder.path().join("run/server.json"), running).unwrap();
        fs::write(folder.path().join("keys/admin-secret"), "mst_admin\n").unwrap();
        fs::write(folder.path().join("token"), "mst_other\n").unwrap();
        folder
    }

    fn nothing(_: &str) -> Option<PathBuf> {
        None
    }

    fn none() -> Result<Contexts, Failure> {
        Ok(Contexts::default())
    }

    #[test]
    fn a_context_counts_less_than_the_environment_unless_it_is_named() {
        let folder = folder_of_a_server();
        let far =
            Context::Server { url: "https://far.example".into(), token_file: folder.path().join("token") };
        let contexts = || {
            let contexts = [("far".to_owned(), far.clone())].into();
            Ok(Contexts { current: Some("far".to_owned()), contexts })
        };
        let environment = |name: &str| (name == "MUSTER_DATA").then(|| folder.path().to_owned());
        let url = |flags: ServerFlags, variable: &dyn Fn(&str) -> Option<PathBuf>| {
            flags.with_environment(variable, contexts).map(|connection| connection.url)
        };
        let named = |name: &str| ServerFlags { context: Some(name.to_owned()), ..ServerFlags::default() };
        assert_eq!(url(ServerFlags::default(), &nothing).unwrap(), "https://far.example");
        assert_eq!(url(ServerFlags::default(), &environment).unwrap(), "http://127.0.0.1:8080");
        assert_eq!(url(named("far"), &environment).unwrap(), "https://far.example");
        assert_eq!(url(named("near"), &environment).unwrap_err().kind(), Kind::Usage);
    }

    #[test]
    fn a_folder_gives_address_and_admin_secret() {
        let folder = folder_of_a_server();
        let flags = ServerFlags { data: Some(folder.path().into()), ..ServerFlags::default() };
        let connection = flags.with_environment(nothing, none).unwrap();
        assert_eq!(connection.url, "http://127.0.0.1:8080");
        assert_eq!(connection.token.expose(), "mst_admin");
    }

    #[test]
    fn a_flag_counts_more_than_the_environment() {
        let folder = folder_of_a_server();
        let token = folder.path().join("token");
        let environment = |name: &str| match name {
            "MUSTER_SERVER" => Some(PathBuf::from("https://far.example")),
            "MUSTER_TOKEN_FILE" => Some(token.clone()),
            _ => None,
        };
        let flags = ServerFlags { data: Some(folder.path().into()), ..ServerFlags::default() };
        let connection = flags.with_environment(environment, none).unwrap();
        assert_eq!(
            (connection.url.as_str(), connection.token.expose()),
            ("http://127.0.0.1:8080", "mst_admin")
        );

        let connection = ServerFlags::default().with_environment(environment, none).unwrap();
        assert_eq!(
            (connection.url.as_str(), connection.token.expose()),
            ("https://far.example", "mst_other")
        );
    }

    #[test]
    fn an_address_without_a_scheme_is_plain_http() {
        let folder = folder_of_a_server();
        let flags = ServerFlags {
            server: Some("127.0.0.1:8080".to_owned()),
            token_file: Some(folder.path().join("token")),
            ..ServerFlags::default()
        };
        assert_eq!(flags.with_environment(nothing, none).unwrap().url, "http://127.0.0.1:8080");
    }

    #[test]
    fn each_way_to_be_without_a_server_has_its_own_exit_code() {
        let empty = tempfile::tempdir().unwrap();
        let kind = |data: &OsStr| {
            let flags = ServerFlags { data: Some(data.into()), ..ServerFlags::default() };
            flags.with_environment(nothing, none).unwrap_err().kind()
        };
        assert_eq!(kind(empty.path().as_os_str()), Kind::Unreachable);
        assert_eq!(kind(empty.path().join("absent").as_os_str()), Kind::Usage);
        let failure = ServerFlags::default().with_environment(nothing, none).unwrap_err();
        assert_eq!(failure.kind(), Kind::Usage);
    }

    #[test]
    fn a_token_that_no_header_can_carry_is_refused() {
        let folder = folder_of_a_server();
        fs::write(folder.path().join("keys/admin-secret"), "two words\n").unwrap();
        let flags = ServerFlags { data: Some(folder.path().into()), ..ServerFlags::default() };
        let failure = flags.with_environment(nothing, none).unwrap_err();
        assert_eq!(failure.kind(), Kind::Usage);
    }
}
