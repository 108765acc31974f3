//! Who is there and how to be rid of them: users, connections, the cluster of one.

use serde_json::json;

use crate::support::tokens::now_ms;
use crate::support::{Client, Gateway, mint, now_s, wait_until};

#[test]
fn a_users_connections_are_described() {
    let gateway = Gateway::start("auth.default_topics = [\"*\"]");
    let before = now_ms();
    let expires_at = now_s() + 1000;
    let mut first = Client::open(&gateway);
    let claims = json!({"sub": "anna", "exp": expires_at});
    let connection =
        first.connect(&mint(claims), json!({"device": "phone", "topics": ["a", "b"]}))["connection"].clone();
    let answer = gateway.user("anna");
    assert_eq!((&answer["user"], &answer["online"]), (&json!("anna"), &json!(true)));
    let connections = answer["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1);
    let mut described = connections[0].clone();
    let since_ms = described["since_ms"].take().as_u64().unwrap();
    assert!((before..=now_ms()).contains(&since_ms), "{since_ms}");
    let mut topics: Vec<String> = serde_json::from_value(described["topics"].take()).unwrap();
    topics.sort();
    assert_eq!(topics, ["a", "b"]);
    assert_eq!(
        described,
        json!({
            "connection": connection, "node": "test", "device": "phone", "since_ms": null, "expires_at": expires_at,
            "topics": null, "remote": "127.0.0.1",
        })
    );
    let _second = Client::login(&gateway, "anna");
    assert_eq!(gateway.connections_of("anna"), 2);
    first.fence();
}

#[test]
fn somebody_offline_is_answered_too() {
    let gateway = Gateway::start("");
    assert_eq!(
        gateway.user("nobody"),
        json!({"user": "nobody", "online": false, "connections": []})
    );
}

#[test]
fn a_user_in_the_path_is_percent_decoded() {
    let gateway = Gateway::start("");
    let _client = Client::login(&gateway, "a.b@c/d e?ü%");
    let answer = gateway.user("a.b%40c%2Fd%20e%3F%C3%BC%25");
    assert_eq!(
        (&answer["user"], &answer["online"]),
        (&json!("a.b@c/d e?ü%"), &json!(true))
    );
    assert_eq!(
        gateway.delete("/v1/users/a.b%40c%2Fd%20e%3F%C3%BC%25").ok(),
        json!({"closed": 1})
    );
}

#[test]
fn a_connection_that_is_not_logged_in_belongs_to_nobody() {
    let gateway = Gateway::start("");
    let mut client = Client::open(&gateway);
    client.refused(json!({"path": "connect", "id": 1, "token": "x"}), 401, "token_invalid");
    assert_eq!(gateway.connections_of("u"), 0);
}

#[test]
fn deleting_a_user_closes_each_of_the_users_connections_4403() {
    let gateway = Gateway::start("");
    let mut phones: Vec<Client> = (0..5).map(|_| Client::login(&gateway, "anna")).collect();
    let mut other = Client::login(&gateway, "berta");
    assert_eq!(gateway.delete("/v1/users/anna").ok(), json!({"closed": 5}));
    for phone in &mut phones {
        assert_eq!(phone.closed().0, 4403);
    }
    other.fence();
    assert_eq!(gateway.user("anna")["online"], false);
    assert_eq!(gateway.delete("/v1/users/anna").ok(), json!({"closed": 0}));
    wait_until("them to be counted", || gateway.closed_for("kicked") == 5.0);
    Client::login(&gateway, "anna").fence();
}

#[test]
fn deleting_a_connection_closes_that_one_4403() {
    let gateway = Gateway::start("");
    let (mut first, id) = Client::login_named(&gateway, "anna");
    let mut second = Client::login(&gateway, "anna");
    assert_eq!(
        gateway.delete(&format!("/v1/connections/{id}")).ok(),
        json!({"closed": 1})
    );
    assert_eq!(first.closed().0, 4403);
    second.fence();
    gateway.wait_connections("anna", 1);
    first.wait_ended();
    gateway.delete(&format!("/v1/connections/{id}")).problem(404);
}

#[test]
fn an_unknown_connection_is_404() {
    let gateway = Gateway::start("");
    let (mut client, id) = Client::login_named(&gateway, "anna");
    let of_another_process = if id.starts_with('0') {
        id.replacen('0', "1", 1)
    } else {
        format!("0{}", &id[1..])
    };
    for unknown in [
        "nonsense",
        "0",
        "%00",
        &of_another_process,
        &format!("{id}0"),
        &id.to_uppercase().replace('0', "O"),
    ] {
        gateway.delete(&format!("/v1/connections/{unknown}")).problem(404);
    }
    client.fence();
}

#[test]
fn the_close_of_a_kick_is_logged_with_its_reason_and_connection() {
    let gateway = Gateway::start("");
    let (mut client, id) = Client::login_named(&gateway, "anna");
    gateway.delete("/v1/users/anna").ok();
    assert_eq!(client.closed().0, 4403);
    let line = gateway.log_line(&["kicked", &id]);
    assert!(line.contains("DEBUG"), "{line}");
}

#[test]
fn the_cluster_is_this_node() {
    let gateway = Gateway::start("");
    let before = now_ms();
    let clients: Vec<Client> = (0..3).map(|i| Client::login(&gateway, &format!("u{i}"))).collect();
    let mut answer = gateway.get("/v1/cluster").ok();
    let since_ms = answer["nodes"][0]["since_ms"].take().as_u64().unwrap();
    assert!(since_ms <= before && since_ms > before - 600_000, "{since_ms}");
    let rates = answer["nodes"][0].as_object_mut().unwrap();
    assert!(rates.remove("logins_per_s").unwrap().is_u64());
    assert!(rates.remove("logins_max_per_s").unwrap().as_u64().unwrap() >= 1_000);
    let version = env!("CARGO_PKG_VERSION");
    let node = json!({"name": "test", "version": version, "since_ms": null, "connections": 3, "state": "up"});
    assert_eq!(answer, json!({"nodes": [node]}));
    clients.into_iter().for_each(Client::close);
    wait_until("the count to go down", || {
        gateway.get("/v1/cluster").ok()["nodes"][0]["connections"] == 0
    });
}

#[test]
fn the_id_of_a_connection_that_has_gone_never_names_the_next_one_in_its_place() {
    let gateway = Gateway::start("server.reactors = 1");
    for _ in 0..20 {
        let (gone, id) = Client::login_named(&gateway, "anna");
        gone.close();
        gateway.wait_connections("anna", 0);
        let mut next = Client::login(&gateway, "anna");
        gateway.delete(&format!("/v1/connections/{id}")).problem(404);
        next.fence();
        next.close();
        gateway.wait_connections("anna", 0);
    }
}
