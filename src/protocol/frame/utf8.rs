//! Text that comes in pieces: valid UTF-8 at every moment, however the pieces cut its characters. Used by the decoder for
//! messages that are fragmented or that no single read brought whole.

use super::Violation;

/// What has come of a text message.
#[derive(Debug, Default)]
pub(super) struct TextBuffer {
    text: String,
    /// The first bytes of a character whose others have not come.
    carry: [u8; 4],
    carry_bytes: u8,
}

impl TextBuffer {
    /// How many bytes have been pushed.
    pub fn len(&self) -> usize {
        self.text.len() + usize::from(self.carry_bytes)
    }

    /// Bytes of heap it holds.
    pub fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Takes the next piece; `BadUtf8` as soon as nothing that follows could make it valid.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        while self.carry_bytes > 0 {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            let end = usize::from(self.carry_bytes) + 1;
            self.carry[end - 1] = byte;
            match std::str::from_utf8(&self.carry[..end]) {
                Ok(character) => {
                    self.text.push_str(character);
                    self.carry_bytes = 0;
                }
                Err(error) if error.error_len().is_none() => self.carry_bytes += 1,
                Err(_) => return Err(Violation::BadUtf8),
            }
        }
        match simdutf8::compat::from_utf8(piece) {
            Ok(text) => self.text.push_str(text),
            Err(error) if error.error_len().is_none() => {
                let (whole, cut) = piece.split_at(error.valid_up_to());
                // Valid up to here by the line above; std would only find out again.
                self.text
                    .push_str(simdutf8::basic::from_utf8(whole).map_err(|_| Violation::BadUtf8)?);
                self.carry[..cut.len()].copy_from_slice(cut);
                self.carry_bytes = cut.len() as u8;
            }
            Err(_) => return Err(Violation::BadUtf8),
        }
        Ok(())
    }

    /// The whole text; `BadUtf8` if it ends inside a character.
    pub fn finish(self) -> Result<String, Violation> {
        if self.carry_bytes > 0 {
            Err(Violation::BadUtf8)
        } else {
            Ok(self.text)
        }
    }
}
