//! Frames: the vectors of the original's tests, and streams in pieces.

use tidemill_message::framing::{FRAME_OVERHEAD_MAX, FrameReader, write_frame};

use crate::support::{Random, bytes, full, minimal};

/// 20 bytes, as the vectors have it.
const MESSAGE: &str = "0a10 000102030405060708090a0b0c0d0e0f 1001";

const LIMIT: usize = 100;

/// Feeds the stream and checks how many messages come out and how many bytes belong to none.
fn check(name: &str, stream: &[u8], messages: usize, discarded: u64) -> FrameReader {
    let mut whole = FrameReader::new(LIMIT);
    let mut single = FrameReader::new(LIMIT);
    assert_eq!(whole.push(stream), stream.len(), "{name}");
    let in_one = std::iter::from_fn(|| whole.next_frame().map(<[u8]>::to_vec)).collect::<Vec<_>>();
    let mut in_bytes = Vec::new();
    for byte in stream {
        assert_eq!(single.push(&[*byte]), 1, "{name}");
        in_bytes.extend(single.next_frame().map(<[u8]>::to_vec));
    }
    assert_eq!(in_one.len(), messages, "{name}");
    assert_eq!(in_one, in_bytes, "{name}: byte by byte");
    assert_eq!((whole.discarded(), single.discarded()), (discarded, discarded), "{name}");
    assert_eq!((whole.pending(), whole.last_fault()), (single.pending(), single.last_fault()), "{name}");
    whole
}

fn framed(header: &str, rest: &str) -> Vec<u8> {
    bytes(&format!("{header}{rest}"))
}

#[test]
fn the_vectors_of_the_original() {
    check("full", &framed("1e0208141f", MESSAGE), 1, 0);
    check("garbage before", &framed("666f6f 1e0208141f", MESSAGE), 1, 3);
    let reader = check("message and next header", &framed("1e0208141f", &format!("{MESSAGE} 1e020814")), 1, 0);
    assert_eq!(reader.pending(), 4);
    check("two", &framed("1e0208141f", &format!("{MESSAGE} 1e0208141f {MESSAGE}")), 2, 0);
    let padded = format!("1e80 0814 {} 1f", "00".repeat(126));
    check("padded header", &framed(&padded, MESSAGE), 1, 0);
    check("decode failure", &framed("1e0208151f", &format!("{MESSAGE} ff")), 0, 26);
    check("empty message", &bytes("1e0208001f"), 0, 5);
    check("wrong header length", &bytes("1e020814011f"), 0, 6);
    check("wrong tag", &framed("1e0209141f", ""), 0, 5);
    check("no room for a length", &bytes("1e01081f"), 0, 4);
    check("no header", &bytes("1e001f"), 0, 3);
    check("endless length", &bytes("1e0b08ffffffffffffffffffff1f"), 0, 14);
    let reader = check("too large", &bytes("1e0208651f"), 0, 5);
    let fault = reader.last_fault().map(|fault| fault.to_string());
    assert_eq!(fault.as_deref(), Some("a message of 101 bytes is over the limit of 100 bytes"));
    check("no frame at all", &bytes("000102030405"), 0, 6);
    check("a beginning", &bytes("00 1e02"), 0, 1);
}

#[test]
fn a_message_within_a_broken_frame_is_found() {
    let inner = format!("1e0208141f {MESSAGE}");
    let reader = check("embedded", &framed("1e0208191f", &inner), 1, 5);
    let fault = reader.last_fault().map(|fault| fault.to_string());
    assert_eq!(fault.as_deref(), Some("not a Heka message: tag:3 wiretype:6 position:0: wrong wire type"));
}

#[test]
fn any_payload_is_taken_where_it_is_not_looked_at() {
    let mut stream = Vec::new();
    write_frame(&mut stream, b"hello");
    assert_eq!(stream, bytes("1e0208051f 68656c6c6f"));
    let mut reader = FrameReader::any_payload(5);
    assert_eq!(reader.push(&stream), stream.len());
    assert_eq!(reader.next_frame(), Some(&b"hello"[..]));
    assert_eq!(reader.next_frame(), None);
    let mut strict = FrameReader::new(5);
    strict.push(&stream);
    assert_eq!(strict.next_frame(), None);
    assert_eq!(strict.discarded(), stream.len() as u64);
}

#[test]
fn the_buffer_is_bounded_and_never_stuck() {
    let mut reader = FrameReader::any_payload(LIMIT);
    let mut stream = Vec::new();
    write_frame(&mut stream, &[b'x'; LIMIT]);
    let stream = stream.repeat(50);
    let mut frames = 0;
    let mut rest = &stream[..];
    while !rest.is_empty() {
        let taken = reader.push(rest);
        assert!((1..=LIMIT + FRAME_OVERHEAD_MAX).contains(&taken));
        rest = &rest[taken..];
        while reader.next_frame().is_some() {
            frames += 1;
        }
        assert!(reader.pending() <= LIMIT + FRAME_OVERHEAD_MAX);
    }
    assert_eq!((frames, reader.discarded(), reader.pending()), (50, 0, 0));
}

#[test]
fn messages_survive_garbage_and_pieces_of_any_size() {
    for seed in 0..300 {
        let random = &mut Random(seed);
        let messages = [full(), minimal()];
        let (mut stream, mut expected, mut garbage) = (Vec::new(), Vec::new(), 0);
        for _ in 0..random.below(20) {
            // Garbage without the two separators, so that it cannot be taken for the beginning of a frame.
            let junk = random.text(9).replace(['\u{1e}', '\u{1f}'], "");
            garbage += junk.len() as u64;
            stream.extend_from_slice(junk.as_bytes());
            let message = &messages[random.below(2) as usize];
            write_frame(&mut stream, message);
            expected.push(message.clone());
        }
        let mut reader = FrameReader::new(1000);
        let (mut rest, mut found) = (&stream[..], Vec::new());
        while !rest.is_empty() {
            let piece = (random.below(700) as usize + 1).min(rest.len());
            rest = &rest[reader.push(&rest[..piece])..];
            found.extend(std::iter::from_fn(|| reader.next_frame().map(<[u8]>::to_vec)));
        }
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(reader.discarded(), garbage, "seed {seed}");
    }
}
