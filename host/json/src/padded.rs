//! A document followed by bytes that a kernel may read but never has to look at.

use std::fmt;
use std::ops::Deref;

/// How many zero bytes follow a [`Padded`] document: the widest load of any kernel.
pub const PADDING: usize = 64;

/// A document with [`PADDING`] zero bytes behind it; its memory is reused from document to document.
///
/// A zero byte is never part of a JSON token, so every kernel stops at the end of the document
/// without comparing positions, and a wide load that begins inside the document stays inside this
/// buffer. Invariant: at least [`PADDING`] bytes follow the document and the first [`PADDING`] of them are zero.
pub struct Padded {
    bytes: Vec<u8>,
    len: usize,
}

impl Padded {
    /// An empty document.
    pub fn new() -> Self {
        Self { bytes: vec![0; PADDING], len: 0 }
    }

    /// Replaces the document by what `fill` writes into a buffer of `capacity` bytes.
    ///
    /// `fill` gets old bytes to overwrite and returns how many of them are the document; more than
    /// `capacity` counts as `capacity`.
    ///
    /// # Errors
    /// Whatever `fill` returns; the document is then empty.
    pub fn fill_with<E>(&mut self, capacity: usize, fill: impl FnOnce(&mut [u8]) -> Result<usize, E>) -> Result<(), E> {
        self.reserve(capacity);
        let filled = fill(&mut self.bytes[..capacity]);
        self.finish(filled.as_ref().map_or(0, |&len| len.min(capacity)));
        filled.map(drop)
    }

    /// Replaces the document by a copy of `document`.
    pub fn set(&mut self, document: &[u8]) {
        self.reserve(document.len());
        self.bytes[..document.len()].copy_from_slice(document);
        self.finish(document.len());
    }

    /// The document.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The document and the zero bytes behind it.
    pub(crate) fn with_padding(&self) -> &[u8] {
        &self.bytes
    }

    fn reserve(&mut self, capacity: usize) {
        if self.bytes.len() < capacity + PADDING {
            self.bytes.resize(capacity + PADDING, 0);
        }
    }

    /// Restores the invariant. The vector keeps its length where it can: growing it anew would
    /// write the whole buffer once more for each document.
    fn finish(&mut self, len: usize) {
        self.len = len;
        self.bytes[len..len + PADDING].fill(0);
    }
}

impl Default for Padded {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Padded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Padded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Padded").field("len", &self.len).finish_non_exhaustive()
    }
}
