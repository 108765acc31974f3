//! Tokens for the clients, minted with the gateway's own code. Never shows a secret.

use longwire::config::settings::Auth;
use longwire::shard::auth::{Grant, mint};

use crate::clock;
use crate::plan::Login;

/// They outlast every run.
const TTL_SECONDS: u64 = 7 * 24 * 3_600;

/// Mints tokens.
pub struct Mint {
    auth: Auth,
}

impl Mint {
    /// From a secret or a config; none for a server without logins.
    ///
    /// # Errors
    /// The config cannot be read.
    pub fn new(login: &Login) -> Result<Option<Self>, String> {
        let auth = match login {
            Login::None => return Ok(None),
            Login::Secret(secret) => {
                let mut auth = longwire::config::development(secret.clone()).auth;
                // A key id would have to be the server's.
                auth.keys.iter_mut().for_each(|key| key.id.clear());
                auth
            }
            Login::Config(path) => {
                let sources = longwire::config::Sources {
                    file: Some(path.clone()),
                    ..Default::default()
                };
                longwire::config::load(&sources)
                    .map_err(|error| error.to_string())?
                    .settings
                    .auth
            }
        };
        Ok(Some(Self { auth }))
    }

    /// A token of this user, who may use every path and topic.
    ///
    /// # Errors
    /// There is no HS key.
    pub fn token(&self, user: &str) -> Result<String, String> {
        let grant = Grant {
            user: user.to_owned(),
            ttl_seconds: TTL_SECONDS,
            paths: Some(vec!["*".to_owned()]),
            topics: Some(vec!["*".to_owned()]),
            device: None,
        };
        mint(&self.auth, &grant, clock::unix_ms()).map_err(|error| error.to_string())
    }
}

/// The name of a client's user.
pub fn user(client: u32) -> String {
    format!("load-{client}")
}
