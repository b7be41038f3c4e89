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
        Command::Demo(command) => crate::demo::run(&command),
    }
}

/// Loads a configuration file with the environment's overrides.
pub fn load_config(file: Option<&std::path::Path>) -> Result<tidemill_config::Loaded, crate::exit::Failure> {
    config::load(file, &[])
}
