//! The API's connections: HTTP/1.1, a bounded number of them, none of which may sit in the middle of a request head. Made
//! by hand around hyper because `axum::serve` has neither bound nor time limit.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Extension;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};

use super::State;
use crate::metrics::Seldom;

/// Connections that are served at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 256;
/// For a request head to be complete, and for an idle connection to send its next.
/// Silent connections must not keep the places of those who ask something for long, the health checks among them.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// For the last answers to be written before the process ends.
const LAST_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// How long accepting rests when it fails: descriptors are free again soon, or not at all.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How often the log says that it fails.
const SAY_EVERY_MS: u64 = 5_000;

/// Serves the API. Ringing the bell ends it; the future then waits for the last answers.
pub fn start(state: Arc<State>, listener: TcpListener) -> (Arc<Notify>, impl Future<Output = ()>) {
    let stop = Arc::new(Notify::new());
    let (stopping, open) = watch::channel(());
    tokio::spawn(accept(state, listener, Arc::clone(&stop), open));
    let stopped = async move {
        // Every connection holds a receiver until it has written its last answer.
        let _ = tokio::time::timeout(LAST_ANSWERS_WITHIN, stopping.closed()).await;
    };
    (stop, stopped)
}

async fn accept(state: Arc<State>, listener: TcpListener, stop: Arc<Notify>, open: watch::Receiver<()>) {
    let routes = super::routes(&state);
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut seldom = Seldom::new(SAY_EVERY_MS);
    // Dropped at the end of this function, which tells every connection to come to an end.
    let (_last_call, closing) = watch::channel(());
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = stop.notified() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                if let Some(not_logged) = seldom.says(state.shared.now_us() / 1_000) {
                    tracing::warn!(%error, not_logged, "the API cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let routes = routes.clone().layer(Extension(peer));
        let (open, closing) = (open.clone(), closing.clone());
        tokio::spawn(async move {
            converse(stream, peer, routes, closing).await;
            drop((permit, open));
        });
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, routes: axum::Router, mut closing: watch::Receiver<()>) {
    // Answers are small and whole; without this the last segment waits for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        // Who has said all there is to say (`nc -N`, a pipe at its end) still wants the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closing.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an API connection ended");
    }
}
