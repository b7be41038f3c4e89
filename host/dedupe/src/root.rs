//! The checkpoint that says which others count.

use crate::seen::Restored;

/// The format that this program writes.
const VERSION: u8 = 1;
/// Of the three levels of increments.
pub(crate) const LEVELS: usize = 3;

/// Increments by their running numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) next: u64,
}

impl Range {
    pub(crate) fn count(&self) -> u64 {
        self.next - self.first
    }
}

/// What is saved with every step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// The creation of the topic that `position` belongs to.
    pub(crate) incarnation: String,
    /// The next offset to read.
    pub(crate) position: i64,
    pub(crate) greatest_ns: i64,
    /// What came before this time was forgotten early.
    pub(crate) floor_s: i64,
    pub(crate) ranges: [Range; LEVELS],
}

impl Root {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let Self { incarnation, position, greatest_ns, floor_s, ranges } = self;
        let mut out = vec![VERSION];
        [*position, *greatest_ns, *floor_s].iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        for Range { first, next } in ranges {
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&next.to_le_bytes());
        }
        out.extend_from_slice(incarnation.as_bytes());
        out
    }

    /// # Errors
    /// What was found instead.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Restored> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Self::read(rest).ok_or_else(|| Restored::Unreadable(format!("it is damaged: {} bytes", bytes.len()))),
            Some((&found, _)) if found > VERSION => Err(Restored::Newer { found, newest: VERSION }),
            Some((version, _)) => Err(Restored::Unreadable(format!("it is of format {version}, this program reads {VERSION}"))),
            None => Err(Restored::Unreadable("it is empty".to_owned())),
        }
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let mut take = || {
            let (value, behind) = rest.split_first_chunk::<8>()?;
            rest = behind;
            Some(*value)
        };
        let [position, greatest_ns, floor_s] = [take()?, take()?, take()?].map(i64::from_le_bytes);
        let mut ranges = [Range::default(); LEVELS];
        for range in &mut ranges {
            *range = Range { first: u64::from_le_bytes(take()?), next: u64::from_le_bytes(take()?) };
        }
        let is_sound = ranges.iter().all(|range| range.first <= range.next);
        let incarnation = std::str::from_utf8(rest).ok()?.to_owned();
        is_sound.then_some(Self { incarnation, position, greatest_ns, floor_s, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_comes_back_and_damage_is_told() {
        let ranges = [Range { first: 1, next: 2 }, Range { first: 3, next: 3 }, Range { first: 0, next: u64::MAX }];
        let root = Root { incarnation: "6f1c".into(), position: 17, greatest_ns: -5, floor_s: i64::MIN, ranges };
        let bytes = root.encode();
        assert_eq!(Root::decode(&bytes), Ok(root.clone()));
        let unreadable = |error: &str| Err(Restored::Unreadable(error.to_owned()));
        assert_eq!(Root::decode(&bytes[..40]), unreadable("it is damaged: 40 bytes"));
        assert_eq!(Root::decode(&[]), unreadable("it is empty"));
        assert_eq!(Root::decode(&[0]), unreadable("it is of format 0, this program reads 1"));
        assert_eq!(Root::decode(&[9]), Err(Restored::Newer { found: 9, newest: 1 }));
        let turned = Root { ranges: [Range { first: 2, next: 1 }; LEVELS], ..root };
        assert!(Root::decode(&turned.encode()).is_err());
    }
}
