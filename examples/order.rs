//! A backend service: answers `order/create` of longwire's clients over NATS, and tells the user a moment later that the
//! order is paid. Run as many as you like: each call goes to one of them.
//!
//! ```sh
//! cargo run --example order -- nats://127.0.0.1:4222
//! ```
//!
//! Arguments: the NATS server (else `NATS_URL`, else this host's) and longwire's `nats.prefix` (else `NATS_PREFIX`, else
//! `longwire`). What a client sends, `{"path":"order/create","id":1,"body":{"sku":"a1"}}`, comes here as a NATS request.
#![allow(clippy::print_stdout)]

use std::env;
use std::error::Error;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};

/// How long the customer takes to pay.
const PAYMENT: Duration = Duration::from_secs(1);

fn setting(argument: usize, variable: &str, default: &str) -> String {
    let given = env::args().nth(argument).or_else(|| env::var(variable).ok());
    given.unwrap_or_else(|| default.to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = setting(1, "NATS_URL", "nats://127.0.0.1:4222");
    let prefix = setting(2, "NATS_PREFIX", "longwire");
    let nats = async_nats::connect(&url).await?;
    // All who subscribe with the queue group `order` share the calls.
    let subject = format!("{prefix}.call.order.create");
    let mut calls = nats.queue_subscribe(subject.clone(), "order".to_owned()).await?;
    // Answered once NATS has the subscription.
    nats.flush().await?;
    println!("answering {subject} on {url}");

    // A shop has the numbers from its database; here each instance counts for itself.
    let mut order = 0;
    while let Some(call) = calls.next().await {
        // The user's name is percent-encoded: as it stands, it fits into a subject.
        let user = header(&call, "Longwire-User");
        let body: Value = serde_json::from_slice(&call.payload).unwrap_or_default();
        let Some(sku) = body["sku"].as_str().filter(|sku| !sku.is_empty()) else {
            println!("{user} orders nothing");
            answer(&nats, &call, 400, &json!({"error": "an order needs a sku"})).await?;
            continue;
        };
        order += 1;
        println!("{user} orders {sku}: order {order}");
        answer(&nats, &call, 200, &json!({"order": order, "sku": sku})).await?;

        // The push goes to all of the user's connections, on whichever node they are.
        let push = (nats.clone(), format!("{prefix}.push.user.{user}"));
        tokio::spawn(async move {
            tokio::time::sleep(PAYMENT).await;
            let (nats, subject) = push;
            let message = format!(r#"{{"path":"order/paid","body":{{"order":{order}}}}}"#);
            nats.publish(subject, message.into()).await
        });
    }
    Ok(())
}

fn header<'a>(call: &'a Message, name: &str) -> &'a str {
    let value = call.headers.as_ref().and_then(|headers| headers.get(name));
    value.map_or("", |value| value.as_str())
}

/// Answers with any status and a JSON body. A client that sent no `id` waits for no answer, and there is nowhere to send
/// one to.
async fn answer(nats: &Client, call: &Message, status: u16, body: &Value) -> Result<(), async_nats::PublishError> {
    let Some(inbox) = call.reply.clone() else {
        return Ok(());
    };
    let mut headers = HeaderMap::new();
    headers.insert("Longwire-Status", status.to_string());
    nats.publish_with_headers(inbox, headers, body.to_string().into()).await
}
