//! The configuration: a TOML file, overridden by the environment, overridden by `--set`, to checked [`Settings`].
//!
//! Owns every default and every limit, and names the line, flag or variable at fault where one is broken; secrets are
//! read into memory here. Never opens a socket, never looks into a key (that is `shard::auth`), never keeps anything:
//! a reload loads anew. Called by `cli`, and by `control` on SIGHUP.

mod auth;
mod error;
mod host;
mod names;
mod reload;
mod render;
mod resolve;
mod section;
pub mod settings;
#[cfg(test)]
mod tests;
mod tree;
mod units;
mod values;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

pub use error::{ConfigError, Problem};
pub use settings::*;

use error::{Place, Report};
use resolve::{Context, Resolved};
use section::ReadFile;
use tree::Table;

/// Far more than any config, key set or key list; a device or a wrong path does not fill the memory.
const FILE_MAX_BYTES: u64 = 16 << 20;

/// Where the configuration comes from. Later sources win: file, environment, overrides. Not `Debug`: it holds secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The TOML file; `None`: defaults alone.
    pub file: Option<PathBuf>,
    /// The process's environment. `LONGWIRE_TABLE__KEY` sets `table.key`; whatever has no `__` is passed over.
    pub environment: Vec<(String, String)>,
    /// `--set` flags, each `table.key=value`.
    pub overrides: Vec<String>,
    /// The no-config mode: an HS256 secret that is used where nothing else gives a key. `None`: no key is an error.
    pub development_secret: Option<String>,
}

/// Checked settings, and where their keys were written.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Whether `development_secret` is the key in use.
    pub development: bool,
    key_places: Vec<Place>,
    jwks_place: Place,
}

impl Loaded {
    /// An error about `auth.keys[index]`, found when the key was looked into, with the line it is written on.
    pub fn key_error(&self, index: usize, message: &str) -> ConfigError {
        let place = self.key_places.get(index).unwrap_or(&Place::Whole);
        self.error(place, &format!("auth.keys[{index}]"), message)
    }

    /// An error about the contents of `auth.jwks_file`, with the line that names the file.
    pub fn jwks_error(&self, message: &str) -> ConfigError {
        self.error(&self.jwks_place, "auth.jwks_file", message)
    }

    fn error(&self, place: &Place, key: &str, message: &str) -> ConfigError {
        let mut report = Report::new(self.file.as_deref());
        report.add(place, key, message);
        report.take_error()
    }
}

/// Reads and checks the configuration, secret files included. Everything that is wrong is reported together, except
/// that a file that is not TOML is not looked into further.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    load_with(sources, &read_file)
}

/// [`load`] with another way to read files.
fn load_with(sources: &Sources, read: ReadFile<'_>) -> Result<Loaded, ConfigError> {
    let mut report = Report::new(sources.file.as_deref());
    let mut root = Table::default();
    if let Some(file) = &sources.file {
        match read_text(file, read) {
            Ok(text) => root = tree::parse(&text, &mut report),
            Err((place, message)) => report.add(&place, "", message),
        }
        if !report.is_empty() {
            return Err(report.take_error());
        }
    }
    tree::apply_environment(&mut root, &sources.environment);
    tree::apply_flags(&mut root, &sources.overrides, &mut report);
    names::check(&root, &mut report);
    let context = Context {
        base: sources.file.as_deref().and_then(Path::parent),
        read,
        development_secret: sources.development_secret.as_deref(),
        nowhere: if sources.file.is_some() {
            Place::Line(1)
        } else {
            Place::Whole
        },
    };
    let Resolved {
        settings,
        key_places,
        jwks_place,
        development,
    } = resolve::resolve(&root, &context, &mut report);
    report.finish(Loaded {
        settings,
        file: sources.file.clone(),
        development,
        key_places,
        jwks_place,
    })
}

/// Checks a TOML text alone: no environment, and no file that it names is opened (naming one is an error).
/// For tests and the fuzzer.
pub fn parse_str(text: &str) -> Result<Settings, ConfigError> {
    let name = Path::new("config");
    let sources = Sources {
        file: Some(name.to_owned()),
        ..Sources::default()
    };
    let read = |path: &Path| {
        if path == name {
            Ok(text.as_bytes().to_vec())
        } else {
            Err(io::Error::other("files are not read here"))
        }
    };
    load_with(&sources, &read).map(|loaded| loaded.settings)
}

/// The settings of the no-config mode: one node, no NATS, loopback only, one HS256 key. The secret is not checked.
pub fn development(secret: String) -> Settings {
    let context = Context {
        base: None,
        read: &read_file,
        development_secret: Some(&secret),
        nowhere: Place::Whole,
    };
    // Defaults alone: there is nothing to report.
    resolve::resolve(&Table::default(), &context, &mut Report::default()).settings
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    File::open(path)?.take(FILE_MAX_BYTES + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > FILE_MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is over 16 MiB"));
    }
    Ok(contents)
}

fn read_text(path: &Path, read: ReadFile<'_>) -> Result<String, (Place, String)> {
    let contents = read(path).map_err(|error| (Place::Whole, format!("cannot read the config file: {error}")))?;
    String::from_utf8(contents).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + valid.filter(|byte| **byte == b'\n').count();
        (
            Place::Line(line),
            "is not UTF-8 text; save the file as UTF-8".to_owned(),
        )
    })
}
