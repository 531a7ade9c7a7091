//! Memory that is lent while bytes are on the move, so that an idle connection owns none.
//!
//! Each thread keeps a few buffers. A buffer may be returned on another thread than the one that
//! lent it; it then belongs to that thread, and what exceeds the thread's share is freed.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Size of a [`Block`] in bytes: two full TLS records (2 × (16,384 + 22)) and an alert or key
/// update beside them, so that one system call moves 32 KiB of plaintext.
pub const BLOCK_BYTES: usize = 33 * 1024;

/// Blocks a thread keeps for later; a connection lends one at a time and never across an await.
const BLOCKS_KEPT_MAX: usize = 2;

/// Texts a thread keeps for later.
const TEXTS_KEPT_MAX: usize = 4;

/// A text that has grown beyond this is freed rather than kept, in bytes.
const TEXT_KEPT_BYTES_MAX: usize = 64 * 1024;

/// First capacity of a text, in bytes: a few stanzas.
const TEXT_BYTES: usize = 4 * 1024;

thread_local! {
    static BLOCKS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    static TEXTS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// [`BLOCK_BYTES`] of initialised memory with unspecified contents, for records on their way
/// from or to the socket.
pub struct Block(Box<[u8]>);

impl Block {
    /// Lends a block from this thread's store, or a new one.
    pub fn lend() -> Block {
        let kept = BLOCKS.try_with(|blocks| blocks.borrow_mut().pop()).ok().flatten();
        Block(kept.unwrap_or_else(|| vec![0; BLOCK_BYTES].into_boxed_slice()))
    }
}

impl Deref for Block {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let block = std::mem::take(&mut self.0);
        // Fails only while the thread itself ends; the block is freed then.
        let _ = BLOCKS.try_with(|blocks| {
            let mut blocks = blocks.borrow_mut();
            if blocks.len() < BLOCKS_KEPT_MAX {
                blocks.push(block);
            }
        });
    }
}

/// A growable buffer, for plaintext that is gathered or parsed within one turn of a task.
#[derive(Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// A text that owns no memory, until it is replaced by a lent one.
    pub const NONE: Text = Text(Vec::new());

    /// Lends an empty text from this thread's store, or a new one.
    pub fn lend() -> Text {
        let kept = TEXTS.try_with(|texts| texts.borrow_mut().pop()).ok().flatten();
        Text(kept.unwrap_or_else(|| Vec::with_capacity(TEXT_BYTES)))
    }

    /// A copy of `bytes` that holds no more memory than they need.
    pub fn exact(bytes: &[u8]) -> Text {
        Text(bytes.to_vec())
    }
}

impl Deref for Text {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Text {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.0);
        if !(TEXT_BYTES..=TEXT_KEPT_BYTES_MAX).contains(&text.capacity()) {
            return;
        }
        text.clear();
        let _ = TEXTS.try_with(|texts| {
            let mut texts = texts.borrow_mut();
            if texts.len() < TEXTS_KEPT_MAX {
                texts.push(text);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_block_is_lent_again() {
        let block = Block::lend();
        let address = block.as_ptr();
        drop(block);
        assert_eq!(Block::lend().as_ptr(), address);
        assert_eq!(Block::lend().len(), BLOCK_BYTES);
    }

    #[test]
    fn a_thread_keeps_no_more_than_its_share() {
        let lent: Vec<_> = (0..8).map(|_| (Block::lend(), Text::lend())).collect();
        drop(lent);
        assert_eq!(BLOCKS.with(|blocks| blocks.borrow().len()), BLOCKS_KEPT_MAX);
        assert_eq!(TEXTS.with(|texts| texts.borrow().len()), TEXTS_KEPT_MAX);
    }

    #[test]
    fn a_text_comes_empty_and_a_huge_one_is_freed() {
        let mut text = Text::lend();
        text.extend_from_slice(b"<message/>");
        drop(text);
        assert!(Text::lend().is_empty());
        while TEXTS.with(|texts| texts.borrow_mut().pop()).is_some() {}
        let mut text = Text::lend();
        text.reserve(TEXT_KEPT_BYTES_MAX + 1);
        drop(text);
        assert_eq!(TEXTS.with(|texts| texts.borrow().len()), 0);
    }
}
