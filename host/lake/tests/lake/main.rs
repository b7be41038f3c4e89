//! The lake from messages to tables that other tools read.

mod foreign;
mod kit;
mod rows;
mod stage;
mod upkeep;
