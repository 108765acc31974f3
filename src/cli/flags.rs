//! What may be written on the command line, and the help that teaches it. Raw: nothing is looked up or resolved here.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Try it: start `longwire` with no configuration. It listens on this host alone and prints a token and the lines to
connect a client and to push to it.

In production: write /etc/longwire/longwire.toml, look at what it means with `longwire check`, run `longwire serve`.

Examples:
  longwire --config longwire.toml                     serve with this configuration
  longwire --set log.level=debug                      change one key for this run
  longwire check --config longwire.toml               is it right, and what does it say?
  longwire token --user alice --ttl 8h                a token to log in with
  longwire push --user alice --path hello --body '{\"n\": 1}'
  longwire users alice                                is alice here, and on what devices?
  longwire why alice                                  what became of her connections, and why?
  longwire kick alice                                 close all her connections
  longwire drain                                      send everybody to other nodes, then stop
  longwire doctor --connections 100000                does this host hold so many?";

/// Holds the WebSocket connections of logged-in users, and lets any backend push to a user.
#[derive(Debug, Parser)]
#[command(name = "longwire", version, after_help = EXAMPLES)]
pub struct Flags {
    /// Where the configuration comes from.
    #[command(flatten)]
    pub sources: SourceFlags,
    /// What to do; none: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct SourceFlags {
    /// The configuration file [default: /etc/longwire/longwire.toml where it is there]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Sets one key of the configuration, over the file and the environment (LONGWIRE_AUTH__LEEWAY=0s); may be repeated
    #[arg(long, global = true, value_name = "TABLE.KEY=VALUE", help_heading = "Configuration")]
    pub set: Vec<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway (what `longwire` alone does too)
    ///
    /// With no configuration file it is one node without NATS, on this host alone, with a random key, and prints a token
    /// to try. SIGTERM and SIGINT drain it and exit with 0, a second one stops it at once; SIGHUP rereads the
    /// configuration.
    Serve,
    /// Check the configuration and print it with every default, secrets masked
    ///
    /// Exits with 2 and says which line is wrong, if one is. Unknown keys are wrong.
    Check,
    /// Mint a token with the configured HS key
    #[command(after_help = "Example:\n  longwire token --user alice --ttl 8h --topics 'room.*'")]
    Token(TokenFlags),
    /// Push a message to a user, to a topic's subscribers, or to everybody
    #[command(after_help = "\
Examples:
  longwire push --user alice --path order/paid --body '{\"order\": 1}'
  longwire push --user alice --user bob --path hello
  longwire push --topic room.42 --path news --body '\"hi\"'
  longwire push --all --path maintenance --body '{\"in_minutes\": 5}'")]
    Push(PushFlags),
    /// Show a user's connections
    Users(UserFlags),
    /// Show what became of a user's connections, and what each reason usually means
    ///
    /// Asks the flight recorders of all nodes: logins, renewed and refused tokens, kicks, and how each connection ended.
    /// Nothing has to be prepared for it, and limits.history_bytes says how much they remember. Times are UTC.
    #[command(after_help = "\
Examples:
  longwire why alice
  longwire why alice --connection 8e7be4e6760e5a45-1-0-1
  longwire why alice --limit 1000 --json | jq '.events[] | select(.event == \"closed\") | .reason'")]
    Why(WhyFlags),
    /// Close all of a user's connections
    ///
    /// They are closed with code 4403, which tells the client not to come back by itself.
    Kick(UserFlags),
    /// Drain the node: take nobody new, send everybody away, stop
    Drain(ApiFlags),
    /// Compare what this host allows with what so many connections need
    ///
    /// A row each with what is there, what is needed, a verdict, and the command that mends it. Exits with 1 if anything
    /// falls short. Changes nothing.
    #[command(after_help = "\
Examples:
  longwire doctor --connections 100000
  longwire doctor --json | jq -r '.rows[] | select(.verdict == \"short\") | .mend'")]
    Doctor(DoctorFlags),
}

