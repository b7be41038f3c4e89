//! The bytes of graph deltas and checkpoints: LEB128 integers, length-prefixed text, little-endian doubles. Every read is
//! bounded by what is left, so damaged bytes give [`CodecError`], never a panic or a large allocation.

/// Bytes that are not what their version byte promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The bytes end inside a value.
    #[error("{what} is cut short")]
    Short {
        /// What was being read.
        what: &'static str,
    },
    /// A value that no writer makes.
    #[error("{what} holds {found}, which no version of the format has")]
    Value {
        /// What was being read.
        what: &'static str,
        /// The value found.
        found: u64,
    },
    /// The format is newer than this program.
    #[error("{what} has format version {found}; this program reads up to {newest}: start the newer program again")]
    Newer {
        /// What was being read.
        what: &'static str,
        /// Its version.
        found: u8,
        /// The newest version known here.
        newest: u8,
    },
    /// Bytes follow where the value ends.
    #[error("{count} bytes follow after the end of {what}")]
    Trailing {
        /// What was read.
        what: &'static str,
        /// How many bytes are left.
        count: usize,
    },
}

/// Appends values to a buffer.
#[derive(Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Begins with a format version.
    pub fn new(version: u8) -> Self {
        Self { bytes: vec![version] }
    }

    /// An unsigned integer, 1 to 10 bytes.
    pub fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// A signed integer, zig-zag.
    pub fn signed(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)) as u64);
    }

    /// A double, 8 bytes.
    pub fn double(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Bytes with their length.
    pub fn blob(&mut self, value: &[u8]) {
        self.unsigned(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }

    /// Text with its length.
    pub fn text(&mut self, value: &str) {
        self.blob(value.as_bytes());
    }

    /// A flag, one byte.
    pub fn flag(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what an [`Encoder`] wrote.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Decoder<'a> {
    /// Begins behind the version byte, and gives it.
    ///
    /// # Errors
    /// Where the bytes are empty, or newer than `newest`.
    pub fn new(bytes: &'a [u8], what: &'static str, newest: u8) -> Result<(Self, u8), CodecError> {
        let (&found, rest) = bytes.split_first().ok_or(CodecError::Short { what })?;
        if found == 0 || found > newest {
            return Err(CodecError::Newer { what, found, newest });
        }
        Ok((Self { rest, what }, found))
    }

    fn short(&self) -> CodecError {
        CodecError::Short { what: self.what }
    }

    /// The error for a value that no writer makes.
    pub fn strange(&self, found: u64) -> CodecError {
        CodecError::Value { what: self.what, found }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.short())?;
        self.rest = rest;
        Ok(head)
    }

    /// See [`Encoder::unsigned`].
    ///
    /// # Errors
    /// Where the bytes end or are longer than 64 bits.
    pub fn unsigned(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.strange(value))
    }

    /// An unsigned integer of 32 bits.
    ///
    /// # Errors
    /// Where the bytes end or the value is larger.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        let value = self.unsigned()?;
        u32::try_from(value).map_err(|_| self.strange(value))
    }

    /// See [`Encoder::signed`].
    ///
    /// # Errors
    /// Where the bytes end.
    pub fn signed(&mut self) -> Result<i64, CodecError> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// See [`Encoder::double`].
    ///
    /// # Errors
    /// Where the bytes end.
    pub fn double(&mut self) -> Result<f64, CodecError> {
        let bytes = self.take(8)?;
        Ok(f64::from_le_bytes(bytes.try_into().map_err(|_| self.short())?))
    }

    /// See [`Encoder::blob`].
    ///
    /// # Errors
    /// Where the bytes end.
    pub fn blob(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.unsigned()?;
        self.take(usize::try_from(length).map_err(|_| self.strange(length))?)
    }

    /// See [`Encoder::text`]. What is not UTF-8 is replaced.
    ///
    /// # Errors
    /// Where the bytes end.
    pub fn text(&mut self) -> Result<String, CodecError> {
        Ok(String::from_utf8_lossy(self.blob()?).into_owned())
    }

    /// See [`Encoder::flag`].
    ///
    /// # Errors
    /// Where the bytes end or hold another value.
    pub fn flag(&mut self) -> Result<bool, CodecError> {
        match self.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.strange(u64::from(other))),
        }
    }

    /// The number of elements that follow, each at least a byte.
    ///
    /// # Errors
    /// Where there cannot be so many.
    pub fn count(&mut self) -> Result<usize, CodecError> {
        let count = self.unsigned()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.rest.len() => Ok(count),
            _ => Err(self.strange(count)),
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Where bytes are left.
    pub fn finish(self) -> Result<(), CodecError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(CodecError::Trailing { what: self.what, count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let mut out = Encoder::new(1);
        for value in [0, 127, 128, u64::MAX] {
            out.unsigned(value);
        }
        for value in [0, -1, i64::MIN, i64::MAX] {
            out.signed(value);
        }
        out.double(-0.5);
        out.text("é");
        out.flag(true);
        let bytes = out.finish();
        let (mut reader, version) = Decoder::new(&bytes, "test", 1).unwrap();
        assert_eq!(version, 1);
        for value in [0, 127, 128, u64::MAX] {
            assert_eq!(reader.unsigned(), Ok(value));
        }
        for value in [0, -1, i64::MIN, i64::MAX] {
            assert_eq!(reader.signed(), Ok(value));
        }
        assert_eq!((reader.double(), reader.text(), reader.flag()), (Ok(-0.5), Ok("é".into()), Ok(true)));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn damaged_bytes_are_errors_that_say_what() {
        let check = |bytes: &[u8], read: fn(&mut Decoder<'_>) -> Result<(), CodecError>, expected: &str| {
            let (mut reader, _) = Decoder::new(bytes, "a delta", 1).unwrap();
            assert_eq!(read(&mut reader).unwrap_err().to_string(), expected);
        };
        check(&[1], |r| r.unsigned().map(drop), "a delta is cut short");
        check(&[1, 0x80], |r| r.unsigned().map(drop), "a delta is cut short");
        check(&[1, 5, 1], |r| r.blob().map(drop), "a delta is cut short");
        check(&[1, 9, 1], |r| r.count().map(drop), "a delta holds 9, which no version of the format has");
        check(&[1, 2], |r| r.flag().map(drop), "a delta holds 2, which no version of the format has");
        let newer = Decoder::new(&[2], "a delta", 1).unwrap_err().to_string();
        assert_eq!(newer, "a delta has format version 2; this program reads up to 1: start the newer program again");
        let (reader, _) = Decoder::new(&[1, 0], "a delta", 1).unwrap();
        assert_eq!(reader.finish().unwrap_err().to_string(), "1 bytes follow after the end of a delta");
    }
}
