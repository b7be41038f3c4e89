//! One walk through a document that fills the columns and keeps what has none.

use crate::builder::{Builder, Offsets, Structs, Texts, superseded_keys};
use crate::extras::Extras;
use std::borrow::Cow;
use tidemill_json::{Quoted, Stepper, decode_into, value};

/// Integers up to this size are doubles without rounding.
const EXACT_MAX: u64 = 1 << 53;

/// Puts the document into the next row of `columns`. What is no object is an extra as a whole.
pub(crate) fn put_document<'d>(document: &'d [u8], columns: &mut Structs, extras: &mut Extras<'d>) {
    let mut stepper = Stepper::new(document);
    if stepper.eat(b'{') {
        put_members(&mut stepper, columns, extras);
    } else {
        extras.misfit(stepper.value());
    }
    columns.close();
}

/// Puts the next value behind the rows of `builder`, as one more row. What values mostly are comes first.
#[inline(always)]
fn put<'d>(stepper: &mut Stepper<'d>, builder: &mut Builder, extras: &mut Extras<'d>) {
    match builder {
        Builder::Long(values) => {
            if let Some(value) = stepper.short_integer() {
                return values.push(Some(value));
            }
        }
        Builder::Double(values) => {
            let here = *stepper;
            if let Some(value) = stepper.short_integer().filter(|value| value.unsigned_abs() <= EXACT_MAX) {
                return values.push(Some(value as f64));
            }
            *stepper = here;
        }
        Builder::Text(texts) => {
            let here = *stepper;
            if let Some(text) = stepper.string().filter(|text| !text.has_escapes) {
                return texts.push(Some(text.inside));
            }
            *stepper = here;
        }
        _ => {}
    }
    put_any(stepper, builder, extras);
}

fn put_any<'d>(stepper: &mut Stepper<'d>, builder: &mut Builder, extras: &mut Extras<'d>) {
    let row = builder.len();
    match (builder, stepper.peek()) {
        (Builder::Struct(structs), Some(b'{')) => {
            stepper.eat(b'{');
            put_members(stepper, structs, extras);
            structs.close();
        }
        (Builder::List(offsets, inner), Some(b'[')) => {
            stepper.eat(b'[');
            put_elements(stepper, offsets, inner, extras);
        }
        (Builder::Map(offsets, keys, values), Some(b'{')) => {
            stepper.eat(b'{');
            put_entries(stepper, offsets, keys, values, extras);
        }
        (builder, _) => {
            let found = stepper.value();
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

/// Puts the members of an object whose brace is behind the stepper into the row that `columns` has next.
fn put_members<'d>(stepper: &mut Stepper<'d>, columns: &mut Structs, extras: &mut Extras<'d>) {
    let row = columns.len();
    let start = extras.mark();
    let mut previous = None;
    let mut unknown = 0_usize;
    // Of children that left extras: which, and where those lie, for the case that their key comes again.
    let mut left: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
    while let Some(key) = stepper.key() {
        let child = if key.has_escapes { columns.find(&plain(key), previous) } else { columns.find(key.inside, previous) };
        let Some(child) = child else {
            extras.unknown(key.inside, stepper.value());
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
        put(stepper, builder, extras);
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

fn put_elements<'d>(stepper: &mut Stepper<'d>, offsets: &mut Offsets, inner: &mut Builder, extras: &mut Extras<'d>) {
    let start = offsets.end();
    let mut end = start;
    while stepper.has_element() {
        extras.enter_position(end - start);
        put(stepper, inner, extras);
        extras.leave();
        end += 1;
    }
    offsets.close(end);
}

/// Maps hold each key once, because readers insist on it: where one comes twice, the entries are read again without the earlier.
fn put_entries<'d>(stepper: &mut Stepper<'d>, offsets: &mut Offsets, keys: &mut Texts, values: &mut Builder, extras: &mut Extras<'d>) {
    let (start, again, mark) = (offsets.end(), *stepper, extras.mark());
    put_entries_but(stepper, start, &[], keys, values, extras);
    let superseded = superseded_keys(keys, start);
    if !superseded.is_empty() {
        let positions: Vec<usize> = superseded.iter().map(|row| row - start).collect();
        Builder::truncate_entries(start, keys, values);
        extras.drop_between(mark..extras.mark());
        *stepper = again;
        put_entries_but(stepper, start, &positions, keys, values, extras);
    }
    offsets.close(keys.len());
}

/// `but` are positions of entries, ascending, that are left out.
fn put_entries_but<'d>(
    stepper: &mut Stepper<'d>,
    start: usize,
    but: &[usize],
    keys: &mut Texts,
    values: &mut Builder,
    extras: &mut Extras<'d>,
) {
    debug_assert_eq!((keys.len(), values.len()), (start, start));
    let mut but = but.iter().copied().peekable();
    let mut position = 0;
    while let Some(key) = stepper.key() {
        if but.next_if_eq(&position).is_some() {
            stepper.value();
        } else {
            keys.push(Some(&plain(key)));
            extras.enter_key(key.inside);
            put(stepper, values, extras);
            extras.leave();
        }
        position += 1;
    }
}
