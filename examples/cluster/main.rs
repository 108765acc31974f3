//! The walk of the cluster example: logs three clients in on three nodes, pushes to one user's two devices, and shows
//! node by node what arrives. `examples/cluster/run` starts the nodes and this program, and stops them.
//!
//! Arguments: `[--once] NATS_URL TOKEN_OF_ANNA TOKEN_OF_BEN` and for each node `NAME,PID,WEBSOCKET_URL,API_URL`.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod client;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};

use client::{Client, Node, Saw, Seen};

/// What takes longer than this has gone wrong.
const PATIENCE: Duration = Duration::from_secs(30);

type Fault = Box<dyn Error>;

/// The clients: name, user's name as in the tokens, device.
const CLIENTS: [(&str, &str); 3] = [
    ("anna's phone", "anna"),
    ("anna's laptop", "anna"),
    ("ben's phone", "ben"),
];

fn main() -> ExitCode {
    match walk() {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("\nThat went wrong: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn walk() -> Result<(), Fault> {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let once = arguments.first().is_some_and(|first| first == "--once");
    if once {
        arguments.remove(0);
    }
    let [nats, anna, ben, nodes @ ..] = arguments.as_slice() else {
        return Err("start it with examples/cluster/run".into());
    };
    let nodes: Vec<Node> = nodes.iter().map(|node| Node::parse(node)).collect::<Result<_, _>>()?;
    let [n1, _, n3] = nodes.as_slice() else {
        return Err("three nodes were due".into());
    };

    println!("\nThree nodes of longwire, which share nothing but NATS:\n");
    println!("  nats  {nats}");
    for node in &nodes {
        println!("  {}    {}   {}", node.name, node.websocket, node.api);
    }

    println!("\n1. The nodes find each other.\n");
    for node in &nodes {
        println!("  {} sees {}", node.name, members(node, nodes.len())?.join(", "));
    }

    println!("\n2. Three clients log in, each on another node.\n");
    let (report, seen) = mpsc::channel();
    let mut clients = Vec::new();
    for (number, (name, user)) in CLIENTS.into_iter().enumerate() {
        let token = if user == "anna" { anna } else { ben };
        clients.push(Client::start(number, name, token, &nodes, report.clone()));
        let Saw {
            what: Seen::LoggedIn, ..
        } = next(&seen)?
        else {
            return Err(format!("{name} cannot log in").into());
        };
        println!("  {}  {name}", nodes[number].name);
    }
    let crowd = Crowd {
        clients,
        nodes: &nodes,
        seen,
    };

    println!(
        "\n3. A backend asks {} to push to anna, who is not there but on the other two.\n",
        n3.name
    );
    let text = r#"{"path":"order/paid","body":{"order":1}}"#;
    let request = r#"{"to":{"user":"anna"},"path":"order/paid","body":{"order":1}}"#;
    println!("  curl {}/v1/push -d '{request}'\n", n3.api);
    let began = Instant::now();
    let answer = http("POST", &format!("{}/v1/push", n3.api), request)?;
    let answered_ms = millis(began);
    crowd.check(text, began)?;
    println!("  {}  tells the backend after {answered_ms} ms: {answer}", n3.name);
    let due = json!({"matched": 2, "queued": 2, "dropped": 0, "nodes": {"asked": 3, "answered": 3}});
    if serde_json::from_str::<Value>(&answer)? != due {
        return Err(format!("the answer should have been {due}").into());
    }

    println!("\n4. A backend publishes straight to NATS, and asks for reports: every node gives one.\n");
    let text = r#"{"path":"order/sent","body":{"order":1}}"#;
    println!("  nats -s {nats} request longwire.push.user.anna '{text}' --replies=3\n");
    let (began, mut reports) = publish(nats, "longwire.push.user.anna", text, nodes.len())?;
    crowd.check(text, began)?;
    reports.sort();
    for report in &reports {
        println!("  {report}");
    }
    let queued = reports.iter().map(|report| {
        let report: Value = serde_json::from_str(report).unwrap_or_default();
        report["queued"].as_u64().unwrap_or_default()
    });
    if queued.sum::<u64>() != 2 {
        return Err("two connections should have queued it".into());
    }
    println!("\nEverything arrived.");
    if once {
        return Ok(());
    }

    println!("\nNow push yourself, through any node or straight to NATS:\n");
    let (one, other) = (
        r#"{"to":{"all":true},"path":"hello","body":"hi"}"#,
        r#"{"path":"hello","body":"hi"}"#,
    );
    println!("  curl {}/v1/push -d '{one}'", n1.api);
    println!("  nats -s {nats} pub longwire.push.user.anna '{other}'\n");
    println!("Or take a node away, and see who is left and where its client goes:\n");
    println!("  kill -9 {}", nodes[1].pid);
    println!("  curl {}/v1/cluster\n", n1.api);
    println!("What the clients see comes here. Ctrl-C stops everything.\n");
    crowd.show()
}

/// The clients and what they see.
struct Crowd<'a> {
    clients: Vec<Client>,
    nodes: &'a [Node],
    seen: mpsc::Receiver<Saw>,
}

impl Crowd<'_> {
    /// Shows what each client got since `began`: anna's exactly `text`, ben's nothing. A push that is reported as queued
    /// comes before the reply to a ping that is sent afterwards, so nobody has to guess how long to wait.
    fn check(&self, text: &str, began: Instant) -> Result<(), Fault> {
        self.clients.iter().for_each(Client::fence);
        let mut got: Vec<Vec<(String, Instant)>> = vec![Vec::new(); self.clients.len()];
        let mut fenced = 0;
        while fenced < self.clients.len() {
            let saw = next(&self.seen)?;
            match saw.what {
                Seen::Push(push) => got[saw.client].push((push, saw.at)),
                Seen::Fence => fenced += 1,
                Seen::LoggedIn | Seen::Lost(_) => return Err("a client lost its connection".into()),
            }
        }
        for (number, (name, user)) in CLIENTS.into_iter().enumerate() {
            let node = &self.nodes[number].name;
            match (got[number].as_slice(), user) {
                ([(push, at)], "anna") if push == text => {
                    let after_ms = at.duration_since(began).as_secs_f64() * 1000.0;
                    println!("  {node}  {name:<13}  got {push} after {after_ms:.1} ms");
                }
                ([], "ben") => println!("  {node}  {name:<13}  got nothing: it was not for ben"),
                (other, _) => return Err(format!("{name} on {node} got {other:?}").into()),
            }
        }
        Ok(())
    }

    /// Shows what the clients see until somebody stops the program.
    fn show(&self) -> Result<(), Fault> {
        loop {
            let saw = self.seen.recv()?;
            let (name, node) = (CLIENTS[saw.client].0, &self.nodes[saw.node].name);
            match saw.what {
                Seen::Push(push) => println!("  {node}  {name:<13}  got {push}"),
                Seen::LoggedIn => println!("  {node}  {name:<13}  logged in"),
                Seen::Lost(why) => println!("  {node}  {name:<13}  lost its connection: {why}"),
                Seen::Fence => {}
            }
        }
    }
}

