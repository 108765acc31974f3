//! What each close reason and each refusal usually means, and what to look at: the text beneath `longwire why`, which
//! `docs/monitoring.md` points to. Reasons of a newer node that are not here go without a word.

/// Of a close reason (`longwire_closed_total{reason}`).
pub fn of_close(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "client" => {
            "The client closed it: the page or app was left, or its own code said so. Nothing to mend here, unless the user \
             says otherwise: then look at what the client does on errors and when it goes to the background."
        }
        "connection_lost" => {
            "The socket ended without a close frame: the app was killed, the network changed, or a proxy in between gave up. \
             If it happens after the same number of seconds again and again, it is the proxy's idle time-out \
             (proxy_read_timeout in nginx): it must be longer than timeouts.ping."
        }
        "ping_timeout" => {
            "No sign of life within timeouts.pong after a ping: the device fell asleep, lost its network without a word, or \
             its page is frozen. Normal for phones. If computers on cables have it too, look at the network between, and \
             at whether the node itself was late (longwire_turn_seconds)."
        }
        "protocol_error" => {
            "The client sent a frame that RFC 6455 forbids: a home-made client with a fault, or something between that alters \
             what it forwards. Look at which client version these users have."
        }
        "unsupported_data" => "The client sent a binary frame; longwire takes text. A fault of the client.",
        "bad_utf8" => "The client sent text that is not UTF-8. A fault of the client.",
        "message_too_big" => {
            "A message was over limits.message_bytes. Send less at once, or raise the limit if such messages are meant."
        }
        "bad_messages" => {
            "Ten messages in a row were no JSON object with a path. A fault of the client: is it meant for longwire at all?"
        }
        "internal" => "A fault of longwire's own. Look at the node's log around this moment, and report it.",
        "drain" => {
            "The node was going down in order, by SIGTERM or longwire drain, and asked the client to come back elsewhere. Is \
             there no connected behind it, the client did not come back: does it heed code 1012 and retry_ms?"
        }
        "overload" => {
            "The node had more queued than limits.outbound_total_bytes, and this was among the longest queues. Push less, or \
             give the cluster more nodes or memory; longwire_outbound_bytes shows how it grew."
        }
        "auth_failed" => {
            "Three tokens were refused on this connection. The lines before say why: an expired one means that the client \
             does not fetch a fresh token, an invalid one a wrong key, issuer or audience."
        }
        "kicked" => {
            "Somebody closed it: api is a call of DELETE on the HTTP API or longwire kick, nats a service. The log of the \
             node, or the service's own, says who. Clients do not come back by themselves after 4403."
        }
        "connect_timeout" => {
            "The client did not log in within timeouts.connect: is its token late, or its network slow?"
        }
        "handshake_timeout" => "The request's head was not complete within timeouts.handshake.",
        "session_policy" => {
            "Another connection of the same user took its place (sessions.per_user_max, sessions.one_per_device). The \
             connected next to it is the one. If both are the same app, it opens two connections."
        }
        "token_expired" => {
            "The token's time was over and no fresh one had come. The client has to send one before expires_at, as in any \
             message; see docs/protocol.md."
        }
        "slow_consumer" => {
            "More than limits.outbound_bytes waited for this client: it read too slowly for what it was sent. A bad network, \
             a frozen page, or too much pushed to one user. It comes back and has missed what was queued."
        }
        "rate_limited" => {
            "Twenty messages in a row were over limits.messages_per_second: a client in a loop, or a limit that is too low \
             for what clients do."
        }
        _ => return None,
    })
}

/// Of a refused token (`longwire_auth_total{result}`).
pub fn of_refusal(error: &str) -> Option<&'static str> {
    Some(match error {
        "token_missing" => "A connect came without a token.",
        "token_invalid" => {
            "The token is malformed, signed with a key that this node does not have, or a claim does not fit (issuer, \
             audience, the user's). After a change of keys: does every node know the new one?"
        }
        "token_expired" => {
            "The token's exp has passed: the client used an old one. If fresh tokens are refused, too, the clocks of the \
             issuer and this node differ by more than auth.leeway."
        }
        "token_not_yet_valid" => "The token's nbf is still to come: the issuer's clock is ahead of this node's.",
        "user_mismatch" => {
            "A token of another user came on this user's connection: the client must close and connect anew when somebody \
             else logs in."
        }
        "too_many_connections" => {
            "The user has as many connections as sessions.per_user_max allows, and sessions.when_full is \"reject\"."
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{AuthResult, CloseReason};

    #[test]
    fn every_reason_and_refusal_is_explained() {
        for reason in CloseReason::ALL {
            assert!(of_close(reason.label()).is_some(), "{reason:?}");
        }
        for refusal in AuthResult::ALL.iter().filter(|result| **result != AuthResult::Ok) {
            assert!(of_refusal(refusal.label()).is_some(), "{refusal:?}");
        }
    }
}
