//! Columns by name: a look-up a message, so it neither hashes a whole name nor searches for one that was found before.

/// Places of [`Names::recent`]; a power of two.
const RECENT: usize = 256;
/// A place where nothing is.
const NOTHING: u32 = u32::MAX;

/// The names of a graph's columns.
#[derive(Debug, Default)]
pub(super) struct Names {
    names: Vec<String>,
    /// Numbers in the order of the names.
    sorted: Vec<u32>,
    /// The number of the name that was looked up last of those that share a place. Empty until the first look-up.
    recent: Vec<u32>,
}

impl Names {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// The name of a column.
    pub(super) fn get(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", |name| name)
    }

    /// The number of a name.
    #[inline]
    pub(super) fn find(&mut self, name: &[u8]) -> Option<u32> {
        let place = place(name);
        match self.recent.get(place) {
            Some(&number) if self.names.get(number as usize).is_some_and(|known| is_same(known.as_bytes(), name)) => Some(number),
            _ => self.search(name, place),
        }
    }

    #[inline(never)]
    fn search(&mut self, name: &[u8], place: usize) -> Option<u32> {
        let number = self.sorted_place(name).ok().map(|at| self.sorted[at])?;
        if self.recent.is_empty() {
            self.recent.resize(RECENT, NOTHING);
        }
        self.recent[place] = number;
        Some(number)
    }

    /// Adds a name that is not there, and answers its number.
    pub(super) fn add(&mut self, name: &str) -> u32 {
        let number = self.names.len() as u32;
        if let Err(at) = self.sorted_place(name.as_bytes()) {
            self.sorted.insert(at, number);
            self.names.push(name.to_owned());
        }
        number
    }

    fn sorted_place(&self, name: &[u8]) -> Result<usize, usize> {
        self.sorted.binary_search_by(|&number| self.get(number).as_bytes().cmp(name))
    }
}

/// Whether two names are the same, eight bytes at a time: WebAssembly's own comparison looks at each byte.
#[inline]
pub(super) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let same = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*one) == u64::from_le_bytes(*other);
    match (one.last_chunk(), other.last_chunk()) {
        (Some(one_end), Some(other_end)) => same((one_end, other_end)) && one.as_chunks().0.iter().zip(other.as_chunks().0).all(same),
        _ => one.iter().zip(other).all(|(one, other)| one == other),
    }
}

/// From the length and the ends of a name.
#[inline]
fn place(name: &[u8]) -> usize {
    let ends = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(23),
        _ => name.iter().fold(0, |ends, byte| ends << 8 | u64::from(*byte)),
    };
    let mixed = (ends ^ (name.len() as u64) << 57).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as usize % RECENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_again_also_where_they_share_a_place() {
        let mut names = Names::default();
        let all: Vec<String> =
            (0..1_000).map(|number| format!("GET /v1/{number}/status HTTP/1.1")).chain(["".into(), "a".into()]).collect();
        for (number, name) in (0..).zip(&all) {
            assert_eq!(names.find(name.as_bytes()), None);
            assert_eq!(names.add(name), number);
        }
        for turn in 0..2 {
            for (number, name) in (0..).zip(&all) {
                assert_eq!((names.find(name.as_bytes()), names.get(number)), (Some(number), &name[..]), "turn {turn}");
            }
        }
        assert_eq!((names.find(b"GET /v1/1000/status HTTP/1.1"), names.len()), (None, 1_002));
    }

    #[test]
    fn names_are_the_same_byte_for_byte() {
        let text: Vec<u8> = (0..40).collect();
        for len in 0..40 {
            let (name, copy) = (&text[..len], text[..len].to_vec());
            assert!(is_same(name, &copy) && !is_same(name, &text[..len + 1]));
            for at in 0..len {
                let mut other = name.to_vec();
                other[at] ^= 0x80;
                assert!(!is_same(name, &other), "byte {at} of {len}");
            }
        }
    }
}
