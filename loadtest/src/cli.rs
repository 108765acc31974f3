//! The command line: one subcommand a scenario, shared flags, and what a run's end is worth as an exit code. Decides
//! nothing about the load itself.

mod values;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::interrupt;
use crate::plan::Target;
use crate::result::Run;
use crate::sources::Sources;
use crate::{report, scenarios, server, worker};
use values::{duration, path, rate, rate_or_none, share};

/// Loads a longwire gateway, or another WebSocket server, and tells the truth about it.
#[derive(Parser, Debug)]
#[command(name = "longwire-load", version, about, long_about = None)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Connect and log in, keep the connections, answer pings: what a held connection costs
    Hold(Options),
    /// Everybody reconnects at once, again and again
    Storm(Options),
    /// One push to everybody, or to a topic, at a rate
    Fanout(Options),
    /// Pushes to random users at a rate, over the API or over NATS
    Push(Options),
    /// Calls of clients, answered by a service of its own
    Call(Options),
    /// Clients come, stay a while and leave, at a rate
    Churn(Options),
    /// A share of the clients stops reading
    Slow(Options),
    /// A mix of everything, for hours
    Soak(Options),
    /// Raise the load until a bound breaks, and name the knee
    Search(Options),
    /// Say what changed between two runs, beyond noise
    Compare {
        /// The JSON file of the earlier run
        before: PathBuf,
        /// The JSON file of the later run
        after: PathBuf,
    },
    /// Show the JSON file of a run: the table, and as HTML with --html
    Report {
        /// The JSON file
        run: PathBuf,
        /// Where the page goes
        #[arg(long)]
        html: Option<PathBuf>,
    },
    /// A worker process
    #[command(hide = true)]
    Worker,
    /// Becomes another program that ends with the one that started it
    #[command(hide = true)]
    Bound {
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
}

/// Which server is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A longwire gateway.
    Longwire,
    /// Any other WebSocket server; clients do not log in.
    Raw,
}

/// What a search raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Raise {
    /// The pushes a second.
    Push,
    /// The connections.
    Connections,
}

/// The flags of every scenario.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How many connections
    #[arg(long, short = 'n', default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,
    /// Worker processes [default: one per 15,000 connections]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub workers: Option<u32>,
    /// Per second: logins (hold, churn), pushes (push, fanout, slow, soak), calls (call); the first step of a search
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Logins a second while connecting; 0: as fast as admitted
    #[arg(long, default_value_t = 0.0, value_parser = rate_or_none)]
    pub connect_rate: f64,
    /// How long the measured phase takes, e.g. 30s, 5m, 8h
    #[arg(long, value_parser = duration)]
    pub duration: Option<Duration>,
    /// Where to connect, repeated for several: ws://HOST:PORT/PATH or unix:/PATH [default: ws://127.0.0.1:9040/ws]
    #[arg(long)]
    pub target: Vec<String>,
    /// What the target is
    #[arg(long, value_enum, default_value_t = Kind::Longwire)]
    pub target_kind: Kind,
    /// The raw target sends every message back (for `call`)
    #[arg(long)]
    pub echo: bool,
    /// The raw target sends every message on to everybody (for `fanout`)
    #[arg(long)]
    pub broadcast: bool,
    /// The target's name in the result [default: longwire or raw]
    #[arg(long)]
    pub name: Option<String>,
    /// Source addresses, taken in turn: an address or a range (127.0.0.2-127.0.0.9); repeated for several
    #[arg(long, value_name = "ADDRESS or FIRST-LAST")]
    pub source: Vec<Sources>,
    /// The gateway's API
    #[arg(long, default_value = "http://127.0.0.1:9041")]
    pub api: String,
    /// A key of the API
    #[arg(long, env = "LONGWIRE_KEY", hide_env_values = true)]
    pub key: Option<String>,
    /// The gateway's HS256 secret, to mint tokens with
    #[arg(long, env = "LONGWIRE_LOAD_SECRET", hide_env_values = true)]
    pub secret: Option<String>,
    /// The gateway's config file, to mint tokens with
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Push over NATS at HOST:PORT, and answer calls there
    #[arg(long)]
    pub nats: Option<String>,
    /// With --start: start a NATS server too, and push over it
    #[arg(long)]
    pub bus: bool,
    /// The subjects' prefix
    #[arg(long, default_value = "longwire")]
    pub prefix: String,
    /// The server's process [default: who listens on the target]
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Start a longwire for this run, on free ports of the loopback interface
    #[arg(long, conflicts_with_all = ["target", "config", "server_pid", "target_kind"])]
    pub start: bool,
    /// Its binary [default: longwire beside this program]
    #[arg(long)]
    pub longwire: Option<PathBuf>,
    /// A setting of the longwire that is started, e.g. server.reactors=1; repeated
    #[arg(long)]
    pub set: Vec<String>,
    /// Bytes of a push as the client gets it, or of a call's body; what accounts for a message takes 86 of them
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(86..=65_536))]
    pub bytes: u32,
    /// Upgrades and logins under way at once, of one worker; 0: no limit
    #[arg(long)]
    pub window: Option<u32>,
    /// Connections to the API, each one publisher
    #[arg(long, default_value_t = 8)]
    pub publishers: usize,
    /// Fan out to topics instead of to everybody; so many
    #[arg(long, default_value_t = 0)]
    pub topics: u32,
    /// So many clients subscribe to topics; 0: all
    #[arg(long, default_value_t = 0)]
    pub subscribers: u32,
    /// How often everybody reconnects (storm)
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub storms: u32,
    /// How long a client stays (churn, soak)
    #[arg(long, value_parser = duration, default_value = "5s")]
    pub stay: Duration,
    /// The share of the clients that stop reading (slow) [default: 0.01], or that reconnect (storm) [default: 0.95]
    #[arg(long, value_parser = share)]
    pub share: Option<f64>,
    /// The path of calls [default: load/echo where there is a NATS, else ping]
    #[arg(long, value_parser = path)]
    pub path: Option<String>,
    /// What a search raises
    #[arg(long, value_enum, default_value_t = Raise::Push)]
    pub raise: Raise,
    /// The p99 that a search must not pass
    #[arg(long, value_parser = duration, default_value = "10ms")]
    pub bound: Duration,
    /// Write the result as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Write the result as one HTML page
    #[arg(long)]
    pub html: Option<PathBuf>,
    /// This program, where it is not what runs (tests)
    #[arg(long, hide = true)]
    pub worker_binary: Option<PathBuf>,
    /// No progress display, no table
    #[arg(long, short)]
    pub quiet: bool,
}

