//! The flight recorder: the last happenings of all users in a bounded piece of memory. They lie one behind the other in
//! chunks, oldest first; each knows where the same user's one before it lies, and an index knows each user's newest. So
//! telling, forgetting the oldest and recalling one user cost the same however many there are, and a user costs an entry
//! of the index beside the happenings: no name is kept twice. Pure: no clock, no lock. Used by `History`.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::record::{self, Reader};
use crate::links::{ConnectionId, Happening};

/// What is taken from and given back to the allocator at once. Every happening fits many times over.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Events of a user that one question looks at: some 20 ms, in which nothing else is recorded.
const LOOKED_AT_MAX: u64 = 50_000;

struct Chunk {
    bytes: Vec<u8>,
    /// What moments in it are relative to: that of its first happening.
    base_ms: u64,
}

/// A user of whom something is kept.
struct User {
    /// Where the newest happening begins.
    newest: u64,
    /// How many are kept.
    count: u32,
    hash: u32,
}

impl User {
    /// The table takes its buckets from the low bits and its tags from the high ones.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) | u64::from(hash) << 32
    }
}

/// See the top of the file.
pub struct Recorder {
    chunks: VecDeque<Chunk>,
    /// The number of the oldest chunk; a place is a chunk's number times `chunk_bytes`, and the offset in it.
    first_chunk: u64,
    /// Where in the oldest chunk the oldest happening begins.
    tail: usize,
    users: HashTable<User>,
    hasher: foldhash::fast::RandomState,
    epoch: u64,
    bytes_max: usize,
    chunk_bytes: usize,
    events: usize,
    /// From this moment on everything that was told is kept, Unix milliseconds.
    since_ms: u64,
    /// A happening as it is written, before it has a place.
    scratch: Vec<u8>,
}

/// A happening that is kept.
struct Kept {
    happening: Happening,
    /// How far back the same user's one before it begins.
    previous: u64,
    /// Bytes that it takes.
    length: usize,
}

/// What is kept of a user.
#[derive(Debug, Default, PartialEq)]
pub struct Recalled {
    /// Oldest first.
    pub happenings: Vec<Happening>,
    /// More is kept than was asked for: older ones.
    pub more: bool,
}

impl Recorder {
    /// An empty one that takes at most `bytes_max` bytes; with 0 it keeps nothing. `epoch` is that of this process's
    /// connections, `now_unix_ms` when it begins.
    pub fn new(bytes_max: usize, chunk_bytes: usize, epoch: u64, now_unix_ms: u64) -> Self {
        Self {
            chunks: VecDeque::new(),
            first_chunk: 0,
            tail: 0,
            users: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            epoch,
            bytes_max,
            chunk_bytes,
            events: 0,
            since_ms: now_unix_ms,
            scratch: Vec::new(),
        }
    }

    /// Changes the bound; what is over is forgotten. One that was off begins at `now_unix_ms`.
    pub fn set_bytes_max(&mut self, bytes_max: usize, now_unix_ms: u64) {
        if self.bytes_max == 0 || bytes_max == 0 {
            *self = Self::new(bytes_max, self.chunk_bytes, self.epoch, now_unix_ms);
        } else {
            self.bytes_max = bytes_max;
            self.keep_bound(now_unix_ms);
        }
    }

    /// Whether anything is kept at all.
    pub fn is_on(&self) -> bool {
        self.bytes_max > 0
    }

    /// Happenings that are kept.
    pub fn events(&self) -> usize {
        self.events
    }

    /// From this moment on everything that was told is still here, Unix milliseconds.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Bytes that are taken: chunks, whether full or not, and the index.
    pub fn bytes(&self) -> usize {
        self.chunks.len() * self.chunk_bytes + self.users.allocation_size()
    }

