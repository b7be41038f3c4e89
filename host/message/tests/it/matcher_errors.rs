//! What is said about broken expressions.

use tidemill_message::Matcher;
use tidemill_message::matcher::limits;

use crate::matcher_cases::tests_joined;

fn check_error(expression: &str, text: &str) {
    let error = Matcher::parse(expression).expect_err(expression);
    assert_eq!(error.to_string(), text, "{expression}");
}

const TEST: &str =
    "a test (Uuid, Timestamp, Type, Logger, Severity, Payload, EnvVersion, Pid, Hostname, Fields[name], TRUE or FALSE) or '('";
const ANY_OPERATOR: &str = "'==', '!=', '>=', '>', '<=', '<', '=~' or '!~'";
const ORDER: &str = "'==', '!=', '>=', '>', '<=' or '<'";
const JOIN: &str = "'&&', '||' or the end";

#[test]
fn malformed_expressions_say_where_what_was_found_and_what_was_expected() {
    check_error("", &format!("at 0: expected {TEST}, found the end"));
    check_error("  ", &format!("at 2: expected {TEST}, found the end"));
    check_error("nonsense", &format!("at 0: expected {TEST}, found 'nonsense'"));
    check_error("Type = 'main'", &format!("at 5: expected {ANY_OPERATOR}, found '='"));
    check_error("Type", &format!("at 4: expected {ANY_OPERATOR}, found the end"));
    check_error("Pid == 'main'", "at 7: expected a number or NIL, found '''");
    check_error("Type == 'a' && (Severity==7 || Payload == 'b'", "at 45: expected '&&', '||' or ')', found the end");
    check_error("(Type == 'a'))", &format!("at 13: expected {JOIN}, found ')'"));
    check_error("Type == 'a' &&", &format!("at 14: expected {TEST}, found the end"));
    check_error("Type == 'a' & Type == 'b'", &format!("at 12: expected {JOIN}, found '&'"));
    check_error("Colour == 'red'", &format!("at 0: expected {TEST}, found 'Colour'"));
    check_error("Typed == 'main'", &format!("at 0: expected {TEST}, found 'Typed'"));
    check_error("'x' == Type", &format!("at 0: expected {TEST}, found '''"));
    check_error("Fields[]", &format!("at 8: expected {ANY_OPERATOR}, found the end"));
    check_error("Fields[name][]", "at 13: expected an index from 0 to 255, found ']'");
    check_error("Fields[name][a]", "at 13: expected an index from 0 to 255, found 'a'");
    check_error("Fields[name][0][]", "at 16: expected an index from 0 to 255, found ']'");
    check_error("Fields[name][0][0][] == 1", &format!("at 18: expected {ANY_OPERATOR}, found '['"));
    check_error("Fields[name][some", "at 13: expected an index from 0 to 255, found 'some'");
    check_error("Fields[name", "at 11: expected ']', found the end");
    check_error("Fields[name][1 == 2", "at 14: expected ']', found ' '");
    check_error("Fields[name][256] == 1", "at 13: an index is at most 255");
    check_error("Fields[name][0][999999999999] == 1", "at 16: an index is at most 255");
    check_error("Pid =~ '47'", &format!("at 4: expected {ORDER}, found '='"));
    check_error("Pid !~ '47'", &format!("at 4: expected {ORDER}, found '!'"));
    check_error("Severity =~ '6'", &format!("at 9: expected {ORDER}, found '='"));
    check_error("Timestamp =~ '6'", &format!("at 10: expected {ORDER}, found '='"));
    check_error("Type =~ 'main", "at 13: expected the closing quote, found the end");
    check_error("Type != 'main\"", "at 14: expected the closing quote, found the end");
    check_error("Type == 6", "at 8: expected a quoted string, found '6'");
    check_error("Type == TRUE", "at 8: expected a quoted string, found 'TRUE'");
    check_error("NIL", &format!("at 0: expected {TEST}, found 'NIL'"));
    check_error("Type > NIL", "at 7: expected a quoted string, found 'NIL'");
    check_error("Type =~ NIL", "at 8: expected a quoted string, found 'NIL'");
    check_error("Uuid == NIL", "at 8: expected a quoted string, found 'NIL'");
    check_error("Severity == NIL", "at 12: expected a number, found 'NIL'");
    check_error("Pid > NIL", "at 6: expected a number, found 'NIL'");
    check_error("Timestamp == NIL", "at 13: expected a number or a quoted date, found 'NIL'");
    check_error("Fields[name] > NIL", "at 15: expected a quoted string or a number, found 'NIL'");
    check_error("Fields[name] > TRUE", "at 15: expected a quoted string or a number, found 'TRUE'");
    check_error("Fields[name] == true", "at 16: expected a quoted string, a number, TRUE, FALSE or NIL, found 'true'");
    check_error("TRUE FALSE", &format!("at 5: expected {JOIN}, found 'FALSE'"));
    check_error("Type == 'abc'i", &format!("at 13: expected {JOIN}, found 'i'"));
    check_error("Type == 'abc'%", &format!("at 13: expected {JOIN}, found '%'"));
    check_error("Pid == 01", &format!("at 8: expected {JOIN}, found '1'"));
    check_error("Pid == 1.", &format!("at 8: expected {JOIN}, found '.'"));
    check_error("Pid == 1e", &format!("at 8: expected {JOIN}, found 'e'"));
    check_error("Pid == - 1", "at 7: expected a number or NIL, found '-'");
    check_error("Pid == inf", "at 7: expected a number or NIL, found 'inf'");
    check_error("Type == 'a\0b'", "at 10: a string cannot hold a NUL character");
    check_error("Type == 'a' \u{1f40b}", &format!("at 12: expected {JOIN}, found '\u{1f40b}'"));
}

#[test]
fn bad_dates_and_patterns_are_errors_too() {
    let hint = "expected a date such as '2024-02-29T12:00:00.5Z' or with an offset such as +01:00";
    check_error("Timestamp == '20231114T221320'", &format!("at 13: {hint}, found '20231114T221320'"));
    check_error("Timestamp == '2023-02-29T22:13:20Z'", &format!("at 13: {hint}, found '2023-02-29T22:13:20Z'"));
    check_error(
        "Type =~ '(.)%1'",
        "at 8: in the pattern, at its byte 3: back references are not supported: they have no linear-time equivalent",
    );
    check_error("Type =~ 'a[b'", "at 8: in the pattern, at its byte 1: a set '[' is not closed; write '%[' for the character");
}

#[test]
fn limits_are_enforced() {
    check_error(&tests_joined(limits::TESTS_MAX + 1), &format!("at {}: more than 128 tests", 128 * "Type =~ '.' && ".len()));
    check_error(&format!("Type == '{}'", "x".repeat(256)), "at 8: a string of 256 bytes, the limit is 255");
    let nested = |depth: usize| format!("{}TRUE{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Matcher::parse(&nested(limits::DEPTH_MAX)).is_ok());
    check_error(&nested(limits::DEPTH_MAX + 1), "at 64: more than 64 parentheses within each other");
    check_error(&"(".repeat(1_000_000), "at 64: more than 64 parentheses within each other");
}
