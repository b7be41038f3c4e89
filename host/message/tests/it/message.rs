//! Reader and writer, against each other, against prost and against broken bytes.

use prost::Message as _;
use tidemill_message::proto::{Field, Message};
use tidemill_message::{FieldRef, MessageRef, MessageWriter, Value, ValueType};

use crate::support::{Random, TIMESTAMP, UUID, bytes, full, minimal, parsed};

fn owned_text(text: &[u8]) -> String {
    String::from_utf8(text.to_vec()).expect("UTF-8")
}

/// The message as prost would have it.
fn to_proto(message: &MessageRef<'_>) -> Message {
    Message {
        uuid: message.uuid().to_vec(),
        timestamp: message.timestamp(),
        r#type: message.type_().map(owned_text),
        logger: message.logger().map(owned_text),
        severity: Some(message.severity()),
        payload: message.payload().map(owned_text),
        env_version: message.env_version().map(owned_text),
        pid: message.pid(),
        hostname: message.hostname().map(owned_text),
        fields: message.fields().map(|field| field_to_proto(&field)).collect(),
    }
}

fn field_to_proto(field: &FieldRef<'_>) -> Field {
    let representation = owned_text(field.representation);
    let mut proto = Field {
        name: owned_text(field.name),
        value_type: Some(field.value_type() as i32),
        representation: (!representation.is_empty()).then_some(representation),
        ..Field::default()
    };
    for value in field.values() {
        match value {
            Value::String(text) => proto.value_string.push(owned_text(text)),
            Value::Bytes(bytes) => proto.value_bytes.push(bytes.to_vec()),
            Value::Integer(integer) => proto.value_integer.push(integer),
            Value::Double(double) => proto.value_double.push(double),
            Value::Bool(bool) => proto.value_bool.push(bool),
        }
    }
    proto
}

/// What both sides leave to the default, written out.
fn normalized(mut message: Message) -> Message {
    message.severity.get_or_insert(7);
    for field in &mut message.fields {
        field.value_type.get_or_insert(0);
        field.representation.take_if(|text| text.is_empty());
    }
    message
}

fn random_field(random: &mut Random) -> Field {
    let value_type = random.below(5) as i32;
    let mut field = Field {
        name: random.text(12),
        value_type: (value_type != 0 || random.chance()).then_some(value_type),
        representation: random.chance().then(|| random.text(5)),
        ..Field::default()
    };
    for _ in 0..random.below(4) {
        match value_type {
            0 => field.value_string.push(random.text(300)),
            1 => field.value_bytes.push(random.text(20).into_bytes()),
            2 => field.value_integer.push(random.integer()),
            3 => field.value_double.push(random.integer() as f64 / 3.0),
            _ => field.value_bool.push(random.chance()),
        }
    }
    field
}

fn random_message(random: &mut Random) -> Message {
    let mut text = |max| random.chance().then(|| random.text(max));
    let (r#type, logger, payload, env_version, hostname) = (text(10), text(10), text(200), text(4), text(20));
    Message {
        uuid: random.next().to_le_bytes().repeat(2),
        timestamp: random.integer(),
        r#type,
        logger,
        severity: random.chance().then(|| random.integer() as i32),
        payload,
        env_version,
        pid: random.chance().then(|| random.integer() as i32),
        hostname,
        fields: (0..random.below(6)).map(|_| random_field(random)).collect(),
    }
}

/// Writes what prost would write, headers in an order of the seed's choice.
fn write(message: &Message, random: &mut Random) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let uuid = message.uuid.as_slice().try_into().expect("16 bytes");
    let mut writer = MessageWriter::new(&mut out, uuid, message.timestamp);
    let first = random.below(7);
    for place in 0..7 {
        write_header(&mut writer, message, (first + place) % 7);
        if place == 2 {
            message.fields.iter().for_each(|field| write_field(&mut writer, field));
        }
    }
    assert!(out.starts_with(b"before"));
    out.split_off(6)
}

