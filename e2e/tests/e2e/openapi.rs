//! The OpenAPI document of the operator API, as judges and makers of clients read it.

mod at_random;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use e2e::muster::ended;
use e2e::musterd::{Musterd, Setup};
use e2e::python::Python;
use testkit::netns::NetworkNamespace;

use super::manual::{blocks, examples};

#[test]
fn the_document_is_valid_openapi_3_1_and_needs_no_token() -> Result<()> {
    let stand = Stand::open()?;
    stand.copy("valid.py")?;
    let judge = Python::OpenapiValidator.interpreter()?;
    let said = runs(stand.command(&judge)?.args(["valid.py", "openapi.json"]))?;
    ensure!(said.starts_with("valid: 3.1."), "{said}");
    Ok(())
}

#[test]
fn a_python_client_made_from_it_is_sound_and_walks_through_a_registry() -> Result<()> {
    let stand = Stand::open()?;
    let python = Python::OpenapiClient.interpreter()?;
    let config = blocks(&stand.page, "yaml").concat();
    fs::write(stand.path("python.yaml"), config)?;
    runs(stand.command(&python.with_file_name("sh"))?.args(["-e", "-c", stand.example(1)?]))?;
    stand.copy("tutorial.py")?;
    fs::write(stand.path("list.py"), blocks(&stand.page, "python").concat())?;
    // What uses the client is read with the client's types; how that itself is written is its maker's matter.
    let mut reader = stand.command(&python)?;
    reader.args(["-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir=types"]);
    runs(reader.args(["tutorial.py", "list.py"]))?;
    stand.walks(&python, "tutorial.py", "list.py")
}

#[test]
fn a_typescript_client_made_from_it_is_sound_and_walks_through_a_registry() -> Result<()> {
    let stand = Stand::open()?;
    let modules = e2e::node::modules()?;
    symlink(&modules, stand.path("node_modules"))?;
    fs::write(stand.path("package.json"), r#"{"type":"module"}"#)?;
    stand.copy("tutorial.ts")?;
    stand.copy("tsconfig.json")?;
    fs::write(stand.path("list.ts"), blocks(&stand.page, "ts").concat())?;
    let tools = modules.join(".bin");
    runs(stand.command(&tools.join("sh"))?.args(["-e", "-c", stand.example(2)?]))?;
    runs(stand.command(&tools.join("tsc"))?.args(["--project", "."]))?;
    stand.walks(&tools.join("node"), "out/tutorial.js", "out/list.js")
}

/// A server, and beside it a folder with its document, fetched as the manual's page says it.
struct Stand {
    server: Musterd,
    page: String,
}

impl Stand {
    fn open() -> Result<Self> {
        let page = fs::read_to_string(e2e::own("../docs/reference/openapi.md"))?;
        let server = Setup::serve("")?.within(&Arc::new(NetworkNamespace::new()?)).start()?;
        let stand = Self { server, page };
        runs(stand.command(Path::new("sh"))?.args(["-e", "-c", stand.example(0)?]))?;
        Ok(stand)
    }

    /// One of the page's examples for a shell.
    fn example(&self, number: usize) -> Result<&str> {
        examples(&self.page).get(number).copied().context("the page has fewer examples")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.server.setup().home().join(name)
    }

    /// Puts one of our programs there.
    fn copy(&self, name: &str) -> Result<()> {
        fs::copy(e2e::own("programs/openapi").join(name), self.path(name))?;
        Ok(())
    }

    /// A program in that folder, found beside its kin or in the usual places.
    fn command(&self, program: &Path) -> Result<Command> {
        let name = program.file_name().context("a program has a name")?;
        let mut command =
            self.server.setup().neighbour(if program.exists() { program.as_os_str() } else { name });
        let beside = program.parent().unwrap_or(program).as_os_str();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(
            [beside].into_iter().map(PathBuf::from).chain(std::env::split_paths(&path)),
        )?;
        command.current_dir(self.server.setup().home()).env("PATH", path);
        Ok(command)
    }

    fn token(&self) -> Result<String> {
        let secret = fs::read_to_string(self.server.setup().folder().join("keys/admin-secret"))?;
        Ok(secret.trim_end().to_owned())
    }

    /// The tutorial, and then the page's own program on what it has left.
    fn walks(&self, interpreter: &Path, tutorial: &str, list: &str) -> Result<()> {
        let run = |program: &str| {
            let address = format!("http://{}", self.server.address().http());
            runs(self.command(interpreter)?.args([program, &address, &self.token()?]))
        };
        let walked = run(tutorial)?;
        ensure!(walked.trim_end() == "walked through", "{walked}");
        let listed = run(list)?;
        let names: Vec<_> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
        ensure!(names == ["pump-2", "pump-3"], "{listed}");
        Ok(())
    }
}

/// What a program prints that ends well.
fn runs(command: &mut Command) -> Result<String> {
    let ended = ended(command)?;
    ensure!(ended.code == 0, "{command:?}: {ended:?}");
    Ok(ended.out)
}
