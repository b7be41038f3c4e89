//! A set of matchers gives the verdicts of its matchers.

use tidemill_message::{Matcher, MatcherSet, Matches, MessageWriter};

use crate::support::{Random, UUID, full, minimal, parsed};

fn random_test(random: &mut Random) -> String {
    let mut pick = |choices: &[&str]| choices[random.below(choices.len() as u64) as usize].to_owned();
    let index = pick(&["", "[0]", "[1]", "[0][1]", "[2]", "[255]"]);
    let field = format!("Fields[{}]{index}", pick(&["a", "b", "ab", "foo", "missing", ""]));
    match pick(&["header", "field", "field", "pattern", "nil", "constant"]).as_str() {
        "header" => format!("{} {} '{}'", pick(&["Type", "Logger", "Hostname"]), pick(&["==", "!=", "<", ">="]), pick(&["a", "b", ""])),
        "field" => format!("{field} {} {}", pick(&["==", "!=", "<", ">="]), pick(&["'a'", "'b'", "1", "0.5", "-3"])),
        "pattern" => format!("{field} {} '{}'", pick(&["=~", "!~"]), pick(&["a", "^b", "[ab]+$"])),
        "nil" => format!("{field} {} {}", pick(&["==", "!="]), pick(&["NIL", "TRUE", "FALSE"])),
        _ => pick(&["TRUE", "FALSE", "Severity == 7", "Pid > 1", "Timestamp > 3"]),
    }
}

fn random_expression(random: &mut Random, depth: u32) -> String {
    match random.below(4) {
        0 if depth > 0 => format!("({})", random_expression(random, depth - 1)),
        1 if depth > 0 => format!("{} && {}", random_expression(random, depth - 1), random_expression(random, depth - 1)),
        2 if depth > 0 => format!("{} || {}", random_expression(random, depth - 1), random_expression(random, depth - 1)),
        _ => random_test(random),
    }
}

fn random_message(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = MessageWriter::new(&mut out, &UUID, random.below(6) as i64);
    let texts: [&[u8]; 3] = [b"a", b"b", b""];
    if random.chance() {
        writer.type_(texts[random.below(3) as usize]);
    }
    if random.chance() {
        writer.logger(texts[random.below(3) as usize]).pid(random.below(4) as i32);
    }
    for _ in 0..random.below(8) {
        let name = ["a", "b", "ab", "foo", "other", ""][random.below(6) as usize];
        match random.below(4) {
            0 => writer.field_strings(name, "", &texts[..random.below(4) as usize]),
            1 => writer.field_integers(name, "", &[1, 0][..random.below(3) as usize]),
            2 => writer.field_doubles(name, "", &[0.5, f64::NAN]),
            _ => writer.field_bool(name, random.chance()),
        };
    }
    out
}

#[test]
fn a_set_agrees_with_its_matchers() {
    let mut matches = Matches::new();
    for seed in 0..400 {
        let random = &mut Random(seed);
        let expressions = (0..random.below(20)).map(|_| random_expression(random, 3)).collect::<Vec<_>>();
        let matchers = expressions.iter().map(|text| Matcher::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")));
        let matchers = matchers.collect::<Vec<_>>();
        let set = MatcherSet::new(matchers.clone());
        for _ in 0..20 {
            let message = random_message(random);
            let message = parsed(&message);
            set.matches(&message, &mut matches);
            let expected = matchers.iter().map(|matcher| matcher.matches(&message)).collect::<Vec<_>>();
            assert_eq!(matches.verdicts(), expected, "seed {seed}: {expressions:?}");
        }
    }
}

#[test]
fn verdicts_are_told_by_place_and_do_not_outlive_their_message() {
    let matchers = ["Fields[color] == 'red'", "Type == 'x'", "TRUE", "Fields[color][1] == 'darkred'"];
    let set = MatcherSet::new(matchers.iter().map(|text| Matcher::parse(text).expect(text)).collect());
    let mut matches = Matches::new();
    assert_eq!((set.len(), set.is_empty(), matches.any(), matches.contains(0)), (4, false, false, false));
    set.matches(&parsed(&full()), &mut matches);
    assert_eq!(matches.iter().collect::<Vec<_>>(), [0, 2, 3]);
    assert!(matches.any() && matches.contains(3) && !matches.contains(1) && !matches.contains(4));
    set.matches(&parsed(&minimal()), &mut matches);
    assert_eq!(matches.verdicts(), [false, false, true, false]);
    MatcherSet::new(Vec::new()).matches(&parsed(&full()), &mut matches);
    assert_eq!((matches.any(), matches.verdicts().len()), (false, 0));
}
