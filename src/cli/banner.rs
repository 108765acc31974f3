//! What a start without a configuration prints: everything that a newcomer needs for a first push, ready to be copied.

use std::net::SocketAddr;

/// The facts that the lines are made of.
pub struct Facts {
    /// `ws://…/ws`
    pub websocket: Option<String>,
    /// The API, and the page on it.
    pub api: SocketAddr,
    /// A token of the user `demo`.
    pub token: String,
}

/// Who the token is for.
pub const USER: &str = "demo";

/// The text, several lines.
pub fn text(facts: &Facts) -> String {
    let Facts { websocket, api, token } = facts;
    let websocket = websocket.as_deref().unwrap_or("(a Unix socket)");
    let version = env!("CARGO_PKG_VERSION");
    format!(
        r#"
longwire {version}, one node without a configuration, for this host alone

  WebSocket   {websocket}
  live page   http://{api}/
  token       {token}
              (user "{USER}", a day, for this run)

Connect (with websocat, or any client that sends this line):

  (echo '{{"path":"connect","id":1,"token":"{token}"}}'; cat) | websocat {websocket}

Then, in another terminal, push to everything that "{USER}" has connected:

  curl http://{api}/v1/push -d '{{"to":{{"user":"{USER}"}},"path":"hello","body":{{"text":"It works"}}}}'

Ctrl-C sends everybody away over half a minute and stops; once more stops at once. `longwire --help` says more.
"#
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn its_lines_can_be_used_as_they_are() {
        let facts = Facts {
            websocket: Some("ws://127.0.0.1:9040/ws".into()),
            api: "127.0.0.1:9041".parse().unwrap(),
            token: "a.b.c".into(),
        };
        let text = text(&facts);
        assert!(text.contains(r#"{"path":"connect","id":1,"token":"a.b.c"}"#));
        assert!(text.contains(
            r#"curl http://127.0.0.1:9041/v1/push -d '{"to":{"user":"demo"},"path":"hello","body":{"text":"It works"}}'"#
        ));
    }
}
