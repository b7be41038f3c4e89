//! A message, borrowed.

use crate::error::{Fault, MessageError, Problem};
use crate::field::{FieldRef, Value};
use crate::names::{FieldNames, FoundFields};
use crate::proto::tag;
use crate::wire::{BYTES, Content, Element, VARINT, key, read_element, read_varint};

const UUID_KEY: u8 = key(tag::UUID, BYTES);
const FIELD_KEY: u8 = key(tag::FIELDS, BYTES);

/// The severity of a message that states none (syslog's `debug`).
pub const SEVERITY_DEFAULT: i32 = 7;

/// A message, borrowed from its bytes. Parsing checks everything once, allocates nothing and keeps slices.
///
/// Headers that a message repeats count with their last value. Text is bytes: nothing says that it is UTF-8.
#[derive(Clone, Copy, Debug)]
pub struct MessageRef<'a> {
    raw: &'a [u8],
    uuid: &'a [u8; 16],
    timestamp: i64,
    type_: Option<&'a [u8]>,
    logger: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
    env_version: Option<&'a [u8]>,
    hostname: Option<&'a [u8]>,
    severity: i32,
    pid: Option<i32>,
    /// From the key of the first field to the end of the last one; other elements may lie in between.
    fields: &'a [u8],
}

impl<'a> MessageRef<'a> {
    /// Reads one unframed message.
    ///
    /// # Errors
    /// Unknown tags at either level, wrong wire types, anything cut short, a Uuid that is not 16 bytes, a message without
    /// Uuid or Timestamp, a field without name, values that do not come last, or of another type than declared.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MessageError> {
        let mut draft = Draft::default();
        let at = draft.read_usual(bytes);
        draft.parse_fields(bytes, at, |record, start| check_field(record, start).map(drop))
    }

    /// As [`MessageRef::parse`]; the first field of each of the names is left in `found`, of which nothing earlier remains.
    ///
    /// # Errors
    /// As [`MessageRef::parse`].
    pub fn parse_with(bytes: &'a [u8], names: &FieldNames, found: &mut FoundFields<'a>) -> Result<Self, MessageError> {
        found.begin(names);
        let mut draft = Draft::default();
        let begin = draft.read_usual(bytes);
        let mut at = begin;
        // Most messages have the fields of the one before, and nothing else.
        while let Some(record) = usual_field(bytes, at)
            && found.meet_alike(record)
        {
            at += 2 + record.len();
        }
        if at > begin {
            draft.extend_fields(begin, at);
        }
        if at == bytes.len() {
            return draft.finish(bytes);
        }
        draft.parse_fields(bytes, at, |record, start| {
            if !found.meet_alike(record) {
                let (field, first) = check_field(record, start)?;
                found.meet(names, field, first);
            }
            Ok(())
        })
    }

    /// The message's identity.
    pub fn uuid(&self) -> &'a [u8; 16] {
        self.uuid
    }

    /// Nanoseconds since 1970 UTC.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// Header `Type`.
    pub fn type_(&self) -> Option<&'a [u8]> {
        self.type_
    }

    /// Header `Logger`.
    pub fn logger(&self) -> Option<&'a [u8]> {
        self.logger
    }

    /// Header `Payload`.
    pub fn payload(&self) -> Option<&'a [u8]> {
        self.payload
    }

    /// Header `EnvVersion`.
    pub fn env_version(&self) -> Option<&'a [u8]> {
        self.env_version
    }

    /// Header `Hostname`.
    pub fn hostname(&self) -> Option<&'a [u8]> {
        self.hostname
    }

    /// Header `Severity`; [`SEVERITY_DEFAULT`] where the message has none.
    pub fn severity(&self) -> i32 {
        self.severity
    }

    /// Header `Pid`.
    pub fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// The fields, in the order of the message.
    pub fn fields(&self) -> Fields<'a> {
        Fields { records: self.field_records() }
    }

    /// The first field of that name.
    pub fn field(&self, name: &str) -> Option<FieldRef<'a>> {
        self.fields_named(name.as_bytes()).next()
    }

    /// All fields of that name.
    pub fn fields_named<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = FieldRef<'a>> + use<'a, 'n> {
        self.field_records().filter(move |record| FieldRef::name_of(record) == name).filter_map(field_of)
    }

    /// The fields' records, to be read by [`FieldRef::name_of`] and [`field_of`].
    pub(crate) fn field_records(&self) -> Records<'a> {
        Records { rest: self.fields }
    }

    /// The bytes it was parsed from.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// The field and its first value.
