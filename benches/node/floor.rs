//! The floor: a bare loop over epoll that accepts, registers and sends, and knows nothing. What it does a CPU second is
//! what the kernel allows.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::PUSH_BYTES;

/// The server's process, as its parent sees it.
pub struct Floor {
    child: Child,
    answers: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Floor {
    pub fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("role-floor")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        Self {
            child,
            answers,
            address: line.trim().parse().unwrap(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    fn wait(&mut self) {
        self.answers.read_line(&mut String::new()).unwrap();
    }

    /// Begins to accept: before the crowd comes, or it fills the listen queue.
    pub fn accept(&mut self, connections: usize) {
        self.tell(&format!("accept {connections}"));
    }

    pub fn wait_for_connections(&mut self) {
        self.wait();
    }

    pub fn fan_out(&mut self, rounds: u64) {
        self.tell(&format!("send {rounds}"));
        self.wait();
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server itself.
pub fn serve() {
    let mut poll = Poll::new().unwrap();
    let mut listener = longwire_listener();
    poll.registry()
        .register(&mut listener, Token(usize::MAX), Interest::READABLE)
        .unwrap();
    println!("{}", listener.local_addr().unwrap());
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let frame = [b'x'; PUSH_BYTES + 4];
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (command, number) = line.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        match command {
            "accept" => {
                while streams.len() < number {
                    poll.poll(&mut events, Some(std::time::Duration::from_millis(100)))
                        .unwrap();
                    while let Ok((mut stream, _)) = listener.accept() {
                        let interest = Interest::READABLE | Interest::WRITABLE;
                        poll.registry()
                            .register(&mut stream, Token(streams.len()), interest)
                            .unwrap();
                        streams.push(stream);
                    }
                }
            }
            _ => {
                for _ in 0..number {
                    for stream in &mut streams {
                        // A full socket is the crowd's fault; the loop must not end early.
                        while stream.write(&frame).is_err() {
                            std::thread::yield_now();
                        }
                    }
                }
            }
        }
        println!("done");
    }
}

fn longwire_listener() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM.nonblocking(), None).unwrap();
    socket.set_tcp_nodelay(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(65_535).unwrap();
    TcpListener::from_std(socket.into())
}
