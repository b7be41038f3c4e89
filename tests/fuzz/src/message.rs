//! The Heka reader, framing and matchers.

use prost::Message as _;
use tidemill_message::framing::{FrameReader, write_frame};
use tidemill_message::{FieldNames, FoundFields, MatchBlock, Matcher, MatcherSet, Matches, MessageRef, MessageWriter, Value, proto};

/// One message: what the borrowing reader takes, prost takes too and reads the same.
pub fn heka(bytes: &[u8]) {
    found_while_read(bytes);
    let Ok(message) = MessageRef::parse(bytes) else { return };
    let own = proto::Message::decode(bytes);
    let values: usize = message.fields().map(|field| field.values().map(|value| value_bytes(&value)).sum::<usize>()).sum();
    assert!(values <= bytes.len() * 8, "{values} bytes of values in {} bytes", bytes.len());
    // prost wants text to be UTF-8.
    let Ok(own) = own else { return };
    assert_eq!(own.fields.len(), message.fields().count(), "the number of fields");
    assert_eq!((own.timestamp, own.uuid.as_slice()), (message.timestamp(), &message.uuid()[..]));
    assert_eq!(own.r#type.as_deref().map(str::as_bytes), message.type_(), "the type");
    for (field, own) in message.fields().zip(&own.fields) {
        assert_eq!(field.name, own.name.as_bytes(), "a name");
        assert_eq!(message.field(&own.name).map(|first| first.name), Some(field.name), "found by its name");
    }
    let again = own.encode_to_vec();
    assert_eq!(MessageRef::parse(&again).map(|again| again.fields().count()).ok(), Some(own.fields.len()), "written again");
}

/// Fields that begin as those of the message before are read to the same as others.
fn found_while_read(bytes: &[u8]) {
    let own = message();
    let (mut names, mut found) = (FieldNames::default(), FoundFields::default());
    let known = ["docType", "n", "d", "many", "content", ""];
    for name in known {
        names.add(name.as_bytes());
    }
    for bytes in [&own, bytes, bytes, &own, bytes] {
        let message = MessageRef::parse_with(bytes, &names, &mut found);
        assert_eq!(message.is_ok(), MessageRef::parse(bytes).is_ok(), "taken or refused");
        let Ok(message) = message else { continue };
        for (place, name) in known.iter().enumerate() {
            let (found, first) = (found.get(place), message.field(name));
            let field = found.and_then(|found| found.field());
            assert_eq!(field.map(|field| field.raw()), first.map(|field| field.raw()), "the first field of a name");
            let bytes = |value: Option<Value<'_>>| value.map(|value| value_bytes(&value));
            assert_eq!(bytes(found.and_then(|found| found.first)), bytes(first.and_then(|field| field.values().next())), "its value");
            assert_eq!(found.map(|found| found.is_json), first.map(|field| field.representation == b"json"), "whether it is JSON");
        }
        assert!(found.json().iter().all(|field| field.representation == b"json"), "fields that hold JSON");
    }
}

fn value_bytes(value: &Value<'_>) -> usize {
    match value {
        Value::String(bytes) | Value::Bytes(bytes) => bytes.len(),
        Value::Integer(_) | Value::Double(_) => 8,
        Value::Bool(_) => 1,
    }
}

const FRAME_BYTES_MAX: usize = 16 << 10;

/// A stream: the same frames whatever the pieces it comes in, and every byte accounted for.
pub fn framing(bytes: &[u8]) {
    let whole = frames(FrameReader::any_payload(FRAME_BYTES_MAX), bytes, bytes.len().max(1));
    let piece = 1 + bytes.first().map_or(0, |byte| usize::from(*byte));
    assert_eq!(frames(FrameReader::any_payload(FRAME_BYTES_MAX), bytes, piece), whole, "in pieces of {piece}");
    let heka = frames(FrameReader::new(FRAME_BYTES_MAX), bytes, piece);
    assert!(heka.iter().all(|frame| MessageRef::parse(frame).is_ok()), "frames of messages");
    let mut written = Vec::new();
    whole.iter().for_each(|frame| write_frame(&mut written, frame));
    assert_eq!(frames(FrameReader::any_payload(FRAME_BYTES_MAX), &written, 7), whole, "written again");
}

fn frames(mut reader: FrameReader, bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let (mut found, mut pushed) = (Vec::new(), 0);
    for mut rest in bytes.chunks(piece) {
        while !rest.is_empty() {
            let taken = reader.push(rest);
            assert!(taken > 0, "there is room once the frames are taken");
            pushed += taken;
            rest = &rest[taken..];
            while let Some(frame) = reader.next_frame() {
                found.push(frame.to_vec());
            }
        }
    }
    let accounted = reader.discarded() + reader.pending() as u64;
    assert!(accounted <= pushed as u64, "{accounted} bytes discarded or pending of {pushed}");
    found
}

/// An expression: it compiles or is refused with a place within it; alone and in a set it gives one verdict.
pub fn matcher(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let matcher = match Matcher::parse(&text) {
        Ok(matcher) => matcher,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let bytes = message();
    let message = MessageRef::parse(&bytes).unwrap_or_else(|error| panic!("a message of our own: {error}"));
    let verdict = matcher.matches(&message);
    let both = matcher.and(&matcher);
    assert_eq!(both.matches(&message), verdict, "with itself");
    let mut matches = Matches::new();
    let set = MatcherSet::new(vec![matcher, both]);
    set.matches(&message, &mut matches);
    assert_eq!((matches.contains(0), matches.contains(1)), (verdict, verdict), "in a set");
    let other = other_message();
    let (mut block, mut found, mut selected) = (MatchBlock::default(), FoundFields::default(), vec![Vec::new(); 2]);
    for bytes in [&bytes, &other, &bytes] {
        let Ok(message) = MessageRef::parse_with(bytes, set.field_names(), &mut found) else { continue };
        set.push(&mut block, &message, &found);
    }
    set.select(&mut block, &[0, 1], &mut selected);
    set.matches(&MessageRef::parse(&other).unwrap_or(message), &mut matches);
    let verdicts = [verdict, matches.contains(0), verdict];
    let want: Vec<u16> = (0..).zip(verdicts).filter_map(|(place, verdict)| verdict.then_some(place)).collect();
    assert_eq!((&selected[0], &selected[1]), (&want, &want), "in a block");
}

/// A message without most of what the other has, and with a field of another type.
fn other_message() -> Vec<u8> {
    let mut bytes = Vec::new();
    MessageWriter::new(&mut bytes, b"fedcba9876543210", 1).logger(b"telemetry").field_integer("docType", "", 3).field_string("n", b"42");
    bytes
}

fn message() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut message = MessageWriter::new(&mut bytes, b"0123456789abcdef", 1_522_238_400_123_456_789);
    message.type_(b"validated").logger(b"telemetry").severity(4).pid(7).hostname(b"host").payload(b"some text");
    message.field_string("docType", b"main").field_integer("n", "", 42).field_double("d", "s", 1.5).field_bool("b", true);
    message.field_strings("many", "", &[b"a", b"b"]).field_bytes("content", "json", b"{\"a\":1}").field_integers("ns", "", &[1, 2]);
    bytes
}
