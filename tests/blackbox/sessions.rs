//! The session policy: how many connections a user or a device may have, with the connections spread over two reactors.

use serde_json::json;

use crate::support::{Client, Gateway, Value, token, wait_until};

/// Whether this client is still there and logged in.
#[track_caller]
fn assert_alive(clients: &mut [Client]) {
    clients.iter_mut().for_each(Client::fence);
}

#[test]
fn without_a_limit_a_user_may_have_many_connections() {
    let gateway = Gateway::start("");
    let mut clients: Vec<Client> = (0..30)
        .map(|i| {
            Client::login_with(
                &gateway,
                &token("u"),
                if i % 2 == 0 {
                    json!({"device": "d"})
                } else {
                    json!(null)
                },
            )
        })
        .collect();
    assert_eq!(gateway.connections_of("u"), 30);
    assert_alive(&mut clients);
}

#[test]
fn reject_answers_409_and_closes_the_newcomer_4409() {
    let gateway = Gateway::start("sessions.per_user_max = 2\nsessions.when_full = \"reject\"");
    let mut there = [Client::login(&gateway, "u"), Client::login(&gateway, "u")];
    for _ in 0..3 {
        let mut newcomer = Client::open(&gateway);
        newcomer.refused(
            json!({"path": "connect", "id": 1, "token": token("u")}),
            409,
            "too_many_connections",
        );
        assert_eq!(newcomer.closed().0, 4409);
    }
    assert_alive(&mut there);
    Client::login(&gateway, "somebody else").fence();
    assert_eq!(gateway.connections_of("u"), 2);
    wait_until("the refusals to be counted", || {
        gateway.closed_for("session_policy") == 3.0
    });
    let [one, _two] = there;
    one.close();
    wait_until("the place to be free again", || {
        let mut next = Client::open(&gateway);
        next.call(json!({"path": "connect", "id": 1, "token": token("u")}))["status"] == 200
    });
}

#[test]
fn logins_at_the_same_moment_never_get_past_the_limit() {
    let gateway = Gateway::start("sessions.per_user_max = 3");
    let mut clients: Vec<Client> = (0..16).map(|_| Client::open(&gateway)).collect();
    for client in &mut clients {
        client.send(json!({"path": "connect", "id": 1, "token": token("u")}));
    }
    let admitted = clients
        .iter_mut()
        .filter_map(|client| match client.json()["status"].as_u64() {
            Some(200) => Some(()),
            Some(409) => None,
            other => panic!("{other:?}"),
        });
    assert_eq!(admitted.count(), 3);
    assert_eq!(gateway.connections_of("u"), 3);
}

#[test]
fn a_later_token_on_the_same_connection_takes_no_second_place() {
    let gateway = Gateway::start("sessions.per_user_max = 1");
    let mut first = Client::login(&gateway, "u");
    for _ in 0..3 {
        first.connect(&token("u"), Value::Null);
    }
    first.fence();
    assert_eq!(gateway.connections_of("u"), 1, "a login anew is no second connection");
}

#[test]
fn replace_oldest_closes_the_oldest_4409() {
    let gateway = Gateway::start("sessions.per_user_max = 2\nsessions.when_full = \"replace_oldest\"");
    let mut first = Client::login(&gateway, "u");
    let mut second = Client::login(&gateway, "u");
    let mut other = Client::login(&gateway, "other");
    let mut third = Client::login(&gateway, "u");
    assert_eq!(first.closed().0, 4409);
    assert_alive(std::slice::from_mut(&mut second));
    let mut fourth = Client::login(&gateway, "u");
    assert_eq!(second.closed().0, 4409);
    third.fence();
    fourth.fence();
    other.fence();
    gateway.wait_connections("u", 2);
    wait_until("both to be counted", || gateway.closed_for("session_policy") == 2.0);
}

#[test]
fn one_per_device_closes_the_earlier_connection_of_the_same_user_and_device() {
    let gateway = Gateway::start("sessions.one_per_device = true");
    let login = |user: &str, device: &str| Client::login_with(&gateway, &token(user), json!({"device": device}));
    let mut phone = login("u", "phone");
    let mut tablet = login("u", "tablet");
    let mut others_phone = login("other", "phone");
    let mut nameless = [Client::login(&gateway, "u"), Client::login(&gateway, "u")];
    for _ in 0..5 {
        let mut next = login("u", "phone");
        assert_eq!(phone.closed().0, 4409);
        next.fence();
        phone = next;
    }
    tablet.fence();
    others_phone.fence();
    assert_alive(&mut nameless);
    gateway.wait_connections("u", 4);
}

#[test]
fn one_per_device_makes_room_before_the_limit_is_looked_at() {
    let gateway = Gateway::start("sessions.one_per_device = true\nsessions.per_user_max = 2");
    let login = |device: &str| Client::login_with(&gateway, &token("u"), json!({"device": device}));
    let mut phone = login("phone");
    let mut tablet = login("tablet");
    let mut phone_again = login("phone");
    assert_eq!(phone.closed().0, 4409);
    tablet.fence();
    phone_again.fence();
}

#[test]
fn a_connection_that_was_lost_gives_its_place_back() {
    let gateway = Gateway::start("sessions.per_user_max = 1");
    for _ in 0..5 {
        wait_until("a login to be let in", || {
            let mut client = Client::open(&gateway);
            // Dropped without a close at the end of this block.
            client.call(json!({"path": "connect", "id": 1, "token": token("u")}))["status"] == 200
        });
    }
}
