//! Logs: to standard error as text or JSON, or to the journal; a level that a reload can change; and the rule that no
//! panic is silent. Set up once, by `serve`.

use std::io::{self, IsTerminal};
use std::process;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::{Failure, note};
use crate::config::{Log, LogFormat};
use crate::control::SetLogLevel;

/// The exit code of a process whose thread panicked, as Rust's own.
const PANICKED: i32 = 101;

/// Crates that would say too much at the level that longwire is to speak at, unless they are named in it: async-nats tells
/// of every message that is lost, where the bus tells of them once, and rustls of every step of a handshake.
const QUIET: [(&str, &str); 2] = [("async_nats", "off"), ("rustls", "warn")];

/// What `log.level` means.
///
/// # Errors
/// It means nothing.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    let mut directives = level.to_owned();
    for (crate_name, quiet) in QUIET {
        if !level.contains(crate_name) {
            directives.push_str(&format!(",{crate_name}={quiet}"));
        }
    }
    let level = directives.as_str();
    EnvFilter::try_new(level).map_err(|error| {
        format!("log.level: {error}; use trace, debug, info, warn, error, off, or directives such as info,hyper=warn")
    })
}

/// From now on events are written; what is returned changes the level.
pub(super) fn start(log: &Log) -> Result<SetLogLevel, Failure> {
    let (level, handle) = reload::Layer::new(filter(&log.level).map_err(Failure::Usage)?);
    let lines: Box<dyn Layer<_> + Send + Sync> = match log.format {
        LogFormat::Text => {
            let terminal = io::stderr().is_terminal();
            Box::new(
                fmt::layer::<reloaded::Base>()
                    .with_writer(io::stderr)
                    .with_ansi(terminal),
            )
        }
        LogFormat::Json => Box::new(fmt::layer().json().flatten_event(true).with_writer(io::stderr)),
        LogFormat::Journald => Box::new(tracing_journald::layer().map_err(|error| {
            Failure::Failed(format!(
                "log.format is journald, but there is no journal to write to: {error}"
            ))
        })?),
    };
    tracing_subscriber::registry()
        .with(level)
        .with(lines)
        .try_init()
        .map_err(|error: TryInitError| Failure::failed(error))?;
    Ok(Box::new(move |level| {
        handle.reload(filter(level)?).map_err(|error| error.to_string())
    }))
}

mod reloaded {
    use super::{EnvFilter, Registry, reload};

    /// What the line writers stand on.
    pub type Base = tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>;
}

/// A panic on any thread ends the process: a node with a dead core would serve some clients and not others.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("unnamed");
        let backtrace = std::backtrace::Backtrace::capture();
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!(thread = name, "a bug: {info}\n{backtrace}");
        } else {
            note(&format!("longwire: a bug on thread {name}: {info}\n{backtrace}"));
        }
        process::exit(PANICKED);
    }));
}