fn write_header(writer: &mut MessageWriter<'_>, message: &Message, which: u64) {
    let text = |text: &Option<String>, write: &mut dyn FnMut(&[u8])| text.iter().for_each(|text| write(text.as_bytes()));
    let number = |number: Option<i32>, write: &mut dyn FnMut(i32)| number.into_iter().for_each(write);
    match which {
        0 => text(&message.r#type, &mut |text| _ = writer.type_(text)),
        1 => text(&message.logger, &mut |text| _ = writer.logger(text)),
        2 => number(message.severity, &mut |number| _ = writer.severity(number)),
        3 => text(&message.payload, &mut |text| _ = writer.payload(text)),
        4 => text(&message.env_version, &mut |text| _ = writer.env_version(text)),
        5 => number(message.pid, &mut |number| _ = writer.pid(number)),
        _ => text(&message.hostname, &mut |text| _ = writer.hostname(text)),
    }
}

fn write_field(writer: &mut MessageWriter<'_>, field: &Field) {
    let representation = field.representation.as_deref().unwrap_or("");
    match (field.value_type(), field.value_bytes.as_slice()) {
        (ValueType::String, _) => {
            let values = field.value_string.iter().map(|text| text.as_bytes()).collect::<Vec<_>>();
            writer.field_strings(&field.name, representation, &values)
        }
        (ValueType::Bytes, [value]) => writer.field_bytes(&field.name, representation, value),
        (ValueType::Bytes, _) => writer.field_raw(&field.encode_to_vec()),
        (ValueType::Integer, _) => writer.field_integers(&field.name, representation, &field.value_integer),
        (ValueType::Double, _) => writer.field_doubles(&field.name, representation, &field.value_double),
        (ValueType::Bool, _) => match field.value_bool.as_slice() {
            [value] if representation.is_empty() => writer.field_bool(&field.name, *value),
            _ => writer.field_raw(&field.encode_to_vec()),
        },
    };
}

#[test]
fn prost_and_the_reader_see_the_same_message() {
    for seed in 0..3000 {
        let message = random_message(&mut Random(seed));
        let encoded = message.encode_to_vec();
        assert_eq!(to_proto(&parsed(&encoded)), normalized(message), "seed {seed}");
    }
}

#[test]
fn prost_and_the_reader_see_what_the_writer_wrote() {
    for seed in 0..3000 {
        let random = &mut Random(seed);
        let message = random_message(random);
        let written = write(&message, random);
        let decoded = Message::decode(written.as_slice()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(normalized(decoded), normalized(message.clone()), "seed {seed}");
        assert_eq!(to_proto(&parsed(&written)), normalized(message), "seed {seed}");
    }
}

#[test]
fn the_writer_puts_tags_in_ascending_order() {
    for seed in 0..500 {
        let random = &mut Random(seed);
        let message = random_message(random);
        let written = write(&message, random);
        let expected = write(&message, &mut Random(0));
        assert_eq!(parsed(&written).raw().len(), expected.len(), "seed {seed}");
        assert_eq!(written, expected, "seed {seed}: the order of calls shows");
    }
    let message = full();
    let in_order = Message::decode(message.as_slice()).expect("a message");
    assert_eq!(in_order.encoded_len(), message.len(), "nothing is written that prost would not write");
    assert_eq!(in_order.encode_to_vec(), message);
}

#[test]
fn the_reader_gives_every_part() {
    let message = full();
    let message = parsed(&message);
    assert_eq!((message.uuid(), message.timestamp()), (&UUID, TIMESTAMP));
    assert_eq!(message.type_(), Some(&b"main"[..]));
    assert_eq!(message.logger(), Some(&b"telemetry"[..]));
    assert_eq!(message.severity(), 4);
    assert_eq!(message.payload(), Some(&b"one two, three"[..]));
    assert_eq!(message.env_version(), Some(&b"2.5"[..]));
    assert_eq!(message.pid(), Some(4711));
    assert_eq!(message.hostname(), Some(&b"edge-7"[..]));
    assert_eq!(message.fields().count(), 11);
    let field = |name: &str| message.field(name).unwrap_or_else(|| panic!("field {name}"));
    assert_eq!(field("color").bytes(), Some(&b"red"[..]));
    assert_eq!(field("blob").bytes(), Some(&b"{\"a\":1}"[..]));
    assert_eq!(field("blob").value_type(), ValueType::Bytes);
    assert_eq!(field("size").integer(), Some(512));
    assert_eq!(field("size").double(), Some(512.0));
    assert_eq!(field("size").values().collect::<Vec<_>>(), [Value::Integer(512), Value::Integer(2048)]);
    assert_eq!(field("ratio").double(), Some(0.75));
    assert_eq!(field("open").boolean(), Some(true));
    assert_eq!(field("open").integer(), None);
    assert_eq!(field("color").integer(), None);
    assert_eq!(field("color").boolean(), None);
    assert_eq!(field("color").double(), None);
    assert_eq!(field("size").bytes(), None);
    assert_eq!(field("empty").bytes(), None);
    assert_eq!(field("days").representation, b"date");
    assert!(message.field("missing").is_none());
    let colors = message.fields_named(b"color").map(|field| field.bytes()).collect::<Vec<_>>();
    assert_eq!(colors, [Some(&b"red"[..]), Some(b"darkred")]);
}

#[test]
fn absent_headers_have_their_defaults() {
    let message = minimal();
    let message = parsed(&message);
    assert_eq!((message.severity(), message.pid()), (7, None));
    let texts = [message.type_(), message.logger(), message.payload(), message.env_version(), message.hostname()];
    assert_eq!(texts, [None; 5]);
    assert_eq!(message.fields().count(), 0);
}

#[test]
fn negative_numbers_survive() {
    let mut out = Vec::new();
    MessageWriter::new(&mut out, &UUID, -5).severity(-1).pid(i32::MIN).field_integer("n", "", i64::MIN);
    let message = parsed(&out);
    assert_eq!((message.timestamp(), message.severity(), message.pid()), (-5, -1, Some(i32::MIN)));
    assert_eq!(message.field("n").and_then(|field| field.integer()), Some(i64::MIN));
}

#[test]
fn parts_are_joined_and_raw_fields_are_copied() {
    let mut out = Vec::new();
    MessageWriter::new(&mut out, &UUID, 1).field_bytes_parts("b", "json", &[b"{", b"", b"}"]);
    let first = parsed(&out).field("b").expect("field b");
    assert_eq!((first.bytes(), first.representation), (Some(&b"{}"[..]), &b"json"[..]));
    let mut copy = Vec::new();
    MessageWriter::new(&mut copy, &UUID, 1).field_raw(first.raw());
    assert_eq!(copy, out);
}

/// A message around one field record.
fn around(field: &str) -> Vec<u8> {
    let mut out = Vec::new();
    MessageWriter::new(&mut out, &UUID, 1).field_raw(&bytes(field));
    out
}

#[test]
fn unpacked_and_packed_numbers_are_the_same() {
    let check = |field: &str, expected: &[Value<'_>]| {
        let message = around(field);
        let field = parsed(&message).field("n").unwrap_or_else(|| panic!("field in {field}"));
        assert_eq!(field.values().collect::<Vec<_>>(), expected);
    };
    let pi = std::f64::consts::PI;
    check("0a016e 1002 3011", &[Value::Integer(17)]);
    check("0a016e 1002 320111", &[Value::Integer(17)]);
    check("0a016e 1002 3011 3012", &[Value::Integer(17), Value::Integer(18)]);
    check("0a016e 1002 32021112 3013 3200 320114", &[17, 18, 19, 20].map(Value::Integer));
    check("0a016e 1003 39182d4454fb210940", &[Value::Double(pi)]);
    check("0a016e 1003 3a10 182d4454fb210940 182d4454fb210940", &[Value::Double(pi), Value::Double(pi)]);
    check("0a016e 1004 4001", &[Value::Bool(true)]);
    check("0a016e 1004 42020100", &[Value::Bool(true), Value::Bool(false)]);
    check("0a016e 1004 4207 ffffffffffff01", &[Value::Bool(true)]);
    check("0a016e 2a0178", &[Value::String(b"x")]);
    check("0a016e 1001 220178", &[Value::Bytes(b"x")]);
    check("1002 0a016e 3011", &[Value::Integer(17)]);
    check("0a016e 1002", &[]);
    check("1a0178 0a016e 2200", &[Value::String(b"")]);
}

#[test]
fn headers_may_come_in_any_order_and_between_fields() {
    let id = "0a10 000102030405060708090a0b0c0d0e0f";
    let message =
        bytes(&format!("520612046c617374 {id}").replace("520612046c617374", "52050a01612200 22016c 52060a0162220178 1001 1a0174"));
    let message = parsed(&message);
    assert_eq!((message.logger(), message.type_()), (Some(&b"l"[..]), Some(&b"t"[..])));
    assert_eq!(message.fields().map(|field| field.name).collect::<Vec<_>>(), [b"a", b"b"]);
    let repeated = bytes(&format!("{id} 1001 1002 1a0161 1a0162"));
    let repeated = parsed(&repeated);
    assert_eq!((repeated.timestamp(), repeated.type_()), (2, Some(&b"b"[..])));
}

fn check_error(message: &[u8], text: &str) {
    let error = MessageRef::parse(message).expect_err(text);
    assert_eq!(error.to_string(), text, "{message:02x?}");
}

#[test]
fn broken_messages_are_refused_with_tag_wire_type_and_position() {
    let id = "0a10 000102030405060708090a0b0c0d0e0f";
    let check = |rest: &str, text: &str| check_error(&bytes(&format!("{id}{rest}")), text);
    check_error(b"", "missing Uuid");
    check_error(&bytes("1001"), "missing Uuid");
    check("", "missing Timestamp");
    check("1001 5801", "tag:11 wiretype:0 position:20: unknown tag");
    check("1001 0001", "tag:0 wiretype:0 position:20: unknown tag");
    check("1001 8080808010 01", "tag:536870912 wiretype:0 position:20: unknown tag");
    check("1001 ffffffffffffffff7f", "tag:0 wiretype:0 position:20: unknown tag");
    check("1001 1801", "tag:3 wiretype:0 position:20: wrong wire type");
    check("1001 2a00", "tag:5 wiretype:2 position:20: wrong wire type");
    check("1001 5001", "tag:10 wiretype:0 position:20: wrong wire type");
    check("11 0000000000000000", "tag:2 wiretype:1 position:18: wrong wire type");
    check("15 00000000", "tag:2 wiretype:5 position:18: wrong wire type");
    check("13", "tag:2 wiretype:3 position:18: wrong wire type");
    check("1001 1a05 7465", "tag:3 wiretype:2 position:20: the bytes end inside the element");
    check("1001 1affffffffffffffffff01", "tag:3 wiretype:2 position:20: the bytes end inside the element");
    check("10 ffffffffffffffffffff01", "tag:2 wiretype:0 position:18: a varint is longer than 64 bits");
    check_error(&bytes("0a0f 000102030405060708090a0b0c0d0e 1001"), "tag:1 wiretype:2 position:0: a Uuid of 15 bytes, expected 16");
    check_error(&bytes("0a00 1001"), "tag:1 wiretype:2 position:0: a Uuid of 0 bytes, expected 16");
}

#[test]
fn broken_fields_are_refused_with_tag_wire_type_and_position() {
    let check = |field: &str, text: &str| check_error(&around(field), text);
    check("", "the field at 22 has no name");
    check("220178", "the field at 22 has no name");
    check("0a016e 4a0178", "in the field at 22: tag:9 wiretype:2 position:25: unknown tag");
    check("0a016e 0a016e", "in the field at 22: tag:1 wiretype:2 position:25: a second name");
    check("0a016e 0801", "in the field at 22: tag:1 wiretype:0 position:25: wrong wire type");
    check("0a016e 1200", "in the field at 22: tag:2 wiretype:2 position:25: wrong wire type");
    check("0a016e 1005", "in the field at 22: tag:2 wiretype:0 position:25: value type 5, expected 0 to 4");
    check("0a026e", "in the field at 22: tag:1 wiretype:2 position:22: the bytes end inside the element");
    let type_differs = "values of another type than the field's value type";
    check("0a016e 3011", &format!("in the field at 22: tag:6 wiretype:0 position:25: {type_differs}"));
    check("0a016e 1003 3011", &format!("in the field at 22: tag:6 wiretype:0 position:27: {type_differs}"));
    check("0a016e 1002 220178", &format!("in the field at 22: tag:4 wiretype:2 position:27: {type_differs}"));
    check("0a016e 2001", "in the field at 22: tag:4 wiretype:0 position:25: wrong wire type");
    check("0a016e 1002 31 0000000000000000", "in the field at 22: tag:6 wiretype:1 position:27: wrong wire type");
    check("0a016e 1003 3801", "in the field at 22: tag:7 wiretype:0 position:27: wrong wire type");
    check("0a016e 1003 3a0100", "in the field at 22: tag:7 wiretype:2 position:27: packed doubles of 1 bytes, not a multiple of 8");
    check("0a016e 1002 320180", "in the field at 22: tag:6 wiretype:2 position:27: the bytes end inside the element");
    let late = "an element after the field's values, which come last and under one tag";
    check("0a016e 220178 1a0178", &format!("in the field at 22: tag:3 wiretype:2 position:28: {late}"));
    check("220178 0a016e", "the field at 22 has no name");
    check("0a016e 220178 2a0178", &format!("in the field at 22: tag:5 wiretype:2 position:28: {late}"));
}

#[test]
fn every_truncation_is_refused_unless_it_falls_between_elements() {
    let message = full();
    let fields = parsed(&message).fields().map(|field| field.raw().as_ptr() as usize + field.raw().len());
    let boundaries = fields.map(|end| end - message.as_ptr() as usize).collect::<Vec<_>>();
    let mut headers_only = Vec::new();
    MessageWriter::new(&mut headers_only, &UUID, TIMESTAMP).type_(b"main");
    let mut accepted = Vec::new();
    for length in 0..message.len() {
        if MessageRef::parse(&message[..length]).is_ok() {
            accepted.push(length);
        }
    }
    // After Timestamp, Type, Logger, Severity, Payload, EnvVersion, Pid and Hostname, then after each field but the last.
    let (header_ends, field_ends) = accepted.split_at(8);
    assert_eq!(field_ends, &boundaries[..boundaries.len() - 1]);
    assert_eq!(header_ends[..2], [headers_only.len() - 6, headers_only.len()]);
}

#[test]
fn every_truncation_of_a_message_that_ends_in_its_timestamp_is_refused() {
    let message = bytes("1a046d61696e 52080a01611002320111 0a10000102030405060708090a0b0c0d0e0f 1095b4ceb6a0f3e2cb17");
    parsed(&message);
    for length in 0..message.len() {
        assert!(MessageRef::parse(&message[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let message = full();
    let random = &mut Random(7);
    for _ in 0..200_000 {
        let mut broken = message.clone();
        for _ in 0..=random.below(3) {
            let place = random.below(broken.len() as u64) as usize;
            broken[place] = random.next() as u8;
        }
        if let Ok(message) = MessageRef::parse(&broken) {
            // What was accepted can be read to the end.
            let counted = message.fields().map(|field| field.values().count()).sum::<usize>();
            assert!(counted <= broken.len());
        }
    }
}
