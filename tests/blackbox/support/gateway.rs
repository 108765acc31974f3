//! Starts the real binary, finds out where it listens, collects what it logs, and ends it with its test.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use toml::{Table, Value as Toml};

use super::{PATIENCE, SECRET, TempDir, http, wait_for, wait_until};

/// The program under test, with nothing of this process's environment but `PATH`.
pub fn longwire() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_longwire"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    command
}

/// A shell in the same bare environment, for what must be set around the program. Its arguments follow the script.
pub fn longwire_under(script: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null());
    command.arg("-c").arg(script);
    command
}

/// Lays `over` on `base`, table by table.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Toml::Table(below)), Toml::Table(above)) => merge(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// A config file for a gateway that listens wherever it can, changed by `changes` (TOML, usually dotted keys).
pub fn config(changes: &str) -> String {
    let base = format!(
        r#"
        server = {{ listen = ["127.0.0.1:0"], node = "test", reactors = 2 }}
        auth.keys = [{{ id = "k1", algorithm = "HS256", secret = "{SECRET}" }}]
        api.listen = "127.0.0.1:0"
        log.level = "debug"
        "#
    );
    let mut table: Table = base.parse().unwrap();
    merge(
        &mut table,
        changes
            .parse()
            .unwrap_or_else(|e| panic!("the test's own TOML is wrong: {e}\n{changes}")),
    );
    toml::to_string(&table).unwrap()
}

/// A started process and everything it has said so far.
pub struct Run {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

fn collect(pipe: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
}

impl Run {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (Arc::default(), Arc::default());
        collect(child.stdout.take().unwrap(), &stdout);
        collect(child.stderr.take().unwrap(), &stderr);
        Self { child, stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Standard output and standard error, in this order.
    pub fn output(&self) -> String {
        self.stdout.lock().unwrap().clone() + &self.stderr.lock().unwrap()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Sends a signal by name (`TERM`, `INT`, `HUP`) with the shell's own `kill`.
    pub fn signal(&self, name: &str) {
        let done = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.pid()))
            .status()
            .unwrap();
        assert!(done.success());
    }

    pub fn try_exit(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The exit code, when it has ended.
    pub fn exit_code(&mut self) -> i32 {
        let status = wait_for("the process to end", || self.try_exit());
        status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {status:?}\n{}", self.output()))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let output = self.output();
            let tail: Vec<&str> = output.lines().rev().take(60).collect();
            eprintln!("--- the last the gateway said ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// A gateway that is ready.
pub struct Gateway {
    pub run: Run,
    /// Its TCP WebSocket listeners, as they were configured.
    pub listens: Vec<SocketAddr>,
    pub api: SocketAddr,
    pub dir: TempDir,
    pub config: PathBuf,
    /// The API key that `request` uses.
    pub key: Option<String>,
}

impl Gateway {
    /// A gateway with the tests' config, changed by `changes` (TOML).
    pub fn start(changes: &str) -> Self {
        Self::start_in(TempDir::new(), changes, |_| {})
    }

    /// The same in a directory that holds files the config names, and with a say about the command.
    pub fn start_in(dir: TempDir, changes: &str, adjust: impl FnOnce(&mut Command)) -> Self {
        let gateway = Self::listening_in(dir, changes, adjust);
        wait_until("/readyz to say 200", || gateway.ready());
        gateway
    }

    /// The same, when it listens: whether it is ready is the test's own question.
    pub fn listening_in(dir: TempDir, changes: &str, adjust: impl FnOnce(&mut Command)) -> Self {
        let text = config(changes);
        let table: Table = text.parse().unwrap();
        let listens = table["server"]["listen"].as_array().unwrap();
        let tcp = listens
            .iter()
            .filter(|l| !l.as_str().unwrap().starts_with("unix:"))
            .count();
        let key = table["api"]
            .get("keys")
            .and_then(|keys| keys.get(0)?.as_str().map(str::to_owned));
        let config = dir.write("longwire.toml", text);
        let mut command = longwire();
        command
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .current_dir(dir.path());
        adjust(&mut command);
        let mut run = Run::start(&mut command);
        let (listens, api) = wait_listening(&mut run, tcp);
        Self {
            run,
            listens,
            api,
            dir,
            config,
            key,
        }
    }

    /// The first TCP listener.
    pub fn ws(&self) -> SocketAddr {
        self.listens[0]
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }

    pub fn ready(&self) -> bool {
        http::try_request("GET", &self.url("/readyz"), None, None).is_ok_and(|r| r.status == 200)
    }

    pub fn log(&self) -> String {
        plain(&self.run.stderr())
    }

    /// Waits for a log line with all these words, and gives it.
    pub fn log_line(&self, words: &[&str]) -> String {
        wait_for(&format!("a log line with {words:?}"), || {
            self.log()
                .lines()
                .find(|line| words.iter().all(|word| line.contains(word)))
                .map(str::to_owned)
        })
    }
}

/// Waits until the program has logged where it listens: `tcp` WebSocket addresses and the API's.
pub fn wait_listening(run: &mut Run, tcp: usize) -> (Vec<SocketAddr>, SocketAddr) {
    wait_for("the log lines that say where it listens", || {
        if let Some(status) = run.try_exit() {
            panic!("longwire ended instead of starting: {status}\n{}", run.output());
        }
        let log = plain(&run.output());
        let addresses = |what: &str| -> Vec<SocketAddr> {
            let lines = log.lines().filter(|line| line.contains(what));
            lines.filter_map(|line| field(line, "address")?.parse().ok()).collect()
        };
        let (ws, api) = (addresses("websocket listening"), addresses("api listening"));
        (ws.len() >= tcp && !api.is_empty()).then(|| (ws, api[0]))
    })
}

/// The value of `name=value` in a line of the text log.
pub fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let start = line.find(&format!("{name}="))? + name.len() + 1;
    line[start..]
        .split_whitespace()
        .next()
        .map(|value| value.trim_matches('"'))
}

/// Takes terminal colours out, so that a test fails for its own reason only.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            out.push(c);
        }
    }
    out
}

/// Runs the program to its end with these arguments: exit code, standard output, standard error.
pub fn run_to_end(arguments: &[&str], at: &Path) -> (i32, String, String) {
    command_to_end(longwire().args(arguments).current_dir(at))
}

/// Runs a command to its end, within `PATIENCE`.
pub fn command_to_end(command: &mut Command) -> (i32, String, String) {
    let mut run = Run::start(command);
    let code = run.exit_code();
    // The pipes' readers may be a moment behind the exit.
    let deadline = std::time::Instant::now() + PATIENCE;
    while (Arc::strong_count(&run.stdout) > 1 || Arc::strong_count(&run.stderr) > 1)
        && std::time::Instant::now() < deadline
    {
        std::thread::yield_now();
    }
    let stdout = run.stdout.lock().unwrap().clone();
    (code, stdout, run.stderr())
}
