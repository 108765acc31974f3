//! The worker processes: started, told, listened to. Ends them with itself.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command as Process, Stdio};
use std::sync::mpsc::Sender;

use crate::histogram::Delays;
use crate::plan::{Answer, Command, Plan, Tick};
use crate::result::Accounts;

/// What came from a worker, with its place.
pub type Said = (usize, Option<Answer>);

/// One worker.
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    /// Its part.
    pub plan: Plan,
    /// What it counted last.
    pub tick: Tick,
    /// How late it was since the measuring began.
    pub lag: Delays,
    /// Its tokens are made.
    pub ready: bool,
    /// Its accounts, once they are asked for.
    pub settled: Option<Accounts>,
}

impl Worker {
    /// Starts it; what it says goes to `said`, `None` when it ends.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(binary: &Path, plan: Plan, place: usize, said: &Sender<Said>) -> Result<Self, String> {
        let mut child = Process::new(binary)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal's Ctrl-C is for the coordinator.
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary.display()))?;
        let output = child.stdout.take().ok_or("a worker without output")?;
        let said = said.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).unwrap_or_else(|error| Answer::Failed(error.to_string()));
                if said.send((place, Some(answer))).is_err() {
                    return;
                }
            }
            let _ = said.send((place, None));
        });
        let input = child.stdin.take();
        let mut worker = Self {
            child,
            input,
            plan,
            tick: Tick::default(),
            lag: Delays::default(),
            ready: false,
            settled: None,
        };
        let line = serde_json::to_string(&worker.plan).map_err(|error| error.to_string())?;
        worker.write(&line)?;
        Ok(worker)
    }

    /// Tells it what to do.
    ///
    /// # Errors
    /// It is gone.
    pub fn tell(&mut self, command: &Command) -> Result<(), String> {
        let line = serde_json::to_string(command).map_err(|error| error.to_string())?;
        self.write(&line)
    }

    fn write(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("a worker without input")?;
        writeln!(input, "{line}").map_err(|error| format!("a worker is gone: {error}"))
    }

    /// How it ended, now that it says no more.
    pub fn end(&mut self) -> String {
        let status = self.child.wait();
        status.map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The end of its input ends it; whoever is busy or stuck is killed.
        self.input = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
