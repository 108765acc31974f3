//! A set of small numbers as bits. Owned by `directory`, one for each other node.

use super::directory::User;

/// See the top of the file.
#[derive(Debug, Default)]
pub struct UserSet(Vec<u64>);

impl UserSet {
    pub fn insert(&mut self, user: User) {
        let word = user as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (user % 64);
    }

    pub fn remove(&mut self, user: User) {
        if let Some(word) = self.0.get_mut(user as usize / 64) {
            *word &= !(1 << (user % 64));
        }
    }

    pub fn contains(&self, user: User) -> bool {
        self.0
            .get(user as usize / 64)
            .is_some_and(|word| word >> (user % 64) & 1 == 1)
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}
