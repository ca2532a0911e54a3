//! `cargo xtask bench [NAME...] [--quick] [--dir DIR]`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use bench::figures::{ALL, Bench, Measurement};
use bench::report::Report;
use bench::{disk, echo};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.peek().is_some_and(|argument| argument == "echo") {
        return echo::serve();
    }
    if arguments.peek().is_some_and(|argument| argument == "--help") {
        help();
        return Ok(());
    }
    let asked = Asked::parse(arguments)?;
    std::fs::create_dir_all(&asked.folder)?;
    disk::file_system(&asked.folder)?;
    let mut bench = Bench { folder: asked.folder, quick: asked.quick, report: Report::default() };
    for measurement in asked.measurements {
        bench.report.title(&format!("{}: {}", measurement.name, measurement.what));
        (measurement.run)(&mut bench).with_context(|| format!("`{}` broke off", measurement.name))?;
    }
    bench.report.end();
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn help() {
    println!("cargo xtask bench [NAME...] [--quick] [--dir DIR]\n");
    for measurement in ALL {
        println!("  {:<14} {}", measurement.name, measurement.what);
    }
    println!("\n  --quick        short times and small numbers: shows only that everything works");
    println!("  --dir DIR      where the data lies; a file system in memory is refused");
}

/// What was asked for on the command line.
struct Asked {
    measurements: Vec<&'static Measurement>,
    quick: bool,
    folder: PathBuf,
}

impl Asked {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Asked> {
        let mut asked = Asked { measurements: Vec::new(), quick: false, folder: default_folder()? };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--quick" => asked.quick = true,
                "--dir" => asked.folder = arguments.next().context("--dir needs a folder")?.into(),
                name => asked.measurements.push(named(name)?),
            }
        }
        if asked.measurements.is_empty() {
            asked.measurements = ALL.iter().collect();
        }
        Ok(asked)
    }
}

fn named(name: &str) -> Result<&'static Measurement> {
    let Some(found) = ALL.iter().find(|measurement| measurement.name == name) else {
        let names: Vec<_> = ALL.iter().map(|measurement| measurement.name).collect();
        bail!("no measurement is called `{name}`; there are {}", names.join(", "));
    };
    Ok(found)
}

/// Beside the built programs: on the disk on which people work.
fn default_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    Ok(program.parent().context("the program lies in no folder")?.with_file_name("bench-data"))
}
