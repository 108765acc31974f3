//! The command line: `flags` says what may be written, each command's file does it, and errors are printed here and
//! nowhere else. Exit codes: 0, 1 for what went wrong, 2 for a wrong command line or configuration; `serve` exits as
//! control says. Called by `main`.

mod banner;
mod check;
mod client;
mod configuration;
mod doctor;
mod flags;
pub mod logging;
mod serve;
mod token;
mod why;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use flags::{Command, Flags};

/// Why a command did not do what it was told. The text says what to do about it.
#[derive(Debug)]
enum Failure {
    /// The command line or the configuration is wrong: exit code 2.
    Usage(String),
    /// Something else went wrong: exit code 1.
    Failed(String),
}

impl Failure {
    fn failed(error: impl std::fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Runs what the process's arguments say.
pub fn main() -> ExitCode {
    let result = match Flags::try_parse() {
        Ok(flags) => run(flags),
        Err(told) => explain(&told),
    };
    let (code, text) = match result {
        Ok(code) => return code.into(),
        Err(Failure::Failed(text)) => (1, text),
        Err(Failure::Usage(text)) => (2, text),
    };
    note(&format!("longwire: {text}"));
    ExitCode::from(code)
}

/// Prints what clap has to say instead: help and the version, which were asked for, or what is wrong.
fn explain(told: &clap::Error) -> Result<u8, Failure> {
    match told.print() {
        Err(error) if !told.use_stderr() => written(Err(error))?,
        _ => {}
    }
    Ok(u8::try_from(told.exit_code()).unwrap_or(2))
}

fn run(Flags { sources, command }: Flags) -> Result<u8, Failure> {
    match command.unwrap_or(Command::Serve) {
        Command::Serve => serve::run(&sources),
        Command::Check => check::run(&sources).map(|()| 0),
        Command::Token(flags) => token::run(&sources, flags).map(|()| 0),
        Command::Push(flags) => client::push(&sources, flags).map(|()| 0),
        Command::Users(flags) => client::users(&sources, &flags).map(|()| 0),
        Command::Why(flags) => why::run(&sources, &flags).map(|()| 0),
        Command::Kick(flags) => client::kick(&sources, &flags).map(|()| 0),
        Command::Drain(flags) => client::drain(&sources, &flags).map(|()| 0),
        Command::Doctor(flags) => doctor::run(&sources, &flags),
    }
}

/// The command line as clap knows it, for what is written from it: manual pages and shell completions.
pub fn command() -> clap::Command {
    Flags::command()
}

/// Writes a result to standard output. Whoever closed it (`| head -1`) does not want it: that is no error.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout();
    written(writeln!(out, "{text}").and_then(|()| out.flush()))
}

/// What came of writing to standard output.
fn written(done: io::Result<()>) -> Result<(), Failure> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a remark to standard error, so that standard output holds the result alone.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
