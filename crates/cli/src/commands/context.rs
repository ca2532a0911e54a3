//! `muster context`

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use crate::connection::ServerFlags;
use crate::contexts::{Context, Contexts};
use crate::failure::Failure;
use crate::render::{Output, Row};

/// What can be done with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Name a server: --data DIR, or --server URL with --token-file FILE; the first one is used at once
    Add {
        /// What it is to be called
        name: String,
    },
    /// List the servers that have names
    List,
    /// Use a server wherever none is named
    Use {
        /// What it is called
        name: String,
    },
    /// Forget a server; nothing on it changes
    Remove {
        /// What it is called
        name: String,
    },
}

impl Command {
    pub(crate) fn run(self, flags: &ServerFlags, out: &mut Output) -> Result<(), Failure> {
        let contexts = Contexts::read()?;
        match self {
            Self::Add { name } => add(&name, flags, contexts, out),
            Self::List => list(&contexts, out),
            Self::Use { name } => choose(&name, contexts, out),
            Self::Remove { name } => remove(&name, contexts, out),
        }
    }
}

fn add(name: &str, flags: &ServerFlags, mut contexts: Contexts, out: &mut Output) -> Result<(), Failure> {
    let context = wanted(flags)?;
    contexts.current.get_or_insert_with(|| name.to_owned());
    contexts.contexts.insert(name.to_owned(), context);
    contexts.write()?;
    out.note(&format!("The server is called {name} from now on."))
}

/// What the flags name. Paths are kept whole: the next command may be called from another folder.
fn wanted(flags: &ServerFlags) -> Result<Context, Failure> {
    let whole = |path: &PathBuf| {
        std::path::absolute(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    match (&flags.data, &flags.server, &flags.token_file) {
        (Some(data), None, None) => Ok(Context::Data(whole(data)?)),
        (None, Some(url), Some(file)) if file.as_os_str() != "-" => {
            Ok(Context::Server { url: url.clone(), token_file: whole(file)? })
        }
        _ => Err(Failure::usage("which server is meant?")
            .hint("give --data DIR, or --server URL with --token-file FILE")),
    }
}

fn list(contexts: &Contexts, out: &mut Output) -> Result<(), Failure> {
    let shown = |(name, context): (&String, &Context)| Shown {
        name: name.clone(),
        current: contexts.current.as_ref() == Some(name),
        context: context.clone(),
    };
    let rows: Vec<Shown> = contexts.contexts.iter().map(shown).collect();
    let mut listing = out.listing();
    listing.page(&rows)?;
    listing.end("No server has a name.")
}

fn choose(name: &str, mut contexts: Contexts, out: &mut Output) -> Result<(), Failure> {
    contexts.named(name)?;
    contexts.current = Some(name.to_owned());
    contexts.write()?;
    out.note(&format!("{name} is used wherever no server is named."))
}

fn remove(name: &str, mut contexts: Contexts, out: &mut Output) -> Result<(), Failure> {
    contexts.named(name)?;
    contexts.contexts.remove(name);
    contexts.current.take_if(|current| current == name);
    contexts.write()?;
    out.note(&format!("{name} is forgotten; nothing on the server has changed."))
}

/// A context as it is listed.
#[derive(Serialize)]
struct Shown {
    name: String,
    current: bool,
    #[serde(flatten)]
    context: Context,
}

impl Row for Shown {
    const COLUMNS: &'static [&'static str] = &["name", "current", "server", "token"];

    fn cells(&self) -> Vec<String> {
        let (server, token) = match &self.context {
            Context::Data(folder) => (folder.display().to_string(), "-".to_owned()),
            Context::Server { url, token_file } => (url.clone(), token_file.display().to_string()),
            Context::SignedOn { url, session_file } => (url.clone(), session_file.display().to_string()),
        };
        vec![self.name.clone(), if self.current { "*" } else { "" }.to_owned(), server, token]
    }
}
