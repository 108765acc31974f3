//! Finds, reads and wholly checks the configuration, keys included. Used by every command that has one, and again on
//! SIGHUP.

use std::path::{Path, PathBuf};

use super::Failure;
use super::flags::SourceFlags;
use crate::config::{self, Loaded, Sources};
use crate::shard::auth::{KeyOrigin, Verifier};

/// Read where it is there and no `--config` is given.
const INSTALLED: &str = "/etc/longwire/longwire.toml";

/// A configuration that can be served with.
pub struct Checked {
    /// It.
    pub loaded: Loaded,
    /// What is odd about its keys, but no error.
    pub warnings: Vec<String>,
}

/// What the flags, the environment and the installed file come to. `development_secret` is used if nothing gives a key.
pub fn sources(flags: &SourceFlags) -> Sources {
    let installed = || Path::new(INSTALLED).exists().then(|| PathBuf::from(INSTALLED));
    Sources {
        file: flags.config.clone().or_else(installed),
        // A variable that is not UTF-8 cannot be one of ours.
        environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        overrides: flags.set.clone(),
        development_secret: None,
    }
}

/// Reads and checks everything that can be checked without opening a socket.
///
/// # Errors
/// All that is wrong, one problem a line, each with its place.
pub fn load(sources: &Sources) -> Result<Checked, String> {
    let loaded = config::load(sources).map_err(|error| error.to_string())?;
    let (_, warnings) = Verifier::new(&loaded.settings.auth).map_err(|error| {
        let located = match error.key {
            KeyOrigin::Configured(index) => loaded.key_error(index, &error.message),
            KeyOrigin::JwkSet => loaded.jwks_error(&error.message),
        };
        located.to_string()
    })?;
    super::logging::filter(&loaded.settings.log.level)?;
    Ok(Checked { loaded, warnings })
}

/// As `load`, with the exit code of a wrong configuration.
pub fn load_or_fail(sources: &Sources) -> Result<Checked, Failure> {
    load(sources).map_err(Failure::Usage)
}