#[inline]
fn check_field(record: &[u8], start: usize) -> Result<(FieldRef<'_>, Option<Value<'_>>), MessageError> {
    if let Some((field, value)) = FieldRef::usual(record) {
        return Ok((field, Some(value)));
    }
    let in_field = |fault: Fault| MessageError::Field { field: start, fault: Fault { position: fault.position + start, ..fault } };
    let field = FieldRef::read_head(record).map_err(in_field)?.ok_or(MessageError::MissingName { field: start })?;
    field.check_values().map_err(in_field)?;
    Ok((field, field.values().next()))
}

/// The record of the field at this place, if there is one that is short.
#[inline(always)]
fn usual_field(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let [FIELD_KEY, len @ 0..0x80] = *bytes.get(at..)?.first_chunk()? else { return None };
    bytes.get(at + 2..at + 2 + usize::from(len))
}

/// The fields of a message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    records: Records<'a>,
}

impl<'a> Iterator for Fields<'a> {
    type Item = FieldRef<'a>;

    fn next(&mut self) -> Option<FieldRef<'a>> {
        self.records.next().and_then(field_of)
    }
}

/// The field of a checked record; nothing fails here.
#[inline]
pub(crate) fn field_of(record: &[u8]) -> Option<FieldRef<'_>> {
    FieldRef::usual(record).map(|(field, _)| field).or_else(|| FieldRef::read_head(record).ok().flatten())
}

/// The records of a message's fields.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let mut at = 0;
            // Nothing fails here: the message was checked.
            let element = read_element(self.rest, &mut at).ok()?;
            self.rest = &self.rest[at..];
            if let (Content::Bytes(record), true) = (element.content, element.tag == u32::from(tag::FIELDS)) {
                return Some(record);
            }
        }
        None
    }
}

/// What is known of a message while it is read.
#[derive(Default)]
struct Draft<'a> {
    uuid: Option<&'a [u8; 16]>,
    timestamp: Option<i64>,
    type_: Option<&'a [u8]>,
    logger: Option<&'a [u8]>,
    payload: Option<&'a [u8]>,
    env_version: Option<&'a [u8]>,
    hostname: Option<&'a [u8]>,
    severity: Option<i32>,
    pid: Option<i32>,
    fields: Option<(usize, usize)>,
}

impl<'a> Draft<'a> {
    /// Reads headers as far as they are those that writers make, each once and in the order of their tags, and short. Answers where
    /// something else begins.
    #[inline(always)]
    fn read_usual(&mut self, bytes: &'a [u8]) -> usize {
        let Some(([UUID_KEY, 16, uuid @ ..], _)) = bytes.split_first_chunk::<18>() else { return 0 };
        self.uuid = uuid.first_chunk();
        let mut at = 18;
        let number = |at: &mut usize, tag: u8| {
            let mut next = *at + 1;
            let number = (bytes.get(*at) == Some(&key(tag, VARINT))).then(|| read_varint(bytes, &mut next).ok())??;
            *at = next;
            Some(number)
        };
        let text = |at: &mut usize, tag: u8| {
            let [found, len @ 0..0x80] = *bytes.get(*at..)?.first_chunk()? else { return None };
            let text = bytes.get(*at + 2..*at + 2 + usize::from(len)).filter(|_| found == key(tag, BYTES))?;
            *at += 2 + text.len();
            Some(text)
        };
        self.timestamp = number(&mut at, tag::TIMESTAMP).map(|number| number as i64);
        self.type_ = text(&mut at, tag::TYPE);
        self.logger = text(&mut at, tag::LOGGER);
        self.severity = number(&mut at, tag::SEVERITY).map(|number| number as i32);
        self.payload = text(&mut at, tag::PAYLOAD);
        self.env_version = text(&mut at, tag::ENV_VERSION);
        self.pid = number(&mut at, tag::PID).map(|number| number as i32);
        self.hostname = text(&mut at, tag::HOSTNAME);
        at
    }