fn next(seen: &mpsc::Receiver<Saw>) -> Result<Saw, Fault> {
    seen.recv_timeout(PATIENCE)
        .map_err(|_| format!("a client saw nothing for {} s", PATIENCE.as_secs()).into())
}

fn millis(since: Instant) -> String {
    format!("{:.1}", since.elapsed().as_secs_f64() * 1000.0)
}

/// The names of the nodes that this one knows, itself among them; waits until there are `due`.
fn members(node: &Node, due: usize) -> Result<Vec<String>, Fault> {
    let began = Instant::now();
    loop {
        let cluster: Value = serde_json::from_str(&http("GET", &format!("{}/v1/cluster", node.api), "")?)?;
        let members = cluster["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let names: Vec<String> = members
            .iter()
            .filter_map(|member| Some(member["name"].as_str()?.to_owned()))
            .collect();
        if names.len() == due {
            return Ok(names);
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("{} sees {names:?} alone", node.name).into());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// One call of a node's API; the body of the answer.
fn http(method: &str, url: &str, body: &str) -> Result<String, Fault> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build()
        .into();
    let request = ureq::http::Request::builder().method(method).uri(url).body(body)?;
    Ok(agent.run(request)?.body_mut().read_to_string()?)
}

/// Publishes with a reply inbox and waits for that many reports; when it published, and what they say.
fn publish(url: &str, subject: &'static str, text: &str, reports: usize) -> Result<(Instant, Vec<String>), Fault> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let nats = async_nats::connect(url).await?;
        let inbox = nats.new_inbox();
        let replies = nats.subscribe(inbox.clone()).await?;
        let began = Instant::now();
        nats.publish_with_reply(subject, inbox, text.to_owned().into()).await?;
        let all = replies
            .take(reports)
            .map(|reply| String::from_utf8_lossy(&reply.payload).into_owned());
        Ok((began, tokio::time::timeout(PATIENCE, all.collect()).await?))
    })
}
