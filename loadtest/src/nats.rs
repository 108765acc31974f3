//! A raw NATS client: publishes, and answers calls like a service. Writes PUB itself, so that the client library is not
//! what is measured. No TLS, no reconnects: a bus that goes away ends what runs over it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CONNECT: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"name\":\"longwire-load\"}\r\n";

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(CONNECT)?;
    Ok(stream)
}

/// Publishes. Blocks where the bus is slower than the pushes: that shows as lag.
pub struct Publisher {
    out: Arc<Mutex<TcpStream>>,
    buffer: Vec<u8>,
    lost: Arc<AtomicBool>,
    pongs: std::sync::mpsc::Receiver<()>,
}

impl Publisher {
    /// Connects to `host:port`.
    ///
    /// # Errors
    /// The socket's.
    pub fn connect(address: &str) -> io::Result<Self> {
        let stream = connect(address)?;
        let reader = BufReader::new(stream.try_clone()?);
        let out = Arc::new(Mutex::new(stream));
        let lost = Arc::new(AtomicBool::new(false));
        let (pong, pongs) = std::sync::mpsc::channel();
        let (answers, gone) = (Arc::clone(&out), Arc::clone(&lost));
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if line.starts_with("PING") {
                    if let Ok(mut out) = answers.lock() {
                        let _ = out.write_all(b"PONG\r\n");
                    }
                } else if line.starts_with("PONG") {
                    let _ = pong.send(());
                } else if line.starts_with("-ERR") {
                    break;
                }
            }
            gone.store(true, Ordering::Relaxed);
        });
        Ok(Self {
            out,
            buffer: Vec::new(),
            lost,
            pongs,
        })
    }

    /// Files a message for the next `flush`.
    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.buffer
            .extend_from_slice(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
        self.buffer.extend_from_slice(payload);
        self.buffer.extend_from_slice(b"\r\n");
    }

    /// Sends what was filed.
    ///
    /// # Errors
    /// The bus is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        if self.lost.load(Ordering::Relaxed) {
            return Err(ErrorKind::ConnectionReset.into());
        }
        let mut out = self.out.lock().map_err(|_| io::Error::from(ErrorKind::Other))?;
        let written = out.write_all(&self.buffer);
        self.buffer.clear();
        written
    }

    /// Waits until the bus has taken everything.
    ///
    /// # Errors
    /// It does not say so within ten seconds.
    pub fn confirm(&mut self) -> io::Result<()> {
        self.buffer.extend_from_slice(b"PING\r\n");
        self.flush()?;
        let confirmed = self.pongs.recv_timeout(Duration::from_secs(10));
        confirmed.map_err(|_| ErrorKind::TimedOut.into())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Ok(out) = self.out.lock() {
            let _ = out.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// A service that answers every call below `<prefix>.call.` with what it was asked; ends with the process.
///
/// # Errors
/// The bus cannot be reached.
pub fn start_responder(address: &str, prefix: &str) -> io::Result<()> {
    let mut stream = connect(address)?;
    stream.write_all(format!("SUB {prefix}.call.> longwire-load 1\r\nPING\r\n").as_bytes())?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || respond(stream, &ready));
    let answered = is_ready.recv_timeout(Duration::from_secs(10));
    answered.map_err(|_| ErrorKind::TimedOut.into())
}

fn respond(mut stream: TcpStream, ready: &std::sync::mpsc::Sender<()>) {
    let mut kept: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut out = Vec::new();
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..n]);
        let mut used = 0;
        while let Some(step) = operation(&kept[used..], &mut out, ready) {
            used += step;
        }
        kept.drain(..used);
        if stream.write_all(&out).is_err() {
            return;
        }
        out.clear();
    }
}

/// Handles the operation that begins these bytes, if it is complete; its length.
fn operation(bytes: &[u8], out: &mut Vec<u8>, ready: &std::sync::mpsc::Sender<()>) -> Option<usize> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[..end]).unwrap_or_default();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let number = |word: &str| word.parse::<usize>().unwrap_or(0);
    let (reply, headers, total) = match words.as_slice() {
        ["MSG", _, _, reply, total] => (*reply, 0, number(total)),
        ["HMSG", _, _, reply, headers, total] => (*reply, number(headers), number(total)),
        ["MSG", .., total] | ["HMSG", .., total] => ("", 0, number(total)),
        ["PING"] => {
            out.extend_from_slice(b"PONG\r\n");
            return Some(end + 2);
        }
        ["PONG"] => {
            let _ = ready.send(());
            return Some(end + 2);
        }
        _ => return Some(end + 2),
    };
    let whole = end + 2 + total + 2;
    let payload = bytes.get(end + 2 + headers..whole)?;
    if !reply.is_empty() {
        out.extend_from_slice(format!("PUB {reply} {}\r\n", total - headers).as_bytes());
        out.extend_from_slice(payload);
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_answered_with_what_it_asked() {
        let (ready, _kept) = std::sync::mpsc::channel();
        let mut out = Vec::new();
        let asked = b"HMSG longwire.call.a.b 1 _INBOX.7 12 15\r\nNATS/1.0\r\n\r\n\"x\"\r\nPING\r\n";
        let used = operation(asked, &mut out, &ready);
        assert_eq!(used, Some(asked.len() - 6));
        assert_eq!(out, b"PUB _INBOX.7 3\r\n\"x\"\r\n");
        assert_eq!(operation(&asked[..50], &mut out, &ready), None);
    }
}
