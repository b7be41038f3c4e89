//! Looking things up in a document without a schema.

use crate::captures::decode_segment;
use crate::pass::{Backend, Pass};
use crate::span::Refusal;
use crate::text::text_equals;
use crate::value::{Elements, Members};

/// The value that JSON `pointer` names in `document`; of duplicate keys the last.
///
/// The document should have passed [`check`] or a [`Pass`]: of one that has not, anything or nothing
/// is returned, but never a panic. `*` stands for itself here. Cost: one scan of the objects
/// and arrays on the way.
pub fn get<'d>(document: &'d [u8], pointer: &str) -> Option<&'d [u8]> {
    let inside = match pointer.strip_prefix('/') {
        Some(inside) => inside,
        None => return pointer.is_empty().then(|| document.trim_ascii()),
    };
    inside.split('/').try_fold(document.trim_ascii(), step)
}

/// The value of one member or element of `value`.
fn step<'d>(value: &'d [u8], segment: &str) -> Option<&'d [u8]> {
    match value.first()? {
        b'[' => {
            let position: usize = segment.parse().ok().filter(|position: &usize| position.to_string() == segment)?;
            Elements::new(value).nth(position)
        }
        _ if segment.contains('~') => last_member(value, &decode_segment(segment)?),
        _ => last_member(value, segment),
    }
}

/// The last member of that key.
pub(crate) fn last_member<'d>(value: &'d [u8], key: &str) -> Option<&'d [u8]> {
    Members::new(value).filter(|(inside, _)| text_equals(inside, key.as_bytes())).last().map(|(_, value)| value)
}

/// Checks that `document` is JSON of the dialect.
///
/// # Errors
/// [`Refusal::Json`] with the place and the reason.
pub fn check(document: &[u8]) -> Result<(), Refusal> {
    Pass::with_backend(Backend::Safe).check(document)
}
