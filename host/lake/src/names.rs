//! Names in the lake.

/// A table's folder below the lake's URL: every character outside `[a-z0-9_-]` after lower-casing becomes `_`.
pub fn folder(text: &str) -> String {
    text.to_lowercase().chars().map(|c| if matches!(c, 'a'..='z' | '0'..='9' | '_' | '-') { c } else { '_' }).collect()
}

/// A column's name: snake case by the rules of the original. An upper-case letter becomes lower case with `_` before it, unless it
/// is the first or follows another upper-case letter or a character that is no letter or digit; every other character that is no
/// letter or digit becomes `_`; a leading digit gets `_` before it.
pub fn snake(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let mut previous_joins = true;
    for c in text.chars() {
        match c {
            'A'..='Z' => {
                if !previous_joins {
                    out.push('_');
                }
                out.push(c.to_ascii_lowercase());
                previous_joins = true;
            }
            'a'..='z' | '0'..='9' => {
                out.push(c);
                previous_joins = false;
            }
            _ => {
                out.push('_');
                previous_joins = true;
            }
        }
    }
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_original() {
        for (text, expected) in [
            ("clientId", "client_id"),
            ("FooBar?", "foo_bar_"),
            ("aBC", "a_bc"),
            ("os", "os"),
            ("3d", "_3d"),
            ("a.b-c", "a_b_c"),
            ("UIMeasurements", "uimeasurements"),
            ("", "_"),
        ] {
            assert_eq!(snake(text), expected, "{text}");
        }
        for (text, expected) in [("eng-workflow", "eng-workflow"), ("Org.Mozilla", "org_mozilla"), ("a/b", "a_b"), ("ü", "_")] {
            assert_eq!(folder(text), expected, "{text}");
        }
    }
}
