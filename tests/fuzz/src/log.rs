//! The embedded log, opened on whatever lies in its folder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidemill_bus::embedded::{DeclaredGroup, EmbeddedBus, EmbeddedOptions};
use tidemill_bus::{Bus, BusError, Compression, Files, RecordBuf, Start, SystemClock, TopicPartition, TopicSpec};

const FOLDER: &str = "/log";
const MAGIC: &[u8] = b"TIDELOG\0";
const HEADER_BYTES: usize = 32;
const ENTRY_HEADER_BYTES: usize = 36;
/// A group of the corpus' logs.
const GROUP: &str = "work";
/// Polls of one partition before it counts as endless.
const POLLS_MAX: usize = 20_000;

/// A folder of segments, one behind the other. The first byte says whether the checksums are made right, so that what lies behind
/// them is reached, and whether it is opened as the stream's log or as the edge's spool: it opens or is refused; what opens can be
/// read, written to and opened again.
pub fn log(files: &Arc<dyn Files>, bytes: &[u8]) {
    let (&how, rest) = bytes.split_first().unwrap_or((&0, bytes));
    for mut segment in segments(rest) {
        if how & 1 == 1 {
            sign(&mut segment);
        }
        put(&**files, &segment).unwrap_or_else(|error| panic!("files in memory: {error}"));
    }
    let is_spool = how & 2 == 2;
    match open(files, is_spool) {
        Ok(bus) => {
            read(&bus);
            write(&bus);
            drop(bus);
            let again = open(files, is_spool);
            assert!(again.is_ok(), "what opened once opens again: {:?}", again.err());
        }
        Err(error) => assert!(matches!(error, BusError::Unusable(_)), "{error}"),
    }
}

fn open(files: &Arc<dyn Files>, is_spool: bool) -> Result<EmbeddedBus, BusError> {
    let options = if is_spool { spool_options() } else { EmbeddedOptions::new(FOLDER) };
    EmbeddedBus::open_with(options, Arc::clone(files), Arc::new(SystemClock::default()))
}

/// As the spool opens its log: what a group has not read is kept and counted, all else goes.
fn spool_options() -> EmbeddedOptions {
    EmbeddedOptions {
        segment_bytes: 64 << 10,
        retention_bytes: 0,
        retention_age: Duration::ZERO,
        declared_groups: vec![DeclaredGroup { group: GROUP.to_owned(), topics: vec!["in".to_owned()] }],
        pinned_bytes_max: u64::MAX,
        bytes_max: 64 << 20,
        cache_bytes_max: 0,
        ..EmbeddedOptions::new(FOLDER)
    }
}

