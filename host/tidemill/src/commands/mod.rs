//! The commands.

mod config;
mod plugin;
mod schema;
mod send;
mod serve;
mod tap;

use crate::{
    cli::{Cli, Command},
    exit::Outcome,
};

/// Runs a command.
pub fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Serve(command) => serve::run(&command),
        Command::Send(command) => send::run(&command),
        Command::Config(command) => config::run(command),
        Command::Plugin(command) => plugin::run(command),
        Command::Schema(command) => schema::run(command),
        Command::Tap(command) => tap::run(&command),
        _ => Ok(2),
    }
}