    /// Reads fields, and headers between them, from this place on.
    #[inline(always)]
    fn parse_fields(
        mut self,
        bytes: &'a [u8],
        mut at: usize,
        mut field: impl FnMut(&'a [u8], usize) -> Result<(), MessageError>,
    ) -> Result<MessageRef<'a>, MessageError> {
        while at < bytes.len() {
            if let Some(record) = usual_field(bytes, at) {
                let position = at;
                at += 2 + record.len();
                field(record, position + 2)?;
                self.extend_fields(position, at);
                continue;
            }
            let element = read_element(bytes, &mut at).map_err(MessageError::Element)?;
            match element.content {
                Content::Bytes(record) if element.tag == u32::from(tag::FIELDS) => {
                    field(record, at - record.len())?;
                    self.extend_fields(element.position, at);
                }
                _ => self.set(&element).map_err(MessageError::Element)?,
            }
        }
        self.finish(bytes)
    }

    #[inline]
    fn extend_fields(&mut self, start: usize, end: usize) {
        let (first, _) = self.fields.unwrap_or((start, end));
        self.fields = Some((first, end));
    }

    #[inline]
    fn set(&mut self, element: &Element<'a>) -> Result<(), Fault> {
        match element.content {
            _ if element.tag == 0 || element.tag > u32::from(tag::FIELDS) => Err(Problem::UnknownTag),
            Content::Bytes(content) => self.set_bytes(element.tag as u8, content),
            Content::Varint(number) => self.set_number(element.tag as u8, number),
            Content::Fixed64(_) => Err(Problem::WireType),
        }
        .map_err(|problem| element.fault(problem))
    }

    #[inline]
    fn set_bytes(&mut self, tag: u8, content: &'a [u8]) -> Result<(), Problem> {
        match tag {
            tag::UUID => self.uuid = Some(content.try_into().map_err(|_| Problem::UuidLength(content.len()))?),
            tag::TYPE => self.type_ = Some(content),
            tag::LOGGER => self.logger = Some(content),
            tag::PAYLOAD => self.payload = Some(content),
            tag::ENV_VERSION => self.env_version = Some(content),
            tag::HOSTNAME => self.hostname = Some(content),
            _ => return Err(Problem::WireType),
        }
        Ok(())
    }

    #[inline]
    fn set_number(&mut self, tag: u8, number: u64) -> Result<(), Problem> {
        match tag {
            tag::TIMESTAMP => self.timestamp = Some(number as i64),
            tag::SEVERITY => self.severity = Some(number as i32),
            tag::PID => self.pid = Some(number as i32),
            _ => return Err(Problem::WireType),
        }
        Ok(())
    }

    fn finish(self, raw: &'a [u8]) -> Result<MessageRef<'a>, MessageError> {
        let Self { uuid, timestamp, type_, logger, payload, env_version, hostname, severity, pid, fields } = self;
        let (start, end) = fields.unwrap_or((0, 0));
        Ok(MessageRef {
            raw,
            uuid: uuid.ok_or(MessageError::MissingUuid)?,
            timestamp: timestamp.ok_or(MessageError::MissingTimestamp)?,
            type_,
            logger,
            payload,
            env_version,
            hostname,
            severity: severity.unwrap_or(SEVERITY_DEFAULT),
            pid,
            fields: &raw[start..end],
        })
    }
}

// The writer and the reader agree on the one-byte key of a field.
const _: () = assert!(key(tag::FIELDS, BYTES) == 0x52);
