//! Ways to log in to NATS: right ones work over nodes, wrong ones are said in the log and on `/readyz`.

use serde_json::json;

use crate::nats::certificates::Certificates;
use crate::nats::{Nats, NatsServer, identity};
use crate::nodes::{Cluster, counts, listening, on, wait_members, wait_not_ready, wait_ready, with_urls};
use crate::support::{Client, Gateway, wait_until};

const USER: &str = "authorization { user: \"lw\", password: \"right one\" }\n";

/// Pushes cross two nodes with this in their config.
fn works(nats: NatsServer, changes: &str) {
    let cluster = Cluster::start_on(nats, 2, changes);
    assert_whole(&cluster.nodes);
}

#[track_caller]
fn assert_whole(nodes: &[Gateway]) {
    let mut clients: Vec<Client> = nodes.iter().map(|node| Client::login(node, "u")).collect();
    for node in nodes {
        assert_eq!(
            node.push(json!({"user": "u"}), "p", json!(1)),
            counts(nodes.len(), nodes.len())
        );
    }
    for client in &mut clients {
        assert_eq!(client.json()["path"], "p");
    }
}

/// A node with this in its config does not get ready, says one of these words in its log and on `/readyz`, and serves
/// its own connections.
#[track_caller]
fn refused(config: &str, words: &[&str]) -> Gateway {
    let node = listening(&format!("{config}\nlog.level = \"info\""));
    let named = |text: &str| {
        let text = text.to_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    let line = |line: &str| line.to_uppercase().contains("NATS") && named(line);
    wait_until(&format!("the log to say one of {words:?}"), || {
        node.log().lines().any(line)
    });
    let reason = wait_not_ready(&node);
    assert!(reason.to_uppercase().contains("NATS"), "{reason}");
    let mut client = Client::login(&node, "u");
    client.refused(json!({"path": "echo", "id": 1}), 503, "bus_unavailable");
    assert!(!node.log().contains("right one") && !node.log().contains("wrong one"));
    node
}

#[test]
fn user_and_password_log_in() {
    works(
        NatsServer::start_with(USER),
        "nats.user = \"lw\"\nnats.password = \"right one\"",
    );
}

#[test]
fn a_wrong_password_is_said_and_mends_itself_when_it_becomes_right() {
    let mut nats = NatsServer::start_with(USER);
    let wrong = on(
        std::slice::from_ref(&nats),
        "n1",
        "nats.user = \"lw\"\nnats.password = \"wrong one\"",
    );
    let node = refused(&wrong, &["authorization"]);
    let none = refused(&on(std::slice::from_ref(&nats), "n2", ""), &["authorization"]);
    // Whoever runs the server gives in.
    nats.kill();
    nats.settings("authorization { user: \"lw\", password: \"wrong one\" }\n");
    nats.run();
    wait_ready(&node);
    drop(none);
    let mut bus = Nats::connect_with(nats.port, json!({"user": "lw", "pass": "wrong one"})).unwrap();
    let mut client = Client::login(&node, "u");
    bus.publish("longwire.push.user.u", r#"{"path":"p"}"#);
    assert_eq!(client.json()["path"], "p");
}

#[test]
fn credentials_that_are_refused_after_a_restart_are_said_and_mend_themselves() {
    let nats = NatsServer::start_with(USER);
    let changes = "nats.user = \"lw\"\nnats.password = \"right one\"";
    let mut cluster = Cluster::start_on(nats, 2, changes);
    cluster.nats.kill();
    cluster
        .nats
        .settings("authorization { user: \"lw\", password: \"changed\" }\n");
    cluster.nats.run();
    for node in &cluster.nodes {
        let said = |line: &str| line.to_lowercase().contains("authorization");
        wait_until("the log to say so", || node.log().lines().any(said));
        wait_not_ready(node);
    }
    cluster.nats.kill();
    cluster.nats.settings(USER);
    cluster.nats.run();
    cluster.nodes.iter().for_each(wait_ready);
    wait_members(&cluster.nodes);
    assert_whole(&cluster.nodes);
}

#[test]
fn a_token_logs_in_and_a_wrong_one_does_not() {
    let settings = "authorization { token: \"right one\" }\n";
    let nats = NatsServer::start_with(settings);
    let wrong = on(std::slice::from_ref(&nats), "n9", "nats.token = \"wrong one\"");
    drop(refused(&wrong, &["authorization"]));
    works(nats, "nats.token = \"right one\"");
}

#[test]
fn a_credentials_file_logs_in_and_that_of_a_stranger_does_not() {
    let issued = identity::issue();
    let dir = crate::support::TempDir::new();
    let right = dir.write("right.creds", &issued.credentials);
    let foreign = dir.write("foreign.creds", &issued.foreign_credentials);
    let nats = NatsServer::start_with(&issued.settings);
    let with = |file: &std::path::Path| format!("nats.credentials_file = \"{}\"", file.display());
    drop(refused(
        &on(std::slice::from_ref(&nats), "n9", &with(&foreign)),
        &["authorization"],
    ));
    works(nats, &with(&right));
}

#[test]
fn tls_with_the_servers_ca_logs_in_and_without_it_the_reason_is_said() {
    let certificates = Certificates::new();
    let nats = NatsServer::start_with(&certificates.settings());
    let url = [format!("tls://127.0.0.1:{}", nats.port)];
    drop(refused(
        &with_urls(&url, "n9", ""),
        &["certificate", "unknownissuer", "tls"],
    ));
    let others = Certificates::new();
    let wrong_ca = format!("nats.tls_ca_file = \"{}\"", others.ca().display());
    drop(refused(
        &with_urls(&url, "n9", &wrong_ca),
        &["certificate", "unknownissuer", "tls"],
    ));
    let ca = format!("nats.tls_ca_file = \"{}\"", certificates.ca().display());
    let mut cluster = Cluster {
        nodes: crate::nodes::start_all(&[with_urls(&url, "n1", &ca), with_urls(&url, "n2", &ca)]),
        nats,
    };
    wait_members(&cluster.nodes);
    assert_whole(&cluster.nodes);
    cluster.nats.restart();
    cluster.nodes.iter().for_each(wait_ready);
    wait_members(&cluster.nodes);
    assert_whole(&cluster.nodes);
}

#[test]
fn a_tls_url_never_falls_back_to_a_server_without_tls() {
    let nats = NatsServer::start();
    let url = [format!("tls://127.0.0.1:{}", nats.port)];
    drop(refused(&with_urls(&url, "n1", ""), &["tls", "certificate", "connect"]));
}

/// What `docs/nats.md` says that a node may need.
const PERMISSIONS: &str = r#"
authorization { users = [
    { user: lw, password: "right one", permissions: {
        publish: [ "longwire.call.>", "longwire.event.>", "longwire.node.>", "longwire.push.>", "longwire.kick.>", "_INBOX.>" ]
        subscribe: [ SUBSCRIBE "longwire.kick.user.*", "longwire.node.*", "_INBOX.>" ]
        allow_responses: true
    } }
    { user: service, password: "right one" }
] }
"#;

const LOGIN: &str = "nats.user = \"lw\"\nnats.password = \"right one\"";

#[test]
fn the_permissions_that_the_docs_name_are_enough() {
    let nats = NatsServer::start_with(&PERMISSIONS.replace("SUBSCRIBE", "\"longwire.push.>\","));
    let cluster = Cluster::start_on(nats, 2, LOGIN);
    assert_whole(&cluster.nodes);
    let login = json!({"user": "service", "pass": "right one"});
    let mut service = Nats::connect_with(cluster.nats.port, login).unwrap();
    service.subscribe("longwire.call.>");
    service.subscribe("longwire.event.connected.>");
    service.flush();
    let mut client = Client::login(&cluster.nodes[0], "u");
    assert_eq!(service.next().subject, "longwire.event.connected.u");
    client.send(json!({"path": "echo", "id": 1}));
    let call = service.next();
    service.answer(&call, &[], "1");
    assert_eq!(client.json()["status"], 200);
    assert_eq!(service.request_many("longwire.push.user.u", "{}", 2).len(), 2);
    assert_eq!(service.request_many("longwire.kick.user.u", "", 2).len(), 2);
    assert_eq!(client.text(), "{}");
    assert_eq!(client.closed().0, 4403);
    assert_eq!(cluster.nodes[0].delete("/v1/users/u").ok(), json!({"closed": 0}));
}

#[test]
fn a_subscription_that_is_refused_makes_a_node_not_ready_and_is_said() {
    let nats = NatsServer::start_with(&PERMISSIONS.replace("SUBSCRIBE", ""));
    let node = listening(&on(std::slice::from_ref(&nats), "n1", LOGIN));
    let reason = wait_not_ready(&node);
    assert!(reason.contains("longwire.push"), "{reason}");
    let said = |line: &str| line.contains("NATS") && line.contains("longwire.push");
    wait_until("the log to say so", || node.log().lines().any(said));
}
