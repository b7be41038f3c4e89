//! The name that was probably meant.

/// The candidate nearest to `name`, where one is near enough to be a slip of the finger.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &str| distance(name.as_bytes(), candidate.as_bytes());
    candidates.map(|candidate| (near(candidate), candidate)).min().filter(|(far, _)| *far <= name.len().max(3) / 3).map(|(_, name)| name)
}

/// Levenshtein's distance.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_a_stranger_is_not() {
        let names = ["partitions", "step_ms", "kind"];
        assert_eq!(nearest("partition", names.into_iter()), Some("partitions"));
        assert_eq!(nearest("stepms", names.into_iter()), Some("step_ms"));
        assert_eq!(nearest("colour", names.into_iter()), None);
    }
}
