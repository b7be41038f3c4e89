//! State that outlives the instance.

use crate::Failure;

/// For plugins whose state outlives the instance; exported by naming `state` in the `export_...!` macro. A plugin without it is
/// stateless by contract: what it keeps in its struct is lost with the instance.
///
/// Graphs are not part of it: the host keeps them.
pub trait State {
    /// The whole state as bytes, at most the host's `state_bytes_max`. Equal states must give equal bytes, so sort what a
    /// `HashMap` holds, or keep a `BTreeMap`.
    fn snapshot(&self) -> Vec<u8>;

    /// Called once, after `open`. `from_version` is the version of the plugin that made the bytes: 12 hex digits.
    fn restore(&mut self, bytes: &[u8], from_version: &str) -> Result<(), Failure>;
}

/// Writes a state's bytes: little-endian numbers, and texts behind their length.
#[derive(Debug, Default)]
pub struct StateWriter(Vec<u8>);

impl StateWriter {
    /// Begins with the number of the state's own format, which [`StateReader::new`] checks.
    pub fn new(format: u32) -> Self {
        Self(format.to_le_bytes().to_vec())
    }

    /// Adds a count.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Adds a whole number.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.u64(value as u64)
    }

    /// Adds a number, bit by bit.
    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.u64(value.to_bits())
    }

    /// Adds bytes behind their length.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u64(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    /// Adds text behind its length.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// The bytes.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what [`StateWriter`] wrote, in the same order. Every method fails where the bytes end early.
#[derive(Debug)]
pub struct StateReader<'a>(&'a [u8]);

impl<'a> StateReader<'a> {
    /// Checks the number of the format.
    ///
    /// # Errors
    /// Another format: a version that can read several looks at the first four bytes itself.
    pub fn new(bytes: &'a [u8], format: u32) -> Result<Self, Failure> {
        let (head, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        let found = u32::from_le_bytes(*head);
        if found != format {
            return Err(Failure::new(format!("the state has format {found}, this version of the plugin reads {format}")));
        }
        Ok(Self(rest))
    }

    /// A count.
    pub fn u64(&mut self) -> Result<u64, Failure> {
        let (head, rest) = self.0.split_first_chunk().ok_or_else(short)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*head))
    }

    /// A whole number.
    pub fn i64(&mut self) -> Result<i64, Failure> {
        Ok(self.u64()? as i64)
    }

    /// A number.
    pub fn f64(&mut self) -> Result<f64, Failure> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// Bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], Failure> {
        let len = usize::try_from(self.u64()?).map_err(|_| short())?;
        let (value, rest) = self.0.split_at_checked(len).ok_or_else(short)?;
        self.0 = rest;
        Ok(value)
    }

    /// Text.
    pub fn text(&mut self) -> Result<&'a str, Failure> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Failure::new("the state has a text that is not UTF-8"))
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn short() -> Failure {
    Failure::new("the state ends early")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        let mut writer = StateWriter::new(3);
        writer.u64(u64::MAX).i64(-1).f64(-0.0).text("é").bytes(&[0, 255]);
        let bytes = writer.finish();
        let mut reader = StateReader::new(&bytes, 3).unwrap();
        assert_eq!((reader.u64(), reader.i64()), (Ok(u64::MAX), Ok(-1)));
        assert_eq!(reader.f64().map(f64::to_bits), Ok((-0.0_f64).to_bits()));
        assert_eq!((reader.text(), reader.bytes()), (Ok("é"), Ok(&[0, 255][..])));
        assert!(reader.is_empty());
        assert_eq!(reader.u64().unwrap_err().text, "the state ends early");
    }

    #[test]
    fn refuses_another_format_and_lying_lengths() {
        let check = |bytes: &[u8], expected: &str| {
            let read = StateReader::new(bytes, 1).and_then(|mut reader| reader.bytes().map(<[u8]>::to_vec));
            assert_eq!(read.unwrap_err().text, expected);
        };
        check(&[], "the state ends early");
        check(&[2, 0, 0, 0], "the state has format 2, this version of the plugin reads 1");
        check(&[1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0], "the state ends early");
    }
}