impl Options {
    /// The defaults, for tests.
    ///
    /// # Panics
    /// Never: the defaults parse.
    #[allow(clippy::panic)]
    pub fn defaults() -> Self {
        match Cli::try_parse_from(["longwire-load", "hold"]) {
            Ok(Cli {
                what: What::Hold(options),
            }) => options,
            other => panic!("{other:?}"),
        }
    }

    /// The measured phase, or this many seconds.
    pub fn duration_or(&self, seconds: u64) -> Duration {
        self.duration.unwrap_or(Duration::from_secs(seconds))
    }

    /// Where to connect; the default where nothing is said.
    ///
    /// # Errors
    /// What is no target.
    pub fn targets(&self) -> Result<Vec<Target>, String> {
        if self.target.is_empty() {
            return Target::parse("ws://127.0.0.1:9040/ws").map(|target| vec![target]);
        }
        self.target.iter().map(|text| Target::parse(text)).collect()
    }
}

/// The exit code of a run that counts for nothing.
const VOID: u8 = 3;

/// Does what the command line says.
pub fn main() -> ExitCode {
    server::raise_descriptor_limit();
    let done = match Cli::parse().what {
        What::Bound { command } => {
            interrupt::leave();
            Err(server::become_bound(&command))
        }
        What::Worker => {
            interrupt::leave();
            worker::run().map(|()| ExitCode::SUCCESS)
        }
        What::Compare { before, after } => compare(&before, &after),
        What::Report { run, html } => show(&run, html.as_deref()),
        What::Hold(options) => run("hold", options),
        What::Storm(options) => run("storm", options),
        What::Fanout(options) => run("fanout", options),
        What::Push(options) => run("push", options),
        What::Call(options) => run("call", options),
        What::Churn(options) => run("churn", options),
        What::Slow(options) => run("slow", options),
        What::Soak(options) => run("soak", options),
        What::Search(options) => run("search", options),
    };
    done.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "longwire-load: {error}");
        ExitCode::from(2)
    })
}

fn run(scenario: &str, options: Options) -> Result<ExitCode, String> {
    let (json, html, quiet) = (options.json.clone(), options.html.clone(), options.quiet);
    // Now, and not when hours are over.
    json.iter()
        .chain(&html)
        .try_for_each(|path| report::json::can_write(path))?;
    interrupt::listen();
    let run = scenarios::run(scenario, options)?;
    let mut written = json.map_or(Ok(()), |path| report::json::write(&path, &run));
    if let Some(path) = html {
        written = written.and(report::json::write_text(&path, &report::html::html(&run)));
    }
    if !quiet {
        say(&report::table::summary(&run));
    }
    for reason in &run.void {
        let _ = writeln!(std::io::stderr(), "!!! THIS RUN COUNTS FOR NOTHING: {reason}");
    }
    written.map(|()| verdict(&run))
}

/// 0: it counts and every message is accounted for; 1: messages were lost, doubled, disordered or garbled, or the server
/// failed; 3: it counts for nothing.
fn verdict(run: &Run) -> ExitCode {
    if run.has_faults() {
        ExitCode::FAILURE
    } else if run.void.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(VOID)
    }
}

fn compare(before: &std::path::Path, after: &std::path::Path) -> Result<ExitCode, String> {
    let (before, after) = (report::json::read(before)?, report::json::read(after)?);
    say(&report::compare::compare(&before, &after));
    Ok(ExitCode::SUCCESS)
}

fn show(run: &std::path::Path, html: Option<&std::path::Path>) -> Result<ExitCode, String> {
    let run = report::json::read(run)?;
    if let Some(path) = html {
        report::json::write_text(path, &report::html::html(&run))?;
    }
    say(&report::table::summary(&run));
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_done_is_refused() {
        let refused = |flags: &str| {
            let words = format!("longwire-load call {flags}");
            Cli::try_parse_from(words.split(' ')).is_err()
        };
        for flags in [
            "-n 0",
            "--rate 0",
            "--rate NaN",
            "--rate inf",
            "--rate=-5",
            "--connect-rate=-1",
            "--workers 0",
            "--storms 0",
            "--bytes 1",
            "--bytes 70000",
            "--path a\"b",
            "--path /a",
            "--path a//b",
            "--start --target ws://[::1]:80/ws",
            "--start --server-pid 1",
            "--start --config a.toml",
            "--start --target-kind raw",
        ] {
            assert!(refused(flags), "{flags}");
        }
        for flags in [
            "-n 1",
            "--rate 0.1",
            "--connect-rate 0",
            "--path order/create",
            "--start --bytes 86",
        ] {
            assert!(!refused(flags), "{flags}");
        }
    }

    #[test]
    fn every_scenario_has_defaults() {
        assert_eq!(Options::defaults().connections, 10_000);
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
