//! What expressions mean.

use tidemill_message::matcher::limits;
use tidemill_message::{Matcher, MessageWriter};

use crate::matcher_cases::{expressions, tests_joined};
use crate::support::{UUID, full, minimal, parsed};

fn check(message: &[u8], expression: &str, expected: bool) {
    let matcher = Matcher::parse(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
    assert_eq!(matcher.matches(&parsed(message)), expected, "{expression}");
}

#[test]
fn expressions_on_a_full_message() {
    let message = full();
    expressions().for_each(|(expression, verdict)| check(&message, &expression, verdict));
    check(&message, &tests_joined(limits::TESTS_MAX), true);
    check(&message, &format!("Type == '{}'", "x".repeat(limits::STRING_BYTES_MAX)), false);
}

#[test]
fn expressions_on_a_message_without_headers() {
    let message = minimal();
    for header in ["Type", "Logger", "Hostname", "EnvVersion", "Payload"] {
        for (rest, expected) in [
            ("== NIL", true),
            ("!= NIL", false),
            ("== 'x'", false),
            ("== ''", false),
            ("!= 'x'", true),
            ("!= ''", true),
            ("< 'x'", true),
            ("<= 'x'", true),
            ("> 'x'", false),
            (">= ''", false),
            ("=~ 'x'", false),
            ("=~ ''", false),
            ("!~ 'x'", true),
            ("=~ '.'", false),
            ("!~ '.'", true),
        ] {
            check(&message, &format!("{header} {rest}"), expected);
        }
    }
    let pid = [("== NIL", true), ("!= NIL", false), ("== 0", false), ("!= 0", true), ("< -9e9", true), ("<= 0", true), ("> 0", false)];
    pid.iter().for_each(|(rest, expected)| check(&message, &format!("Pid {rest}"), *expected));
    check(&message, "Severity == 7", true);
    check(&message, "Fields[x] == NIL", true);
    check(&message, "Timestamp == 1e9", true);
    check(&message, "Timestamp == '1970-01-01T00:00:01Z'", true);
}

#[test]
fn an_empty_header_is_not_a_missing_one() {
    let mut message = Vec::new();
    MessageWriter::new(&mut message, &UUID, 0).type_(b"");
    check(&message, "Type != NIL && Type == '' && Type =~ '' && Type <= '' && Type >= ''", true);
    check(&message, "Type == NIL || Type < ''", false);
}

#[test]
fn parentheses_and_precedence_are_those_of_the_grammar() {
    let message = full();
    for bits in 0..8 {
        let [a, b, c] = [bits & 1 != 0, bits & 2 != 0, bits & 4 != 0];
        let text = |value: bool| if value { "Severity == 4" } else { "Severity == 5" };
        let expand = |expression: &str| expression.replace('a', "{a}").replace('b', "{b}").replace('c', "{c}");
        let fill = |expression: &str| expand(expression).replace("{a}", text(a)).replace("{b}", text(b)).replace("{c}", text(c));
        check(&message, &fill("a && b || c"), a && b || c);
        check(&message, &fill("a || b && c"), a || b && c);
        check(&message, &fill("a && (b) || c"), a && b || c);
        check(&message, &fill("(a) && (b || c)"), a && (b || c));
        check(&message, &fill("(a || b) && c"), (a || b) && c);
        check(&message, &fill("((a && (b)) || ((c)))"), a && b || c);
        check(&message, &fill("a && (b || c) && a || c && b"), a && (b || c) || c && b);
    }
}

#[test]
fn strings_have_two_escapes() {
    let check_text = |text: &str, literal: &str| {
        let mut message = Vec::new();
        MessageWriter::new(&mut message, &UUID, 0).type_(text.as_bytes());
        check(&message, &format!("Type == {literal}"), true);
    };
    check_text("it's", r"'it\'s'");
    check_text("it's", "\"it's\"");
    check_text("a\"b", r#""a\"b""#);
    check_text(r"a\b", r"'a\\b'");
    check_text(r"a\b", r"'a\b'");
    check_text(r#"a\"b"#, r#"'a\"b'"#);
    check_text(r"a\", r"'a\\'");
    check_text("h\u{e9}\u{1f40b}", "'h\u{e9}\u{1f40b}'");
}

#[test]
fn two_matchers_joined_match_what_both_match() {
    let message = full();
    let expressions = ["TRUE", "FALSE", "Severity == 4 || Pid == 1", "Severity == 5 || Pid == 1", "Type == 'x' || Fields[color] == 'red'"];
    for first in expressions {
        for second in expressions {
            let [a, b] = [first, second].map(|text| Matcher::parse(text).expect(text));
            let expected = a.matches(&parsed(&message)) && b.matches(&parsed(&message));
            assert_eq!(a.and(&b).matches(&parsed(&message)), expected, "({first}) && ({second})");
        }
    }
}

#[test]
fn no_truncated_or_changed_expression_makes_the_parser_panic() {
    for (expression, _) in expressions() {
        for (place, char) in expression.char_indices() {
            let _ = Matcher::parse(&expression[..place]);
            let end = place + char.len_utf8();
            for other in ["'", "\\", "%", "[", "(", "\u{e9}", ""] {
                let _ = Matcher::parse(&format!("{}{other}{}", &expression[..place], &expression[end..]));
            }
        }
    }
}

#[test]
fn matchers_are_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Matcher>();
    shared::<tidemill_message::MatcherSet>();
    assert!("Type == 'x'".parse::<Matcher>().is_ok());
}
