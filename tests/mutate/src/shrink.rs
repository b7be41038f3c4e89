//! A failing input made smaller.

/// How many smaller inputs are tried.
const TRIES_MAX: usize = 4_000;

/// The smallest input found, by leaving pieces of `input` out, of which `fails` is still true.
pub fn shrink(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut smallest = input.to_vec();
    let (mut tries, mut piece) = (0, smallest.len() / 2);
    while piece > 0 && tries < TRIES_MAX {
        let (mut at, mut is_smaller) = (0, false);
        while at < smallest.len() && tries < TRIES_MAX {
            let mut candidate = smallest.clone();
            candidate.drain(at..(at + piece).min(candidate.len()));
            tries += 1;
            if fails(&candidate) {
                smallest = candidate;
                is_smaller = true;
            } else {
                at += piece;
            }
        }
        if !is_smaller || piece > smallest.len() {
            piece /= 2;
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let input = b"{\"some\": [1, 2, 3], \"bad\": !, \"more\": \"text\"}";
        assert_eq!(shrink(input, |candidate| candidate.contains(&b'!')), b"!");
        assert_eq!(shrink(input, |candidate| candidate.starts_with(b"{") && candidate.contains(&b'!')), b"{!");
        assert_eq!(shrink(input, |_| false), input);
        assert_eq!(shrink(b"", |_| true), b"");
    }
}
