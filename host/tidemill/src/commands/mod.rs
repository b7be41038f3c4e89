//! The commands.

mod config;
mod schema;
mod send;
mod tap;

use crate::{
    cli::{Cli, Command},
    exit::Outcome,
};

/// Runs a command.
pub fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Send(command) => send::run(&command),
        Command::Config(command) => config::run(command),
        Command::Schema(command) => schema::run(command),
        Command::Tap(command) => tap::run(&command),
        _ => Ok(2),
    }
}
