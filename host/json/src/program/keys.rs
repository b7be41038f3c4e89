//! A perfect-hash table of the keys that a schema names.

/// The words of a key that decide where it lies and, up to 16 bytes, whether it is the one: its
/// first eight bytes (fewer: zero-filled), its last eight (none for keys under eight), its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyWords {
    pub first: u64,
    pub last: u64,
    pub len: u32,
}

impl KeyWords {
    /// The words of a key that lies anywhere; the kernels make them from padded memory instead.
    pub fn of(key: &[u8]) -> Self {
        let word = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(word)
        };
        let len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        match key.len() {
            0..8 => Self { first: word(key), last: 0, len },
            n => Self { first: word(&key[..8]), last: word(&key[n - 8..]), len },
        }
    }

    #[inline(always)]
    fn hash(self, seed: u64) -> u64 {
        (self.first ^ self.last.rotate_left(23) ^ u64::from(self.len) << 56).wrapping_mul(seed)
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    words: KeyWords,
    entry: u32,
}

const FREE: u32 = u32::MAX;

/// Keys, numbered from 0 in the order they were given; of equal keys the first counts.
///
/// The size and the multiplier are chosen so that, where possible, no two keys share a place; keys
/// that cannot be kept apart (equal in length and at both ends) are probed for linearly. Every hit is
/// verified.
#[derive(Debug)]
pub struct KeyTable {
    slots: Box<[Slot]>,
    keys: Box<[Box<[u8]>]>,
    seed: u64,
    shift: u32,
}

impl KeyTable {
    /// A table of `keys`.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k [u8]>) -> Self {
        let keys: Box<[Box<[u8]>]> = keys.into_iter().map(Box::from).collect();
        let words: Vec<KeyWords> = keys.iter().map(|key| KeyWords::of(key)).collect();
        let (bits, seed) = choose_layout(&words);
        let free = Slot { words: KeyWords { first: 0, last: 0, len: 0 }, entry: FREE };
        let mut table = Self { slots: vec![free; 1 << bits].into(), keys, seed, shift: 64 - bits };
        for (entry, words) in (0..).zip(words) {
            table.insert(words, entry);
        }
        table
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The number of `key`.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        self.find_words(KeyWords::of(key), key)
    }

    /// The number of `key`, whose words are known.
    #[inline(always)]
    pub(crate) fn find_words(&self, words: KeyWords, key: &[u8]) -> Option<usize> {
        let mut place = (words.hash(self.seed) >> self.shift) as usize;
        loop {
            let slot = &self.slots[place];
            if slot.entry == FREE {
                return None;
            }
            if slot.words == words && (words.len <= 16 || *self.keys[slot.entry as usize] == *key) {
                return Some(slot.entry as usize);
            }
            place = (place + 1) & (self.slots.len() - 1);
        }
    }

    fn insert(&mut self, words: KeyWords, entry: u32) {
        let mut place = (words.hash(self.seed) >> self.shift) as usize;
        while self.slots[place].entry != FREE {
            place = (place + 1) & (self.slots.len() - 1);
        }
        self.slots[place] = Slot { words, entry };
    }
}

/// How many multipliers are tried for each size.
const SEEDS_MAX: u64 = 64;

/// The bits of the table's size and the multiplier: the smallest size, from twice to sixteen times
/// the number of keys, at which some multiplier gives each key a place of its own.
fn choose_layout(words: &[KeyWords]) -> (u32, u64) {
    let least = (words.len() * 2).next_power_of_two().trailing_zeros().max(1);
    let seeds = || (0..SEEDS_MAX).map(|n| 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(2 * n + 1));
    let mut taken = Vec::new();
    for bits in least..least + 4 {
        for seed in seeds() {
            taken.clear();
            taken.resize(1 << bits, false);
            let is_free = |words: &KeyWords| !std::mem::replace(&mut taken[(words.hash(seed) >> (64 - bits)) as usize], true);
            if words.iter().all(is_free) {
                return (bits, seed);
            }
        }
    }
    (least + 1, 0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_key_and_no_other() {
        let keys: Vec<String> = (0..500).map(|n| format!("{}{n}", "k".repeat(n % 40))).collect();
        let table = KeyTable::new(keys.iter().map(|key| key.as_bytes()));
        for (n, key) in keys.iter().enumerate() {
            assert_eq!(table.find(key.as_bytes()), Some(n), "{key}");
            assert_eq!(table.find(format!("{key}x").as_bytes()), None);
        }
    }

    #[test]
    fn keys_equal_at_both_ends_are_kept_apart() {
        let keys = ["HISTOGRAM_A_MILLISECONDS", "HISTOGRAM_B_MILLISECONDS", "HISTOGRAM_C_MILLISECONDS"];
        let table = KeyTable::new(keys.iter().map(|key| key.as_bytes()));
        assert_eq!(keys.map(|key| table.find(key.as_bytes())), [Some(0), Some(1), Some(2)]);
        assert_eq!(table.find(b"HISTOGRAM_D_MILLISECONDS"), None);
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(KeyTable::new([]).find(b""), None);
        assert_eq!(KeyTable::new([&b""[..]]).find(b""), Some(0));
    }
}
