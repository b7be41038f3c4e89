//! The documents that wait for a plugin's answer, in memory that is reused.

use tidemill_json::Padded;

/// A buffer up to this size is kept whatever the others have.
const SMALL_BYTES: usize = 64 << 10;
/// What the larger buffers may have together when they are not in use.
const LARGE_BYTES_MAX: usize = 16 << 20;

/// Documents by number, from 0.
#[derive(Default)]
pub struct Documents {
    slots: Vec<Slot>,
    used: usize,
    bytes: usize,
}

#[derive(Default)]
struct Slot {
    document: Padded,
    /// The greatest document it had.
    bytes_seen: usize,
}

impl Documents {
    /// The next free document, to be filled; [`Self::keep`] makes it one that waits.
    pub fn next(&mut self) -> &mut Padded {
        if self.used == self.slots.len() {
            self.slots.push(Slot::default());
        }
        &mut self.slots[self.used].document
    }

    /// The number of the document that [`Self::next`] gave, which now waits.
    pub fn keep(&mut self) -> usize {
        self.note_size();
        self.bytes += self.slots[self.used].document.len();
        self.used += 1;
        self.used - 1
    }

    /// A document by its number; also the one that [`Self::next`] gave.
    pub fn get(&self, number: usize) -> &Padded {
        &self.slots[number].document
    }

    /// The number that [`Self::next`] fills.
    pub fn next_number(&self) -> usize {
        self.used
    }

    /// The bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Nothing waits any more. Gives memory back where large documents have made it grow.
    pub fn clear(&mut self) {
        self.note_size();
        (self.used, self.bytes) = (0, 0);
        let mut large = 0;
        for slot in self.slots.iter_mut().filter(|slot| slot.bytes_seen > SMALL_BYTES) {
            large += slot.bytes_seen;
            if large > LARGE_BYTES_MAX {
                *slot = Slot::default();
            }
        }
    }

    fn note_size(&mut self) {
        if let Some(slot) = self.slots.get_mut(self.used) {
            slot.bytes_seen = slot.bytes_seen.max(slot.document.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_wait_and_are_forgotten() {
        let mut documents = Documents::default();
        for text in ["{}", "[1]"] {
            documents.next().set(text.as_bytes());
            documents.keep();
        }
        assert_eq!((&documents.get(0)[..], &documents.get(1)[..], documents.bytes()), (&b"{}"[..], &b"[1]"[..], 5));
        documents.clear();
        assert_eq!((documents.bytes(), documents.next_number()), (0, 0));
    }

    #[test]
    fn memory_of_large_documents_is_bounded() {
        let mut documents = Documents::default();
        let large = vec![b' '; 6 << 20];
        for _ in 0..5 {
            documents.next().set(&large);
            documents.keep();
        }
        documents.clear();
        let kept = documents.slots.iter().filter(|slot| slot.bytes_seen > 0).count();
        assert_eq!(kept, 2, "2 x 6 MiB are within 16 MiB");
    }
}
