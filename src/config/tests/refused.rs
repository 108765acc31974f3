//! What is refused, with the line at fault and what the message has to say: names, kinds, keys, files.

use super::*;

/// `text`, with a good key behind it, has exactly one problem, on `line`, and its message has `part` in it.
pub(super) fn refused(text: &str, line: usize, part: &str) {
    refused_alone(&format!("{text}{KEY}"), line, part);
}

fn refused_alone(text: &str, line: usize, part: &str) {
    let error = load_text(text, &[], &[]).expect_err(text);
    assert_eq!(error.problems().len(), 1, "{text}\n{error}");
    assert_eq!(error.problems()[0].line(), Some(line), "{text}\n{error}");
    let place = format!("/etc/longwire/longwire.toml:{line}: ");
    assert!(error.to_string().starts_with(&place), "{error}");
    assert!(error.to_string().contains(part), "{part:?} is missing in: {error}");
}

/// One key with these fields is refused.
fn key_refused(fields: &str, line: usize, part: &str) {
    refused_alone(&format!("[[auth.keys]]\n{fields}"), line, part);
}

#[test]
fn unknown_names() {
    refused(
        "[auth]\nleway = '5s'\n",
        2,
        "unknown key auth.leway; did you mean leeway in [auth]?",
    );
    refused(
        "[server]\n\nmessage_bytes = 5\n",
        3,
        "did you mean message_bytes in [limits]?",
    );
    refused(
        "[server]\ncolour = 5\n",
        2,
        "unknown key server.colour; [server] has listen, node,",
    );
    refused(
        "[log]\n[sesions]\n",
        2,
        "unknown table [sesions]; did you mean [sessions]?",
    );
    refused("[tls]\ncert = 'x'\n", 1, "the tables are server, auth,");
    refused(
        "listen = '127.0.0.1:1'\n",
        1,
        "unknown key listen; did you mean listen in [server]?",
    );
    refused(
        "server = '127.0.0.1:1'\n",
        1,
        "server: is a string, but names a table; write [server]",
    );
    refused("[[server]]\nnode = 'x'\n", 1, "server: is a list, but names a table");
    key_refused(
        "algorithm = 'HS256'\nsecrets = 'x'\nsecret_file = 'secret'\n",
        3,
        "did you mean secret?",
    );
    key_refused(
        "algorithm = 'HS256'\nsecret_file = 'secret'\nleeway = '5s'\n",
        4,
        "move leeway above it",
    );
    key_refused(
        "algorithm = 'HS256'\nsecret_file = 'secret'\ncolour = 'x'\n",
        4,
        "a key has id, algorithm,",
    );
}

#[test]
fn what_is_no_toml() {
    refused("[server]\nnode = web-1\n", 2, "a text stands without quotes");
    refused("[server]\nnode =\n", 2, "a value is missing after the =");
    refused("[timeouts]\nping = 25s\n", 2, "such as \"25s\"");
    refused("[log]\n[server]\n[log]\n", 3, "log is written twice");
    refused("[server]\nnode = 'a'\nnode = 'b'\n", 3, "node is written twice");
    refused("\n\n[server\n", 3, "not valid TOML: ");
    refused_alone("[auth.keys]\nid='a'\n[[auth.keys]]\n", 3, "written [[auth.keys]]");
    let several = load_text("[timeouts]\nping = 25s\npong = 10s\n", &[], &[]).unwrap_err();
    assert_eq!(several.problems().len(), 2, "{several}");
}

#[test]
fn values_of_the_wrong_kind() {
    for (table, keys) in TABLES {
        for key in keys {
            let text = format!("[{table}]\n{key} = 1979-05-27\n");
            if (table, *key) == ("auth", "keys") {
                refused_alone(
                    &text,
                    2,
                    "auth.keys[0]: is a date; write [[auth.keys]] on a line of its own",
                );
            } else if (table, *key) == ("nats", "user") || (table, *key) == ("nats", "password") {
                // Either wants the other, too.
                assert!(load_text(&format!("{text}{KEY}"), &[], &[]).is_err());
            } else if (table, *key) == ("auth", "jwks_file") {
                refused(&text, 2, "must be a string in quotes, but is a date");
            } else {
                refused(&text, 2, &format!("{table}.{key}: must be "));
            }
        }
    }
    for field in KEY_FIELDS {
        let rest = match *field {
            "id" => "algorithm = 'HS256'\nsecret_file = 'secret'\n",
            "algorithm" => "secret_file = 'secret'\n",
            "public_key_file" => "algorithm = 'RS256'\n",
            _ => "algorithm = 'HS256'\n",
        };
        let text = format!("[[auth.keys]]\n{field} = 1979-05-27\n{rest}");
        refused_alone(
            &text,
            2,
            &format!("auth.keys[0].{field}: must be a string in quotes, but is a date"),
        );
    }
    refused(
        "[auth]\nrequire_exp = 'yes'\n",
        2,
        "must be true or false, without quotes, but is a string",
    );
    refused(
        "[server]\nreactors = '2'\n",
        2,
        "must be a whole number without quotes, but is a string",
    );
    refused("[server]\nreactors = 1.5\n", 2, "is a fraction");
    refused(
        "[server]\nlisten = [\n  '127.0.0.1:1',\n  9040]\n",
        4,
        "there is a number in it",
    );
    refused("[server]\norigins = [\n  '']\n", 3, "an empty list is written []");
    refused("[api]\nlisten = 9041\n", 2, "127.0.0.1:9041");
}