/// `longwire doctor`
#[derive(Debug, Args)]
pub struct DoctorFlags {
    /// How many connections this node is to hold [default: server.connections_max, else 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub connections: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// The running longwire to look at, and its unit if it is one's [default: the unit's, else the first that is found]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u64>,
    /// nginx's main file [default: /etc/nginx/nginx.conf where it is there]
    #[arg(long, value_name = "FILE")]
    pub nginx: Option<PathBuf>,
    /// Look at a copy of a host's /proc, /sys, /etc and /run below this directory
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// `longwire token`
#[derive(Debug, Args)]
pub struct TokenFlags {
    /// Whom the token is for
    #[arg(long, value_name = "U")]
    pub user: String,
    /// How long it holds: a number and s, m, h or d
    #[arg(long, default_value = "1h", value_name = "TIME", value_parser = super::token::parse_seconds)]
    pub ttl: u64,
    /// A path that the client may send, exact or ending in *; may be repeated [default: auth.default_paths]
    #[arg(long, alias = "path", value_name = "PATTERN")]
    pub paths: Vec<String>,
    /// A topic that the client may subscribe, exact or ending in *; may be repeated [default: auth.default_topics]
    #[arg(long, alias = "topic", value_name = "PATTERN")]
    pub topics: Vec<String>,
    /// The device's name
    #[arg(long, value_name = "D")]
    pub device: Option<String>,
}

/// Where the API is, and what it wants to see.
#[derive(Debug, Args)]
pub struct ApiFlags {
    /// The node's API [default: the configuration's api.listen, else http://127.0.0.1:9041]
    #[arg(long, value_name = "URL")]
    pub api: Option<String>,
    /// One of api.keys [default: LONGWIRE_KEY, else the configuration's first if --api is not given]
    #[arg(long, value_name = "K")]
    pub key: Option<String>,
}

/// `longwire push`
#[derive(Debug, Args)]
pub struct PushFlags {
    /// Who gets it.
    #[command(flatten)]
    pub to: ToFlags,
    /// What it is about: segments joined by /
    #[arg(long, value_name = "P")]
    pub path: String,
    /// Any JSON; a string wants its quotes [default: null]
    #[arg(long, value_name = "JSON")]
    pub body: Option<String>,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiFlags,
}

/// Exactly one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ToFlags {
    /// Every connection of this user; may be repeated
    #[arg(long, value_name = "U")]
    pub user: Vec<String>,
    /// Every connection that subscribed to this topic
    #[arg(long, value_name = "T")]
    pub topic: Option<String>,
    /// Every connection that is logged in
    #[arg(long)]
    pub all: bool,
}

/// `longwire users`, `longwire kick`
#[derive(Debug, Args)]
pub struct UserFlags {
    /// The user's name, as in the tokens
    #[arg(value_name = "U")]
    pub user: String,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiFlags,
}

/// `longwire why`
#[derive(Debug, Args)]
pub struct WhyFlags {
    /// The user's name, as in the tokens
    #[arg(value_name = "U")]
    pub user: String,
    /// This connection alone, by the id that the client was told at its login
    #[arg(long, value_name = "ID")]
    pub connection: Option<String>,
    /// The newest so many events
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub limit: u16,
    /// Print the API's answer instead
    #[arg(long)]
    pub json: bool,
    /// Where the API is.
    #[command(flatten)]
    pub api: ApiFlags,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Flags, clap::Error> {
        Flags::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_flags_fit_together() {
        Flags::command().debug_assert();
    }

    #[test]
    fn sources_stand_before_or_behind_the_command() {
        for line in [
            "longwire --config f --set a.b=1 check",
            "longwire check --set a.b=1 --config f",
        ] {
            let flags = parse(line).unwrap();
            assert_eq!(flags.sources.config.unwrap().to_str(), Some("f"));
            assert_eq!(flags.sources.set, ["a.b=1"]);
        }
        assert!(parse("longwire").unwrap().command.is_none());
    }

    #[test]
    fn a_push_has_exactly_one_audience() {
        for line in ["--user a", "--user a --user b", "--topic t", "--all"] {
            assert!(parse(&format!("longwire push --path p {line}")).is_ok(), "{line}");
        }
        for line in ["", "--user a --all", "--topic t --all", "--topic t --topic u"] {
            assert!(parse(&format!("longwire push --path p {line}")).is_err(), "{line}");
        }
    }

    #[test]
    fn a_token_takes_several_paths() {
        let Some(Command::Token(token)) = parse("longwire token --user u --paths a --path b/*").unwrap().command else {
            panic!("no token");
        };
        assert_eq!((token.paths, token.ttl), (vec!["a".to_owned(), "b/*".to_owned()], 3600));
    }
}