/// The bytes cut where a segment's header, which stands there twice, begins.
fn segments(bytes: &[u8]) -> Vec<Vec<u8>> {
    let begins =
        |at: &usize| bytes[*at..].starts_with(MAGIC) && bytes[*at..].get(HEADER_BYTES..).is_some_and(|rest| rest.starts_with(MAGIC));
    let mut cuts: Vec<usize> = (1..bytes.len()).filter(begins).collect();
    cuts.insert(0, 0);
    cuts.push(bytes.len());
    cuts.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

/// Writes a segment under the number that its header states.
fn put(files: &dyn Files, segment: &[u8]) -> std::io::Result<()> {
    let number = word(segment, 12) % 4;
    files.create_dir_all(Path::new(FOLDER))?;
    let file = files.open(&Path::new(FOLDER).join(format!("{number:08}.log")), true)?;
    file.set_len(0)?;
    file.write_all_at(segment, 0)
}

fn read(bus: &EmbeddedBus) {
    let topics = bus.topics().unwrap_or_else(|error| panic!("topics: {error}"));
    for topic in topics.iter().take(8) {
        for partition in (0..topic.partitions.len() as u32).take(4) {
            let partition = TopicPartition { topic: Arc::clone(&topic.name), partition };
            read_partition(bus, &partition);
            let unread = bus.unread_bytes(GROUP, &partition);
            assert!(unread.is_ok_and(|bytes| bytes < 1 << 40), "{partition:?} has {:?} bytes unread", bus.unread_bytes(GROUP, &partition));
        }
    }
    let positions = bus.group_positions().map(|positions| positions.len());
    assert!(positions.is_ok(), "{positions:?}");
}

fn read_partition(bus: &EmbeddedBus, partition: &TopicPartition) {
    let Ok(mut reader) = bus.reader(partition, Start::Beginning) else { return };
    for _ in 0..POLLS_MAX {
        match reader.poll(Duration::ZERO) {
            Ok(Some(batch)) => assert!(batch.iter().count() <= batch.offsets.len(), "a record has an offset"),
            Ok(None) | Err(_) => return,
        }
    }
    panic!("{partition:?} never ends");
}

fn write(bus: &EmbeddedBus) {
    let topic = TopicSpec { name: "fuzz".into(), partitions: 1, compacted: false, compression: Compression::None };
    if bus.ensure_topics(&[topic]).is_err() {
        return;
    }
    let mut records = RecordBuf::default();
    records.push(0, b"key", &[], b"value");
    let (done, wait) = std::sync::mpsc::channel();
    bus.publish(
        "fuzz",
        0,
        records,
        Box::new(move |result| {
            let _ = done.send(result.is_ok());
        }),
    );
    assert!(wait.recv_timeout(Duration::from_secs(20)).is_ok(), "a publish is answered");
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

fn set_word(bytes: &mut [u8], at: usize, word: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&word.to_le_bytes());
    }
}

/// Makes every checksum right that stands where one should.
fn sign(segment: &mut [u8]) {
    let salt: [u8; 8] = segment.get(16..24).and_then(|salt| salt.try_into().ok()).unwrap_or_default();
    for copy in [0, HEADER_BYTES] {
        if let Some(crc) = segment.get(copy..copy + 28).map(crc32c::crc32c) {
            set_word(segment, copy + 28, crc);
        }
    }
    let mut at = 2 * HEADER_BYTES;
    while segment.len() >= at + ENTRY_HEADER_BYTES {
        let (items, body) = (word(segment, at + 4) as usize, word(segment, at + 8) as usize);
        let items_at = at + ENTRY_HEADER_BYTES;
        let Some(items_bytes) = segment.get(items_at..items_at.saturating_add(items)).map(<[u8]>::to_vec) else { return };
        sign_frames(segment, &items_bytes, items_at + items);
        set_word(segment, at + 12, crc32c::crc32c(&items_bytes));
        let crc = crc32c::crc32c_append(crc32c::crc32c(&salt), &segment[at..at + 32]);
        set_word(segment, at + 32, crc);
        at = items_at + items + body;
    }
}

/// The frames of an entry's body, by the lengths that its items state.
fn sign_frames(segment: &mut [u8], mut items: &[u8], mut at: usize) {
    while let Some((length, rest)) = next_item(items) {
        items = rest;
        let end = at.saturating_add(length);
        if length >= 4
            && let Some(crc) = segment.get(at + 4..end).map(crc32c::crc32c)
        {
            set_word(segment, at, crc);
        }
        at = end;
    }
}

/// The bytes of an item's frame, and the items behind it.
fn next_item(items: &[u8]) -> Option<(usize, &[u8])> {
    let (tag, rest) = items.split_first()?;
    let (fixed, texts, frame_at) = match tag {
        0 => (0, 0, None),
        1 => (14, 2, None),
        2 => (16, 0, None),
        3 => (40, 0, Some(12)),
        4 => (16, 1, None),
        5 => (4, 2, Some(0)),
        6 => (0, 2, None),
        7 => (12, 2, None),
        _ => return None,
    };
    let length = frame_at.map_or(0, |at| word(rest, at) as usize);
    let mut rest = rest.get(fixed..)?;
    for _ in 0..texts {
        let (bytes, text) = rest.split_first_chunk::<2>()?;
        rest = text.get(usize::from(u16::from_le_bytes(*bytes))..)?;
    }
    Some((length, rest))
}
