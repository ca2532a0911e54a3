//! `muster`: what an operator does with a Muster server, and a fleet of simulated devices.

mod cli;
mod client;
mod commands;
mod confirm;
mod connection;
mod contexts;
mod failure;
mod render;
mod session;
mod signature;
mod text;
mod values;
mod watch;
mod yaml;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.kind().exit_code())
        }
    }
}
