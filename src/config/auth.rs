//! `[auth]` and its keys: one algorithm and one secret or public key each, with what is refused before anybody looks
//! into the key itself (that is `shard::auth`, which knows the formats). Called by `resolve`.

use std::path::PathBuf;

use super::error::Place;
use super::names;
use super::resolve::Context;
use super::section::{Bounds, ReadFile, Section, values_of};
use super::settings::{Algorithm, Auth, KeyMaterial, KeySettings};
use super::tree::{Node, Value};
use super::values;

/// `[auth]`, and where its keys were written.
pub(super) struct Found {
    pub auth: Auth,
    /// By key: the file it was read from.
    pub key_files: Vec<Option<PathBuf>>,
    pub jwks_file: Option<PathBuf>,
    pub key_places: Vec<Place>,
    pub jwks_place: Place,
    pub development: bool,
}

/// A key, the file it was read from, and where it was written.
struct Key {
    settings: KeySettings,
    file: Option<PathBuf>,
    place: Place,
}

/// How to come by a secret: what most who stumble here need.
const MAKE_SECRET: &str = "make one with: openssl rand -hex 64";

/// Reads the table. `header` is the place of its header, where the file has one.
pub(super) fn read(section: &mut Section<'_, '_>, context: &Context<'_>, header: Option<&Place>) -> Found {
    let keys_given = match section.get("keys") {
        None => false,
        Some(node) => !matches!(&node.value, Value::Array(entries) if entries.is_empty()),
    };
    let jwks_given = section.is_given("jwks_file");
    let mut keys = read_keys(section, context);
    let development = match context.development_secret {
        Some(secret) if !keys_given && !jwks_given => {
            keys.push(development_key(secret));
            true
        }
        _ => false,
    };
    if !keys_given && !jwks_given && !development {
        let place = section.place("keys").or(header).unwrap_or(&context.nowhere);
        let advice = match context.nowhere {
            Place::Whole => {
                "name a file with --config, or set LONGWIRE_AUTH__KEYS='[{algorithm=\"HS256\", secret=\"…\"}]'"
            }
            _ => "add [[auth.keys]] with algorithm = \"HS256\" and a secret, or set auth.jwks_file",
        };
        let message = format!("has no key at all, so that nobody could log in; {advice} ({MAKE_SECRET})");
        section.problem(place, "keys", message);
    }
    let jwks_place = section.place("jwks_file").unwrap_or(&context.nowhere).clone();
    let (jwks_file, jwks) = section.file("jwks_file", context.read).unzip();
    let jwks = jwks.map(String::from_utf8).and_then(|text| match text {
        Ok(text) => Some(text),
        Err(_) => {
            section.wrong("jwks_file", "is no text; a JWK set is JSON");
            None
        }
    });
    let mut found = Found {
        auth: Auth {
            jwks,
            ..claims(section)
        },
        key_files: Vec::with_capacity(keys.len()),
        jwks_file,
        key_places: Vec::with_capacity(keys.len()),
        jwks_place,
        development,
    };
    for key in keys {
        found.auth.keys.push(key.settings);
        found.key_files.push(key.file);
        found.key_places.push(key.place);
    }
    found
}

/// Everything but the keys: what a token has to say.
fn claims(section: &mut Section<'_, '_>) -> Auth {
    const SECOND: u64 = 1_000;
    // `audience = ""` is how the shipped file says "not checked".
    let audience = if section.is_given("audience") {
        section.list("audience", |text| Ok(text.to_owned()))
    } else {
        None
    };
    let user_claim = section.parsed("user_claim", values::claim_name);
    let default_paths = section.list("default_paths", values::path_pattern);
    let default_topics = section.list("default_topics", values::topic_pattern);
    Auth {
        user_claim: user_claim.unwrap_or_else(|| "sub".into()),
        // Clocks that are further apart want mending, and a leeway is time that an expired token still works.
        leeway_ms: section.duration_ms("leeway", 5 * SECOND, Bounds::up_to(3_600 * SECOND)),
        require_exp: section.boolean("require_exp", true),
        issuer: section.text_or_none("issuer"),
        audience: audience.map(values_of).unwrap_or_default(),
        default_paths: default_paths.map_or_else(|| vec!["*".into()], values_of),
        default_topics: default_topics.map(values_of).unwrap_or_default(),
        keys: Vec::new(),
        jwks: None,
    }
}

fn development_key(secret: &str) -> Key {
    let material = KeyMaterial::Secret(secret.as_bytes().to_vec());
    let settings = KeySettings {
        id: String::new(),
        algorithm: Algorithm::HS256,
        material,
    };
    Key {
        settings,
        file: None,
        place: Place::Whole,
    }
}

/// Reads `auth.keys`; what is wrong with a key is reported, and the key left out.
fn read_keys(auth: &mut Section<'_, '_>, context: &Context<'_>) -> Vec<Key> {
    let Some(node) = auth.get("keys") else {
        return Vec::new();
    };
    let entries = match &node.value {
        Value::Array(entries) => entries.as_slice(),
        // A lone [auth.keys], or one value for an array.
        _ => std::slice::from_ref(node),
    };
    let mut keys: Vec<Key> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let name = format!("auth.keys[{index}]");
        let Value::Table(table) = &entry.value else {
            auth.report.add(&entry.place, &name, wrong_kind(entry));
            continue;
        };
        names::check_key_fields(table, &name, auth.report);
        let mut section = Section::new(&name, Some(table), context.base, auth.report);
        let Some(key) = read_key(&mut section, entry, context.read) else {
            continue;
        };
        let id = &key.settings.id;
        if !id.is_empty() && keys.iter().any(|earlier| earlier.settings.id == *id) {
            section.wrong(
                "id",
                format!("{id:?} is the id of an earlier key too; give each its own"),
            );
        }
        keys.push(key);
    }
    keys
}

