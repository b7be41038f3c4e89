//! One walk through a document that fills the columns and keeps what has none.

use crate::builder::{Builder, Offsets, Structs, Texts, superseded_keys};
use crate::cursor::{Cursor, Quoted};
use crate::extras::Extras;
use std::borrow::Cow;
use tidemill_json::{decode_into, value};

/// Integers up to this size are doubles without rounding.
const EXACT_MAX: u64 = 1 << 53;

/// Puts the document into the next row of `columns`. What is no object is an extra as a whole.
pub(crate) fn put_document<'d>(document: &'d [u8], columns: &mut Structs, extras: &mut Extras<'d>) {
    let mut cursor = Cursor::new(document);
    if cursor.eat(b'{') {
        put_members(&mut cursor, columns, extras);
    } else {
        extras.misfit(cursor.value());
    }
    columns.close();
}

/// Puts the next value behind the rows of `builder`, as one more row. What values mostly are comes first.
#[inline(always)]
fn put<'d>(cursor: &mut Cursor<'d>, builder: &mut Builder, extras: &mut Extras<'d>) {
    match builder {
        Builder::Long(values) => {
            if let Some(value) = cursor.short_integer() {
                return values.push(Some(value));
            }
        }
        Builder::Double(values) => {
            let here = *cursor;
            if let Some(value) = cursor.short_integer().filter(|value| value.unsigned_abs() <= EXACT_MAX) {
                return values.push(Some(value as f64));
            }
            *cursor = here;
        }
        Builder::Text(texts) => {
            let here = *cursor;
            if let Some(text) = cursor.string().filter(|text| !text.has_escapes) {
                return texts.push(Some(text.inside));
            }
            *cursor = here;
        }
        _ => {}
    }
    put_any(cursor, builder, extras);
}

fn put_any<'d>(cursor: &mut Cursor<'d>, builder: &mut Builder, extras: &mut Extras<'d>) {
    let row = builder.len();
    match (builder, cursor.peek()) {
        (Builder::Struct(structs), Some(b'{')) => {
            cursor.eat(b'{');
            put_members(cursor, structs, extras);
            structs.close();
        }
        (Builder::List(offsets, inner), Some(b'[')) => {
            cursor.eat(b'[');
            put_elements(cursor, offsets, inner, extras);
        }
        (Builder::Map(offsets, keys, values), Some(b'{')) => {
            cursor.eat(b'{');
            put_entries(cursor, offsets, keys, values, extras);
        }
        (builder, _) => {
            let found = cursor.value();
            if !put_scalar(found, builder) && !value::is_null(found) {
                extras.misfit(found);
            }
            builder.pad(row + 1);
        }
    }
}

/// Puts a scalar, or JSON text; `false`, and maybe nothing put, where it does not fit.
fn put_scalar(found: &[u8], builder: &mut Builder) -> bool {
    match builder {
        Builder::Boolean(values) => put_some(value::as_bool(found), |value| values.push(Some(value))),
        Builder::Long(values) => put_some(value::as_i64(found), |value| values.push(Some(value))),
        Builder::Double(values) => put_some(value::as_f64(found), |value| values.push(Some(value))),
        Builder::Text(texts) => texts.push_with(|out| value::text_into(found, out)),
        Builder::Json(texts) => {
            let is_value = !found.is_empty() && !value::is_null(found);
            texts.push(is_value.then_some(found));
            is_value
        }
        Builder::Struct(_) | Builder::List(..) | Builder::Map(..) => false,
    }
}

fn put_some<T>(value: Option<T>, push: impl FnOnce(T)) -> bool {
    value.map(push).is_some()
}

/// Puts the members of an object whose brace is behind the cursor into the row that `columns` has next.
fn put_members<'d>(cursor: &mut Cursor<'d>, columns: &mut Structs, extras: &mut Extras<'d>) {
    let row = columns.len();
    let start = extras.mark();
    let mut previous = None;
    let mut unknown = 0_usize;
    // Of children that left extras: which, and where those lie, for the case that their key comes again.
    let mut left: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
    while let Some(key) = cursor.key() {
        let child = if key.has_escapes { columns.find(&plain(key), previous) } else { columns.find(key.inside, previous) };
        let Some(child) = child else {
            extras.unknown(key.inside, cursor.value());
            unknown += 1;
            continue;
        };
        previous = Some(child);
        let builder = &mut columns.children[child];
        let length = builder.len();
        if length > row {
            builder.truncate(row);
            forget(child, &mut left, extras);
        } else if length < row {
            builder.pad(row);
        }
        let mark = extras.mark();
        extras.enter_key(key.inside);
        put(cursor, builder, extras);
        extras.leave();
        if extras.mark() > mark {
            left.push((child, mark..extras.mark()));
        }
    }
    if unknown > 1 {
        extras.drop_duplicates(start);
    }
}

fn forget(child: usize, left: &mut Vec<(usize, std::ops::Range<usize>)>, extras: &mut Extras<'_>) {
    if let Some(at) = left.iter().position(|(other, _)| *other == child) {
        extras.drop_between(left.swap_remove(at).1);
    }
}

/// The key without escapes.
#[inline(always)]
fn plain(key: Quoted<'_>) -> Cow<'_, [u8]> {
    if !key.has_escapes {
        return Cow::Borrowed(key.inside);
    }
    Cow::Owned(decoded(key.inside))
}

#[cold]
fn decoded(inside: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(inside.len());
    decode_into(inside, &mut text);
    text
}

fn put_elements<'d>(cursor: &mut Cursor<'d>, offsets: &mut Offsets, inner: &mut Builder, extras: &mut Extras<'d>) {
    let start = offsets.end();
    let mut end = start;
    while cursor.has_element() {
        extras.enter_position(end - start);
        put(cursor, inner, extras);
        extras.leave();
        end += 1;
    }
    offsets.close(end);
}

/// Maps hold each key once, because readers insist on it: where one comes twice, the entries are read again without the earlier.
fn put_entries<'d>(cursor: &mut Cursor<'d>, offsets: &mut Offsets, keys: &mut Texts, values: &mut Builder, extras: &mut Extras<'d>) {
    let (start, again, mark) = (offsets.end(), *cursor, extras.mark());
    put_entries_but(cursor, start, &[], keys, values, extras);
    let superseded = superseded_keys(keys, start);
    if !superseded.is_empty() {
        let positions: Vec<usize> = superseded.iter().map(|row| row - start).collect();
        Builder::truncate_entries(start, keys, values);
        extras.drop_between(mark..extras.mark());
        *cursor = again;
        put_entries_but(cursor, start, &positions, keys, values, extras);
    }
    offsets.close(keys.len());
}

/// `but` are positions of entries, ascending, that are left out.
fn put_entries_but<'d>(
    cursor: &mut Cursor<'d>,
    start: usize,
    but: &[usize],
    keys: &mut Texts,
    values: &mut Builder,
    extras: &mut Extras<'d>,
) {
    debug_assert_eq!((keys.len(), values.len()), (start, start));
    let mut but = but.iter().copied().peekable();
    let mut position = 0;
    while let Some(key) = cursor.key() {
        if but.next_if_eq(&position).is_some() {
            cursor.value();
        } else {
            keys.push(Some(&plain(key)));
            extras.enter_key(key.inside);
            put(cursor, values, extras);
            extras.leave();
        }
        position += 1;
    }
}
