//! Nothing in the manual goes untried: each block of code is run by a test that is named here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::device::{Group, Http};
use e2e::muster::ended;
use e2e::musterd::{SEED_KEY, SEED_SECRET, Setup};
use testkit::postgres::Postgres;
use testkit::process::binary;

/// Who runs the blocks of a page: its path, their language, and the file and the name of the test.
const TRIED: &[(&str, &str, &str, &str)] = &[
    ("docs/protocols/thingsboard.md", "sh", "manual.rs", "every_example_of_the_page_on_thingsboard_runs"),
    ("docs/guides/leaving.md", "sh", "manual.rs", "every_example_of_the_guide_on_leaving_runs"),
    ("docs/reference/muster.md", "sh", "manual.rs", "every_example_of_the_page_on_the_command_line_runs"),
    ("docs/guides/operators.md", "sh", "manual.rs", "every_example_of_the_page_on_operators_runs"),
    ("docs/guides/approvals.md", "sh", "terminal.rs", "approval_in_a_terminal"),
    (
        "docs/guides/postgresql.md",
        "sql",
        "manual/blocks.rs",
        "a_server_serves_from_the_databases_of_the_page_on_postgresql",
    ),
    ("docs/guides/balancer.md", "text", "balancer.rs", "the_journal_names_the_device_and_not_the_balancer"),
    ("docs/guides/fleet.md", "sh", "manual.rs", "every_example_of_the_guide_on_the_fleet_runs"),
    ("docs/guides/programs.md", "sh", "manual.rs", "every_example_of_the_guide_for_programs_runs"),
    ("docs/guides/single-sign-on.md", "sh", "manual.rs", "every_example_of_the_guide_on_single_sign_on_runs"),
    ("docs/reference/openapi.md", "sh", "openapi.rs", "needs_no_token"),
    (
        "docs/reference/openapi.md",
        "yaml",
        "openapi.rs",
        "a_python_client_made_from_it_is_sound_and_walks_through_a_registry",
    ),
    (
        "docs/reference/openapi.md",
        "python",
        "openapi.rs",
        "a_python_client_made_from_it_is_sound_and_walks_through_a_registry",
    ),
    (
        "docs/reference/openapi.md",
        "ts",
        "openapi.rs",
        "a_typescript_client_made_from_it_is_sound_and_walks_through_a_registry",
    ),
    ("docs/connectors/webhook.md", "python", "../../../crates/server/tests/it/webhook_manual.rs", "PAGE"),
];

/// Languages whose blocks are tried wherever they stand.
const EVERYWHERE: &[(&str, &str)] = &[("toml", "every_configuration_of_the_manual_is_good")];

/// Blocks that no test runs, and why. At most five.
const UNTRIED: &[(&str, &str, &str)] = &[
    ("README.md", "sh", "they are how all tests are begun, and how the server is built and started by hand"),
    ("docs/guides/approvals.md", "text", "what a terminal showed once; the lines that made it are run"),
];

/// A block of code.
struct Block {
    page: String,
    language: String,
    text: String,
}

#[test]
fn every_block_of_the_manual_is_run_by_a_test_but_for_five_at_most() -> Result<()> {
    ensure!(UNTRIED.len() <= 5, "{} blocks are not tried", UNTRIED.len());
    for block in blocks()? {
        let (page, language) = (block.page.as_str(), block.language.as_str());
        let tried = TRIED.iter().any(|it| (it.0, it.1) == (page, language))
            || EVERYWHERE.iter().any(|it| it.0 == language);
        let untried = UNTRIED.iter().any(|it| (it.0, it.1) == (page, language));
        ensure!(tried != untried, "{page}: nobody runs, or knows why not, what stands in ```{language}");
    }
    for (page, _, file, test) in TRIED {
        let source = fs::read_to_string(e2e::own("tests/e2e").join(file)).context(*file)?;
        ensure!(source.contains(test), "{page}: {file} has no {test}");
    }
    Ok(())
}

#[test]
fn every_configuration_of_the_manual_is_good() -> Result<()> {
    let home = tempfile::tempdir()?;
    for name in ["crm-secret", "openid-secret"] {
        private(&home.path().join(name), "0123456789abcdef0123456789abcdef")?;
    }
    let roots = ended(Command::new("cat").arg("/etc/ssl/certs/ca-certificates.crt"))?.out;
    fs::write(home.path().join("db-roots.pem"), roots)?;
    let of = |block: &Block| block.language == "toml";
    for block in blocks()?.into_iter().filter(of) {
        let file = home.path().join("musterd.toml");
        let etc = home.path().display().to_string();
        private(&file, &block.text.replace("/etc/muster", &etc))?;
        let mut check = Command::new(binary("musterd")?);
        let checked = ended(check.args(["config", "check", "--config"]).arg(&file))?;
        ensure!(checked.code == 0, "{}: {}{}", block.page, checked.out, checked.err);
    }
    Ok(())
}

#[test]
fn a_server_serves_from_the_databases_of_the_page_on_postgresql() -> Result<()> {
    let postgres = Postgres::start()?;
    let (mut config, mut statements) = (String::new(), 0);
    for block in blocks()?.into_iter().filter(|block| block.page == "docs/guides/postgresql.md") {
        let text = block.text.replace('…', "example");
        match block.language.as_str() {
            "sql" => {
                for statement in text.split(';').map(str::trim).filter(|it| !it.is_empty()) {
                    postgres.query("postgres", statement)?;
                    statements += 1;
                }
            }
            // The last one has all that those before it have.
            _ => config = text,
        }
    }
    ensure!(statements >= 4, "only {statements} statements");
    let here = format!("@127.0.0.1:{}/muster?sslmode=disable", postgres.port());
    let config = config
        .replace("@db.example.com:5432/muster?sslmode=verify-full", &here)
        .replace("root_certificate", "# root_certificate");
    let server = Setup::serve(&config)?.start()?;
    let group = ["--provision-key", SEED_KEY, "--provision-secret", SEED_SECRET];
    server
        .muster()?
        .ok(&[&["profile", "create", "pumps", "--strategy", "create-new"][..], &group].concat())?;
    let ask = Group::new(SEED_KEY, SEED_SECRET).ask("pump-1");
    ensure!(Http::open(server.address().http())?.provision(&ask)?.is_granted());
    let owner = "SELECT tableowner FROM pg_tables WHERE schemaname = 'muster_secrets' LIMIT 1";
    ensure!(postgres.query("muster", owner)? == "muster_secrets");
    Ok(())
}

/// Every block of every page.
fn blocks() -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    for page in pages()? {
        let text = fs::read_to_string(e2e::own("..").join(&page))?;
        let name = page.display().to_string();
        for (at, part) in text.split("\n```").enumerate() {
            // Every other part is within a block, and begins with its language.
            if let (1, Some((language, text))) = (at % 2, part.split_once('\n')) {
                let (language, text) = (language.to_owned(), text.to_owned());
                blocks.push(Block { page: name.clone(), language, text });
            }
        }
    }
    ensure!(blocks.len() > 20, "only {} blocks", blocks.len());
    Ok(blocks)
}

fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = vec![PathBuf::from("README.md"), PathBuf::from("ARCHITECTURE.md")];
    for folder in fs::read_dir(e2e::own("../docs"))? {
        let folder = folder?.file_name();
        for page in fs::read_dir(e2e::own("../docs").join(&folder))? {
            pages.push(Path::new("docs").join(&folder).join(page?.file_name()));
        }
    }
    Ok(pages)
}

fn private(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(file, text)?;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o600))?)
}