    /// Keeps one more, and forgets the oldest where there is no room.
    pub fn push(&mut self, happening: &Happening) {
        if self.bytes_max == 0 {
            return;
        }
        let hash = self.hasher.hash_one(&*happening.user) as u32;
        let known = self.find(hash, &happening.user).map(|user| user.newest);
        // A guess at its place: in a new chunk it is another, and then it is written once more.
        let place = self.end();
        self.encode(
            happening,
            self.base_ms(happening),
            known.map_or(0, |newest| place - newest),
        );
        let fits = self
            .chunks
            .back()
            .is_some_and(|chunk| chunk.bytes.len() + self.scratch.len() <= self.chunk_bytes);
        if !fits {
            if self.scratch.len() * 2 > self.chunk_bytes {
                return;
            }
            self.chunks.push_back(Chunk {
                bytes: Vec::with_capacity(self.chunk_bytes),
                base_ms: happening.at_unix_ms,
            });
            let place = self.end();
            self.encode(
                happening,
                happening.at_unix_ms,
                known.map_or(0, |newest| place - newest),
            );
        }
        let place = self.end();
        let Some(chunk) = self.chunks.back_mut() else { return };
        chunk.bytes.extend_from_slice(&self.scratch);
        self.events += 1;
        self.enter(hash, &happening.user, place);
        self.keep_bound(happening.at_unix_ms);
    }

    /// What is kept of a user, or of one of the user's connections: the newest `limit` of them.
    pub fn recall(&self, user: &str, connection: Option<ConnectionId>, limit: usize) -> Recalled {
        let hash = self.hasher.hash_one(user) as u32;
        let mut recalled = Recalled::default();
        let Some(found) = self.find(hash, user) else {
            return recalled;
        };
        let (mut place, mut left) = (found.newest, found.count);
        while left > 0 {
            if u64::from(found.count) - u64::from(left) >= LOOKED_AT_MAX {
                recalled.more = true;
                break;
            }
            let Some(Kept {
                happening, previous, ..
            }) = self.read(place)
            else {
                break;
            };
            if connection.is_none_or(|connection| connection == happening.connection) {
                if recalled.happenings.len() == limit {
                    recalled.more = true;
                    break;
                }
                recalled.happenings.push(happening);
            }
            left -= 1;
            place = place.saturating_sub(previous);
        }
        recalled.happenings.reverse();
        recalled
    }

    /// The place behind the newest.
    fn end(&self) -> u64 {
        match self.chunks.back() {
            None => self.first_chunk * self.chunk_bytes as u64,
            Some(chunk) => {
                let number = self.first_chunk + self.chunks.len() as u64 - 1;
                number * self.chunk_bytes as u64 + chunk.bytes.len() as u64
            }
        }
    }

    fn base_ms(&self, happening: &Happening) -> u64 {
        self.chunks.back().map_or(happening.at_unix_ms, |chunk| chunk.base_ms)
    }

    fn encode(&mut self, happening: &Happening, base_ms: u64, previous: u64) {
        self.scratch.clear();
        record::write(&mut self.scratch, happening, base_ms, previous);
    }

    fn at(&self, place: u64) -> Option<(&[u8], u64)> {
        let number = (place / self.chunk_bytes as u64).checked_sub(self.first_chunk)?;
        let chunk = self.chunks.get(usize::try_from(number).ok()?)?;
        let offset = (place % self.chunk_bytes as u64) as usize;
        Some((chunk.bytes.get(offset..)?, chunk.base_ms))
    }

    fn read(&self, place: u64) -> Option<Kept> {
        let (bytes, base_ms) = self.at(place)?;
        let mut reader = Reader::new(bytes);
        let (user, previous) = (reader.user()?, reader.previous()?);
        let at_unix_ms = reader.at_unix_ms(base_ms)?;
        let happening = reader.happening(user, at_unix_ms, self.epoch)?;
        Some(Kept {
            happening,
            previous,
            length: bytes.len() - reader.rest().len(),
        })
    }

