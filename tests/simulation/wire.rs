//! A socket between a client and the gateway, as an edge-triggered reactor sees it: bytes arrive in pieces, the kernel
//! takes only what it has room for, and either side can end.

use std::collections::VecDeque;

/// How a client ends its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// An orderly end after everything it sent.
    Fin,
    /// At once; what has not been read is lost.
    Reset,
}

/// What a read or a write came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Transfer {
    Bytes(Vec<u8>),
    Blocked,
    EndOfFile,
    Failed,
}

/// See the top of the file.
#[derive(Default)]
pub struct Wire {
    /// Sent by the client, not arrived yet.
    outgoing: VecDeque<u8>,
    /// Arrived, not read by the gateway.
    arrived: VecDeque<u8>,
    pub arrived_bytes: u64,
    /// Read by the gateway.
    pub delivered_bytes: u64,
    end: Option<End>,
    fin_arrived: bool,
    /// Written by the gateway, not read by the client.
    written: VecDeque<u8>,
    /// What the kernel takes before the client has read some.
    pub capacity: usize,
    /// The gateway shut its write side, or closed the socket.
    pub server_ended: bool,
    // What the reactor remembers of the socket, and edges that it has not been told of.
    pub readable: bool,
    pub writable: bool,
    pub read_closed: bool,
    pub edge_in: bool,
    pub edge_out: bool,
    /// The last write was cut short.
    pub blocked: bool,
}

impl Wire {
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity,
            writable: true,
            ..Self::default()
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        if self.end.is_none() {
            self.outgoing.extend(bytes);
        }
    }

    pub fn end(&mut self, end: End) {
        if self.end.is_none() || end == End::Reset {
            self.end = Some(end);
        }
        if end == End::Reset {
            self.outgoing.clear();
            self.arrived.clear();
            self.edge_in = true;
        }
    }

    pub fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    pub fn is_reset(&self) -> bool {
        self.end == Some(End::Reset)
    }

    /// Bytes that could arrive.
    pub fn outgoing(&self) -> usize {
        self.outgoing.len()
    }

    /// Lets `bytes` of what the client sent arrive, and its end behind all of them.
    pub fn arrive(&mut self, bytes: usize) {
        let bytes = bytes.min(self.outgoing.len());
        self.arrived.extend(self.outgoing.drain(..bytes));
        self.arrived_bytes += bytes as u64;
        self.edge_in |= bytes > 0;
        if self.outgoing.is_empty() && self.end == Some(End::Fin) && !self.fin_arrived {
            self.fin_arrived = true;
            self.edge_in = true;
        }
    }

    /// Whether an edge about this says that no more comes.
    pub fn announces_end(&self) -> bool {
        self.fin_arrived || self.is_reset()
    }

    /// What the gateway has not read of what is there for it.
    pub fn has_unread(&self) -> bool {
        !self.arrived.is_empty() || self.announces_end()
    }

    pub fn read(&mut self, scratch: usize) -> Transfer {
        if self.is_reset() {
            return Transfer::Failed;
        }
        let bytes: Vec<u8> = self.arrived.drain(..scratch.min(self.arrived.len())).collect();
        self.delivered_bytes += bytes.len() as u64;
        match bytes.is_empty() {
            false => Transfer::Bytes(bytes),
            true if self.fin_arrived => Transfer::EndOfFile,
            true => Transfer::Blocked,
        }
    }

    /// How much of `bytes` the kernel takes; `None`: the socket is broken.
    pub fn write(&mut self, bytes: &[u8]) -> Option<usize> {
        if self.is_reset() {
            return None;
        }
        let taken = bytes.len().min(self.capacity.saturating_sub(self.written.len()));
        self.written.extend(&bytes[..taken]);
        Some(taken)
    }

    /// The client reads.
    pub fn take(&mut self, bytes: usize) -> impl Iterator<Item = u8> + '_ {
        let bytes = bytes.min(self.written.len());
        self.edge_out |= bytes > 0 && !self.writable;
        self.written.drain(..bytes)
    }

    /// Bytes that the client could read.
    pub fn unread_by_client(&self) -> usize {
        self.written.len()
    }
}
