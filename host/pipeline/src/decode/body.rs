//! From a message's body to the document: gunzip, bounded.

use super::failure::{ErrorType, Failure};
use libdeflater::{Crc, DecompressionError, Decompressor};
use tidemill_json::Padded;

/// What every gzip member begins with: magic and the only compression method.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// The smallest gzip member: header, an empty block, trailer.
const GZIP_BYTES_MIN: usize = 20;
/// CRC and length at the end of a member.
const TRAILER_BYTES: usize = 8;

/// Opens bodies; its memory is reused.
pub struct BodyOpener {
    gunzip: Decompressor,
    document_bytes_max: usize,
}

impl BodyOpener {
    /// An opener of documents up to this size.
    pub fn new(document_bytes_max: usize) -> Self {
        Self { gunzip: Decompressor::new(), document_bytes_max }
    }

    /// Puts the document of `body` into `document`: gzip, told by its first bytes whatever the headers said, or as it is.
    ///
    /// A body is one gzip member and nothing else: what follows it would be a part of the document that nobody looks at.
    ///
    /// # Errors
    /// `gunzip` where the data is broken, cut off or followed by other bytes, `too_large` where the document is over the limit,
    /// `json` where there is nothing.
    pub fn open(&mut self, body: &[u8], document: &mut Padded) -> Result<(), Failure> {
        if body.is_empty() {
            return Err(Failure::new(ErrorType::Json, "invalid submission: the body is empty"));
        }
        if body.starts_with(&GZIP_MAGIC[..2]) {
            return self.gunzip(body, document);
        }
        if body.len() > self.document_bytes_max {
            return Err(self.too_large());
        }
        document.set(body);
        Ok(())
    }

    fn gunzip(&mut self, body: &[u8], document: &mut Padded) -> Result<(), Failure> {
        // The trailer's length is a hint that saves memory; nothing relies on it.
        let expected = stated_length(body).min(self.document_bytes_max);
        let mut opened = self.gunzip_into(body, document, expected);
        if opened == Err(DecompressionError::InsufficientSpace) && expected < self.document_bytes_max {
            opened = self.gunzip_into(body, document, self.document_bytes_max);
        }
        match opened {
            Ok(()) if is_one_member(body, document) => Ok(()),
            Ok(()) => Err(gunzip_failure("bytes follow the end of the compressed data")),
            Err(DecompressionError::InsufficientSpace) => Err(self.too_large()),
            Err(DecompressionError::BadData) => Err(gunzip_failure("the compressed data is broken or cut off")),
        }
    }

    fn gunzip_into(&mut self, body: &[u8], document: &mut Padded, capacity: usize) -> Result<(), DecompressionError> {
        document.fill_with(capacity, |out| self.gunzip.gzip_decompress(body, out))
    }

    fn too_large(&self) -> Failure {
        Failure::new(ErrorType::TooLarge, format!("the document is over {} bytes", self.document_bytes_max))
    }
}

fn gunzip_failure(detail: &str) -> Failure {
    Failure::new(ErrorType::Gunzip, format!("invalid submission: {detail}"))
}

fn stated_length(body: &[u8]) -> usize {
    body.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length) as usize)
}

/// Whether the member that libdeflate opened is the whole body; libdeflate does not say how far it read.
///
/// The body's last four bytes must be the document's length. That leaves bodies of several members, the last as long as the
/// first: only where the magic appears a second time (in 0.05 % of random bodies of 8 KB) is the first member's end looked for.
fn is_one_member(body: &[u8], document: &[u8]) -> bool {
    stated_length(body) == document.len()
        && !memchr::memmem::find_iter(&body[1..], &GZIP_MAGIC).any(|at| ends_before(body, at + 1, document))
}

/// Whether the first member ends where another may begin: its trailer is there.
fn ends_before(body: &[u8], next: usize, document: &[u8]) -> bool {
    if next < GZIP_BYTES_MIN {
        return false;
    }
    let trailer = &body[next - TRAILER_BYTES..next];
    let mut crc = Crc::new();
    crc.update(document);
    trailer[..4] == crc.sum().to_le_bytes() && trailer[4..] == (document.len() as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use libdeflater::{CompressionLvl, Compressor};

    fn gzip(document: &[u8]) -> Vec<u8> {
        let mut compressor = Compressor::new(CompressionLvl::default());
        let mut out = vec![0; compressor.gzip_compress_bound(document.len())];
        let length = compressor.gzip_compress(document, &mut out).expect("fits");
        out.truncate(length);
        out
    }

    fn open(body: &[u8], limit: usize) -> Result<Vec<u8>, (&'static str, String)> {
        let mut document = Padded::new();
        let opened = BodyOpener::new(limit).open(body, &mut document);
        opened.map(|()| document.to_vec()).map_err(|failure| (failure.kind.as_str(), failure.text))
    }

    #[test]
    fn gzip_and_plain_bodies_open() {
        assert_eq!(open(b"{}", 100), Ok(b"{}".to_vec()));
        assert_eq!(open(&gzip(b"{}"), 100), Ok(b"{}".to_vec()));
        assert_eq!(open(&gzip(b""), 100), Ok(Vec::new()));
        assert_eq!(open(&gzip(&[b' '; 1000]), 1000).map(|document| document.len()), Ok(1000));
    }

    #[test]
    fn what_is_over_the_limit_is_too_large() {
        let too_large = || Err(("too_large", "the document is over 1000 bytes".to_owned()));
        assert_eq!(open(&[b' '; 1001], 1000), too_large());
        assert_eq!(open(&gzip(&[b' '; 1001]), 1000), too_large());
    }

    #[test]
    fn broken_gzip_is_told_apart() {
        let whole = gzip(br#"{"a": [1, 2, 3, "some text"]}"#);
        let broken = Err(("gunzip", "invalid submission: the compressed data is broken or cut off".to_owned()));
        for length in 2..whole.len() {
            assert_eq!(open(&whole[..length], 1000), broken, "cut at {length}");
        }
        let mut flipped = whole.clone();
        flipped[15] ^= 0x10;
        assert_eq!(open(&flipped, 1000), broken);
        // A lying length: libdeflate compares it after the data.
        let mut lying = whole.clone();
        let at = lying.len() - 4;
        lying[at..].copy_from_slice(&7u32.to_le_bytes());
        assert_eq!(open(&lying, 1000), broken);
    }

    #[test]
    fn a_body_is_one_member_and_nothing_else() {
        let one = gzip(b"{\"a\": 1}");
        let followed = Err(("gunzip", "invalid submission: bytes follow the end of the compressed data".to_owned()));
        assert_eq!(open(&[&one[..], b"\0"].concat(), 1000), followed);
        assert_eq!(open(&[&one[..], &one[..]].concat(), 1000), followed, "the same member twice");
        assert_eq!(open(&[&one[..], &gzip(b"{\"b\": 2}")].concat(), 1000), followed, "members of one length");
        assert_eq!(open(&[&one[..], &gzip(b"{}")].concat(), 1000), followed, "members of two lengths");
    }

    #[test]
    fn nothing_is_not_a_document() {
        assert_eq!(open(b"", 1000), Err(("json", "invalid submission: the body is empty".to_owned())));
    }
}
