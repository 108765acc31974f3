//! SIGHUP: keys rotate while clients stay, what cannot change is said, a broken file changes nothing.

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::json;

use crate::support::gateway::config;
use crate::support::tokens::{header, mint_with};
use crate::support::{Client, Gateway, TempDir, Value, token, wait_until};

const NEW_SECRET: &str = "the secret after the rotation, long enough too";

fn new_token(user: &str) -> String {
    mint_with(
        &header(Algorithm::HS256, None),
        &EncodingKey::from_secret(NEW_SECRET.as_bytes()),
        json!({"sub": user}),
    )
}

/// Whether a fresh connection can log in with this token.
fn admitted(gateway: &Gateway, token: &str) -> bool {
    let reply = Client::open(gateway).call(json!({"path": "connect", "id": 1, "token": token}));
    match reply["status"].as_u64() {
        Some(200) => true,
        Some(401) => false,
        _ => panic!("{reply}"),
    }
}

/// Rewrites the gateway's config and tells it.
fn reload(gateway: &Gateway, text: &str) {
    std::fs::write(&gateway.config, text).unwrap();
    gateway.run.signal("HUP");
}

#[test]
fn keys_rotate_and_connected_clients_stay() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    assert!(!admitted(&gateway, &new_token("u")));
    let keys = format!("auth.keys = [{{ id = \"k2\", algorithm = \"HS256\", secret = \"{NEW_SECRET}\" }}]");
    reload(&gateway, &config(&keys));
    wait_until("the new key to count", || admitted(&gateway, &new_token("u")));
    wait_until("the old key to be gone on every reactor", || {
        (0..8).all(|_| !admitted(&gateway, &token("u")))
    });
    client.fence();
    client.refused(
        json!({"path": "connect", "id": 1, "token": token("u")}),
        401,
        "token_invalid",
    );
    client.connect(&new_token("u"), Value::Null);
}

#[test]
fn a_secret_file_is_read_again() {
    let dir = TempDir::new();
    let secret = dir.write("secret", format!("{}\n", crate::support::SECRET));
    let keys = format!("auth.keys = [{{ algorithm = \"HS256\", secret_file = {secret:?} }}]");
    let gateway = Gateway::start_in(dir, &keys, |_| {});
    assert!(admitted(&gateway, &token("u")), "one trailing newline is cut");
    std::fs::write(&secret, NEW_SECRET).unwrap();
    gateway.run.signal("HUP");
    wait_until("the new key to count", || admitted(&gateway, &new_token("u")));
}

#[test]
fn what_cannot_change_while_running_is_said_and_the_rest_is_taken() {
    let gateway = Gateway::start("");
    let keys = format!("auth.keys = [{{ id = \"k2\", algorithm = \"HS256\", secret = \"{NEW_SECRET}\" }}]");
    let other = format!("{keys}\nserver.listen = [\"127.0.0.1:1\"]\nserver.reactors = 7\nserver.node = \"other\"");
    reload(&gateway, &config(&other));
    wait_until("the new key to count", || admitted(&gateway, &new_token("u")));
    for name in ["server.listen", "server.reactors", "server.node"] {
        gateway.log_line(&[name]);
    }
    assert_eq!(gateway.get("/v1/cluster").ok()["nodes"][0]["name"], "test");
}

#[test]
fn a_broken_file_is_reported_with_its_line_and_changes_nothing() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    reload(&gateway, "[auth]\nkeyz = 1\n");
    let place = format!("{}:2", gateway.config.display());
    gateway.log_line(&[&place]);
    client.fence();
    assert!(admitted(&gateway, &token("u")));
    std::fs::remove_file(&gateway.config).unwrap();
    gateway.run.signal("HUP");
    wait_until("the missing file to be reported", || {
        let name = gateway.config.display().to_string();
        gateway
            .log()
            .lines()
            .filter(|line| line.contains(&name) && !line.contains(&place))
            .count()
            >= 1
    });
    assert!(admitted(&gateway, &token("u")));
    client.fence();
}

#[test]
fn reloading_again_and_again_loses_nobody() {
    let gateway = Gateway::start("");
    let mut clients: Vec<Client> = (0..10).map(|i| Client::login(&gateway, &format!("u{i}"))).collect();
    for n in 0..10 {
        gateway.run.signal("HUP");
        assert_eq!(gateway.push(json!({"all": true}), "p", json!(n))["queued"], 10);
        for client in &mut clients {
            assert_eq!(client.json()["body"], n);
        }
    }
}

#[test]
fn a_jwk_set_is_read_again() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/keys");
    let dir = TempDir::new();
    let file = dir.write("jwks.json", r#"{"keys":[]}"#);
    let gateway = Gateway::start_in(dir, &format!("auth.jwks_file = {file:?}"), |_| {});
    let pem = std::fs::read(format!("{keys}/ed25519-private.pem")).unwrap();
    let key = EncodingKey::from_ed_pem(&pem).unwrap();
    let token = mint_with(
        &header(Algorithm::EdDSA, Some("test-ed25519")),
        &key,
        json!({"sub": "u"}),
    );
    assert!(!admitted(&gateway, &token));
    std::fs::copy(format!("{keys}/jwks.json"), file).unwrap();
    gateway.run.signal("HUP");
    wait_until("the set to count", || admitted(&gateway, &token));
}

#[test]
fn limits_and_permissions_change_for_what_follows() {
    let gateway = Gateway::start("");
    let mut client = Client::login(&gateway, "u");
    reload(
        &gateway,
        &config("server.origins = [\"https://a.example\"]\nauth.default_topics = [\"t\"]"),
    );
    let origin = [("origin", "https://b.example")];
    wait_until("the origin to be refused", || {
        Client::try_open(&gateway, &origin).is_err()
    });
    wait_until("a new login to have the new permissions", || {
        let mut next = Client::login(&gateway, "v");
        next.call(json!({"path": "subscribe", "id": 1, "body": {"topics": ["t"]}}))["status"] == 200
    });
    client.fence();
}

#[test]
fn api_keys_change_without_a_restart() {
    let gateway = Gateway::start("api.keys = [\"the-old-key-of-the-tests\"]");
    assert_eq!(gateway.get("/v1/cluster").status, 200);
    reload(&gateway, &config("api.keys = [\"the-new-key-of-the-tests\"]"));
    wait_until("the old key to be refused", || gateway.get("/v1/cluster").status == 401);
    let new = Some("the-new-key-of-the-tests");
    assert_eq!(
        crate::support::http::try_request("GET", &gateway.url("/v1/cluster"), new, None)
            .unwrap()
            .status,
        200
    );
}