    fn is_of(&self, place: u64, user: &str) -> bool {
        let name = self.at(place).and_then(|(bytes, _)| Reader::new(bytes).user());
        name == Some(user)
    }

    fn find(&self, hash: u32, name: &str) -> Option<&User> {
        let is_it = |user: &User| user.hash == hash && self.is_of(user.newest, name);
        self.users.find(User::spread(hash), is_it)
    }

    /// The user's newest is there now.
    fn enter(&mut self, hash: u32, name: &str, place: u64) {
        let mut users = std::mem::take(&mut self.users);
        let is_it = |user: &User| user.hash == hash && self.is_of(user.newest, name);
        match users.find_mut(User::spread(hash), is_it) {
            Some(user) => {
                user.newest = place;
                user.count += 1;
            }
            None => {
                let user = User {
                    newest: place,
                    count: 1,
                    hash,
                };
                users.insert_unique(User::spread(hash), user, |user| User::spread(user.hash));
            }
        }
        self.users = users;
    }

    fn keep_bound(&mut self, now_unix_ms: u64) {
        while self.bytes() > self.bytes_max && self.events > 0 {
            let first = self.first_chunk;
            while self.first_chunk == first {
                if !self.forget_oldest() {
                    // What cannot be read cannot be skipped, as nothing else says where the next begins.
                    let since_ms = self.since_ms.max(now_unix_ms.saturating_add(1));
                    *self = Self::new(self.bytes_max, self.chunk_bytes, self.epoch, since_ms);
                    tracing::error!("the flight recorder cannot read what it kept, and begins anew");
                    return;
                }
            }
            // The index of a crowd that is forgotten goes, too.
            if self.users.len() * 4 < self.users.capacity() {
                self.users.shrink_to(self.users.len(), |user| User::spread(user.hash));
            }
        }
    }

    /// False if it cannot be read.
    fn forget_oldest(&mut self) -> bool {
        let place = self.first_chunk * self.chunk_bytes as u64 + self.tail as u64;
        let Some(Kept { happening, length, .. }) = self.read(place) else {
            return false;
        };
        let hash = self.hasher.hash_one(&*happening.user) as u32;
        let mut users = std::mem::take(&mut self.users);
        let is_it = |user: &User| user.hash == hash && self.is_of(user.newest, &happening.user);
        if let Ok(mut entry) = users.find_entry(User::spread(hash), is_it) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove();
            }
        }
        self.users = users;
        self.events -= 1;
        // At the same moment others may have happened that are still kept; of it alone not all is.
        self.since_ms = self.since_ms.max(happening.at_unix_ms.saturating_add(1));
        self.tail += length;
        if self.chunks.front().is_some_and(|chunk| self.tail >= chunk.bytes.len()) {
            self.chunks.pop_front();
            self.first_chunk += 1;
            self.tail = 0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::links::What;

    fn login(at_unix_ms: u64) -> Happening {
        Happening {
            connection: ConnectionId {
                epoch: 1,
                reactor: 0,
                index: 0,
                generation: 0,
            },
            user: "alice".into(),
            device: None,
            remote: None,
            at_unix_ms,
            what: What::Connected { expires_at: None },
        }
    }

    #[test]
    fn one_that_cannot_read_what_it_kept_begins_anew_and_says_since_when() {
        let mut recorder = Recorder::new(3_000, 1_024, 1, 0);
        recorder.push(&login(1));
        // A name of a length that is none.
        recorder.chunks[0].bytes[0] = 0xFF;
        let mut at_ms = 1;
        while recorder.since_ms() == 0 {
            at_ms += 1;
            recorder.push(&login(at_ms));
        }
        assert_eq!((recorder.events(), recorder.since_ms()), (0, at_ms + 1));
        recorder.push(&login(at_ms + 1));
        assert_eq!(recorder.recall("alice", None, 9).happenings, [login(at_ms + 1)]);
    }
}