#[test]
fn keys_that_cannot_be_right() {
    refused_alone("[server]\n", 1, "auth.keys: has no key at all");
    refused_alone("[server]\n[auth]\nleeway = '1s'\n", 2, "add [[auth.keys]]");
    refused_alone("[auth]\nleeway = '1s'\nkeys = []\n", 3, "has no key at all");
    key_refused(
        "secret = '0123456789abcdef0123456789abcdef'\n",
        1,
        "algorithm: is missing; write one of HS256,",
    );
    key_refused(
        "algorithm = 'HS256'\n",
        1,
        "has no secret and no public key; write secret or secret_file",
    );
    key_refused("algorithm = 'ES256'\n", 1, "into public_key_file");
    key_refused("algorithm = 'HS256'\nsecret = ''\n", 3, "openssl rand -hex 64");
    key_refused(
        "algorithm = 'HS265'\nsecret_file = 'secret'\n",
        2,
        "did you mean \"HS256\"?",
    );
    key_refused("algorithm = 'none'\nsecret_file = 'secret'\n", 2, "write one of HS256,");
    key_refused(
        "algorithm = 'HS256'\nsecret = 'x'\nsecret_file = 'secret'\n",
        4,
        "is given beside secret",
    );
    key_refused(
        "algorithm = 'RS256'\nsecret_file = 'secret'\npublic_key_file = 'issuer.pem'\n",
        4,
        "beside secret_file",
    );
    key_refused(
        "algorithm = 'HS256'\nsecret = '0123456789abcdef0123456789abcde'\n",
        3,
        "is 31 bytes long, but HS256 needs at least 32",
    );
    key_refused(
        "algorithm = 'HS256'\nsecret_file = 'secret.short'\n",
        3,
        "is 31 bytes long",
    );
    key_refused(
        "algorithm = 'HS384'\nsecret = '0123456789abcdef0123456789abcdef'\n",
        3,
        "HS384 needs at least 48",
    );
    key_refused(
        "algorithm = 'HS512'\nsecret = '0123456789abcdef0123456789abcdef'\n",
        3,
        "HS512 needs at least 64",
    );
    let pem = "'''-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----'''";
    key_refused(
        &format!("algorithm = 'HS256'\nsecret = {pem}\n"),
        3,
        "holds a PEM, which is no secret for HS256",
    );
    key_refused("algorithm = 'HS256'\nsecret_file = 'issuer.pem'\n", 3, "holds a PEM");
    key_refused(
        &format!("algorithm = 'RS256'\nsecret = {pem}\n"),
        3,
        "write its PEM file into public_key_file",
    );
    key_refused(
        "algorithm = 'HS256'\npublic_key_file = 'issuer.pem'\n",
        3,
        "HS256 has no public key",
    );
    key_refused("algorithm = 'EdDSA'\npublic_key_file = 'secret'\n", 3, "is no PEM");
    key_refused(
        "algorithm = 'EdDSA'\npublic_key_file = 'private.pem'\n",
        3,
        "holds a private key",
    );
    refused(
        &format!("{KEY}[[auth.keys]]\nid = 'k2'\nalgorithm = 'HS512'\nsecret_file = 'secret'\n"),
        12,
        "is the id of an earlier key too",
    );
    let unnamed = KEY.replace("id = 'k1'\n", "");
    assert!(
        load_text(&format!("{unnamed}{unnamed}"), &[], &[]).is_ok(),
        "several keys may have no id"
    );
}

#[test]
fn files_that_cannot_be_read() {
    key_refused(
        "algorithm = 'HS256'\nsecret_file = '/x/gone'\n",
        3,
        "secret_file: cannot read /x/gone: ",
    );
    key_refused(
        "algorithm = 'HS256'\nsecret_file = 'gone'\n",
        3,
        "cannot read /etc/longwire/gone: ",
    );
    key_refused(
        "algorithm = 'RS256'\npublic_key_file = '/x/locked'\n",
        3,
        "let the user that longwire runs as read it",
    );
    refused(
        "[auth]\njwks_file = '/x/gone'\n",
        2,
        "auth.jwks_file: cannot read /x/gone: ",
    );
    refused("[auth]\njwks_file = '/x/secret.binary'\n", 2, "is no text");
    refused(
        "[nats]\ncredentials_file = '/x/gone'\n",
        2,
        "nats.credentials_file: cannot read",
    );
    refused("[nats]\ntls_ca_file = '/x/secret'\n", 2, "nats.tls_ca_file: is no PEM");
    refused("[api]\nkeys_file = '/x/gone'\n", 2, "api.keys_file: cannot read");
    refused("[api]\nkeys_file = '/x/secret.binary'\n", 2, "is no text");
    refused(
        "[api]\nkeys_file = '/x/api-keys.empty'\n",
        2,
        "/x/api-keys.empty holds no key; write one a line",
    );
    refused(
        "[api]\nkeys_file = '/x/api-keys.broken'\n",
        2,
        "/x/api-keys.broken:2 holds a key that no HTTP header can carry",
    );
    refused("[api]\nkeys = ['a b']\n", 2, "that no HTTP header can carry");
}

#[test]
fn everything_wrong_is_said_at_once_in_the_order_of_the_file() {
    let text = format!("[timeouts]\npong = '0s'\nping = 5\n[server]\nnode = 'a b'\n{KEY}");
    let error = load_text(&text, &[("LONGWIRE_LOG__LEVEL", "loud")], &["api.listen=x"]).unwrap_err();
    let lines: Vec<Option<usize>> = error.problems().iter().map(Problem::line).collect();
    assert_eq!(lines, [Some(2), Some(3), Some(5), None, None]);
    assert_eq!(error.to_string().lines().count(), 5);
}