fn wrong_kind(entry: &Node) -> String {
    let example = "[{algorithm=\"HS256\", secret_file=\"/run/secrets/longwire\"}]";
    match entry.place {
        Place::Line(_) => format!(
            "is {}; write [[auth.keys]] on a line of its own and the key's fields below it",
            entry.value.kind()
        ),
        _ => format!(
            "is {}, for it is no TOML list of tables; write {example}",
            entry.value.kind()
        ),
    }
}

fn read_key(section: &mut Section<'_, '_>, entry: &Node, read_file: ReadFile<'_>) -> Option<Key> {
    let id = section.text("id").unwrap_or_default();
    let algorithm = section.parsed("algorithm", values::algorithm);
    if section.get("algorithm").is_none() {
        let known = values::ALGORITHMS.map(|(word, _)| word).join(", ");
        section.problem(&entry.place, "algorithm", format!("is missing; write one of {known}"));
    }
    let source = one_source(section, entry, algorithm)?;
    let algorithm = algorithm?;
    let hash_bytes = hmac_hash_bytes(algorithm);
    let word = values::word(algorithm, &values::ALGORITHMS);
    match (source, hash_bytes) {
        ("public_key_file", Some(_)) => {
            section.wrong(
                source,
                format!("{word} has no public key; write secret or secret_file, or another algorithm"),
            );
            return None;
        }
        ("secret" | "secret_file", None) => {
            section.wrong(
                source,
                format!("{word} checks with a public key; write its PEM file into public_key_file"),
            );
            return None;
        }
        _ => {}
    }
    let (file, contents) = if source == "secret" {
        (None, section.text(source)?.into_bytes())
    } else {
        let (path, contents) = section.file(source, read_file)?;
        (Some(path), contents)
    };
    let material = match hash_bytes {
        Some(hash_bytes) => hmac_secret(contents, file.is_some(), hash_bytes, word),
        None => public_key(contents),
    };
    match material {
        Ok(material) => {
            let place = section.place(source).unwrap_or(&entry.place).clone();
            Some(Key {
                settings: KeySettings {
                    id,
                    algorithm,
                    material,
                },
                file,
                place,
            })
        }
        Err(message) => {
            section.wrong(source, message);
            None
        }
    }
}

/// Which of the three ways to give a key is used; none or several is a problem.
fn one_source(section: &mut Section<'_, '_>, entry: &Node, algorithm: Option<Algorithm>) -> Option<&'static str> {
    const SOURCES: [&str; 3] = ["secret", "secret_file", "public_key_file"];
    let given: Vec<&'static str> = SOURCES.into_iter().filter(|source| section.is_given(source)).collect();
    match given.as_slice() {
        [one] => Some(one),
        [] => {
            let empty = SOURCES.into_iter().find_map(|source| section.place(source));
            let advice = match algorithm.map(hmac_hash_bytes) {
                Some(None) => "write the PEM file of the public key into public_key_file".to_owned(),
                _ => format!("write secret or secret_file ({MAKE_SECRET})"),
            };
            let name = section.name.clone();
            section.report.add(
                empty.unwrap_or(&entry.place),
                &name,
                format!("has no secret and no public key; {advice}"),
            );
            None
        }
        [first, second, ..] => {
            section.wrong(second, format!("is given beside {first}; keep the one that is meant"));
            None
        }
    }
}

/// Bytes of an HMAC algorithm's hash; `None`: the algorithm is not symmetric.
fn hmac_hash_bytes(algorithm: Algorithm) -> Option<usize> {
    match algorithm {
        Algorithm::HS256 => Some(32),
        Algorithm::HS384 => Some(48),
        Algorithm::HS512 => Some(64),
        _ => None,
    }
}

/// A secret at least as long as the hash (RFC 7518, section 3.2).
fn hmac_secret(mut secret: Vec<u8>, from_file: bool, hash_bytes: usize, word: &str) -> Result<KeyMaterial, String> {
    if from_file {
        // Editors and `echo` end a file with a newline that is no part of the secret.
        if secret.last() == Some(&b'\n') {
            secret.pop();
            if secret.last() == Some(&b'\r') {
                secret.pop();
            }
        }
    }
    if holds_pem(&secret) {
        // A public key used as an HMAC secret lets everybody who has the public key sign.
        return Err(format!(
            "holds a PEM, which is no secret for {word}; write the PEM's own algorithm (RS256, ES256, …) \
             and public_key_file"
        ));
    }
    if secret.len() < hash_bytes {
        return Err(format!(
            "is {} bytes long, but {word} needs at least {hash_bytes}; {MAKE_SECRET}",
            secret.len()
        ));
    }
    Ok(KeyMaterial::Secret(secret))
}

fn public_key(pem: Vec<u8>) -> Result<KeyMaterial, String> {
    if !holds_pem(&pem) {
        return Err(
            "is no PEM (no line -----BEGIN PUBLIC KEY-----); write the public key with: openssl pkey -in KEY -pubout"
                .into(),
        );
    }
    if contains(&pem, b"PRIVATE KEY-----") {
        return Err(
            "holds a private key, which should not be here; write the public one with: openssl pkey -in KEY -pubout"
                .into(),
        );
    }
    Ok(KeyMaterial::PublicKeyPem(pem))
}

/// Whether something is, or pretends to be, a key or certificate in PEM.
pub(super) fn holds_pem(bytes: &[u8]) -> bool {
    contains(bytes, b"-----BEGIN ")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
