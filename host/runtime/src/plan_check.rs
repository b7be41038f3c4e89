//! From what a guest answered to `open` to a [`Plan`] that the host may rely on.

use std::collections::HashSet;

use tidemill_message::Matcher;

use crate::bindings::tidemill::plugin::types as wit;
use crate::error::{Broken, broken};
use crate::limits::{COLUMNS_MAX, Limits, within};
use crate::plan::{ColumnKind, ColumnRequest, Fate, Field, Kind, Plan, Scope, Section, Shape, Subscription};

/// Longest matcher expression in bytes.
const MATCHER_BYTES_MAX: usize = 4_096;
/// Longest path in bytes.
const PATH_BYTES_MAX: usize = 1_024;
/// Most segments of a path: the depth of a document.
const PATH_SEGMENTS_MAX: usize = 128;
/// Longest name of a field in bytes.
const NAME_BYTES_MAX: usize = 255;
/// Shortest time between timers.
const TICK_MS_MIN: u32 = 100;

const NUMBER_HEADERS: [&str; 3] = ["Timestamp", "Severity", "Pid"];
const TEXT_HEADERS: [&str; 6] = ["Type", "Logger", "Hostname", "Uuid", "Payload", "EnvVersion"];

/// What the answer is checked against.
pub(crate) struct Terms<'a> {
    pub(crate) kind: Kind,
    pub(crate) has_timers: bool,
    pub(crate) limits: &'a Limits,
}

impl Terms<'_> {
    /// The plan of a decoder.
    pub(crate) fn decoder_plan(&self, raw: wit::DecoderPlan) -> Result<Plan, Broken> {
        let wit::DecoderPlan { subscription, fields, section_plans } = raw;
        let limits = self.limits;
        within("columns_max", limits.columns_max.min(COLUMNS_MAX), 0, fields.len() as u64)?;
        within("section_plans_max", limits.section_plans_max.min(256), 0, section_plans.len() as u64)?;
        let subscription = self.subscription(subscription)?;
        let fields = check_fields(fields)?;
        let section_plans = section_plans.into_iter().enumerate();
        let section_plans = section_plans.map(|(at, sections)| self.sections(at, sections)).collect::<Result<_, _>>()?;
        Ok(Plan { subscription, fields, section_plans })
    }

    /// The plan of an analysis or output plugin.
    pub(crate) fn plan(&self, raw: wit::Subscription) -> Result<Plan, Broken> {
        Ok(Plan { subscription: self.subscription(raw)?, fields: Vec::new(), section_plans: Vec::new() })
    }

    fn subscription(&self, raw: wit::Subscription) -> Result<Subscription, Broken> {
        let wit::Subscription { matcher, columns, scope, tick_ms } = raw;
        within("columns_max", self.limits.columns_max.min(COLUMNS_MAX), 0, columns.len() as u64)?;
        check_matcher(&matcher)?;
        self.check_tick(tick_ms)?;
        let scope = Scope::from(scope);
        if self.kind == Kind::Decoder && scope == Scope::Global {
            return Err(broken!("`scope` is global, but a decoder reads its own partition: use stateless or partition"));
        }
        let columns = columns.into_iter().enumerate();
        let columns = columns.map(|(at, column)| check_column(at, column)).collect::<Result<_, _>>()?;
        Ok(Subscription { matcher, columns, scope, tick_ms })
    }

    fn check_tick(&self, tick_ms: u32) -> Result<(), Broken> {
        match tick_ms {
            0 => Ok(()),
            _ if !self.has_timers => Err(broken!("`tick-ms` is {tick_ms}, but the component does not export `timers`")),
            1..TICK_MS_MIN => Err(broken!("`tick-ms` is {tick_ms}: use 0 for none or at least {TICK_MS_MIN}")),
            _ => Ok(()),
        }
    }

    fn sections(&self, plan: usize, raw: Vec<wit::Section>) -> Result<Vec<Section>, Broken> {
        within("sections_max", self.limits.sections_max, 0, raw.len() as u64)?;
        let mut seen = HashSet::new();
        let mut sections = Vec::with_capacity(raw.len());
        for (at, wit::Section { path, fate }) in raw.into_iter().enumerate() {
            check_section(&path).map_err(|why| broken!("`section-plans[{plan}][{at}].path` is {path:?}: {why}"))?;
            if !seen.insert(path.clone()) {
                return Err(broken!("`section-plans[{plan}][{at}].path` is {path:?}, which the plan has already"));
            }
            sections.push(Section { path, fate: fate.into() });
        }
        Ok(sections)
    }
}

fn check_matcher(matcher: &str) -> Result<(), Broken> {
    if matcher.trim().is_empty() {
        return Err(broken!("`matcher` is empty: use `TRUE` for every message"));
    }
    if matcher.len() > MATCHER_BYTES_MAX {
        return Err(broken!("`matcher` has {} bytes, more than {MATCHER_BYTES_MAX}", matcher.len()));
    }
    Matcher::parse(matcher).map(drop).map_err(|error| broken!("`matcher`: {error}"))
}

fn check_column(at: usize, raw: wit::ColumnRequest) -> Result<ColumnRequest, Broken> {
    let wit::ColumnRequest { path, kind, shape, required } = raw;
    let column = ColumnRequest { path, kind: kind.into(), shape: shape.into(), required };
    check_path(&column).map_err(|why| broken!("`columns[{at}].path` is {:?}: {why}", column.path))?;
    Ok(column)
}

fn check_path(column: &ColumnRequest) -> Result<(), String> {
    let path = column.path.as_str();
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("it has {} bytes, more than {PATH_BYTES_MAX}", path.len()));
    }
    if path.is_empty() || path.starts_with('/') {
        return check_pointer_column(column);
    }
    if column.shape != Shape::One {
        return Err("shapes many and entries need a JSON pointer".into());
    }
    check_header(path, column.kind)
}

fn check_pointer_column(column: &ColumnRequest) -> Result<(), String> {
    let segments = segments(&column.path)?;
    if segments.is_empty() && (column.kind != ColumnKind::Json || column.shape != Shape::One) {
        return Err("the whole document is a column of kind json and shape one".into());
    }
    if segments.contains(&"*") && column.shape != Shape::Many {
        return Err("a `*` segment needs shape many".into());
    }
    Ok(())
}

fn check_header(path: &str, kind: ColumnKind) -> Result<(), String> {
    let is_number = matches!(kind, ColumnKind::Int64 | ColumnKind::Float64);
    if let Some(name) = path.strip_prefix("Fields[").and_then(|rest| rest.strip_suffix(']')) {
        return if name.is_empty() { Err("the field has no name".into()) } else { Ok(()) };
    }
    if NUMBER_HEADERS.contains(&path) {
        return if is_number { Ok(()) } else { Err("this header is a number: use kind int64".into()) };
    }
    if TEXT_HEADERS.contains(&path) {
        return if kind.is_in_arena() { Ok(()) } else { Err("this header is text: use kind text or bytes".into()) };
    }
    Err("neither a header, nor `Fields[name]`, nor a JSON pointer".into())
}

/// The segments of a JSON pointer as written, escapes checked.
fn segments(pointer: &str) -> Result<Vec<&str>, String> {
    let segments: Vec<&str> = pointer.split('/').skip(1).collect();
    if segments.len() > PATH_SEGMENTS_MAX {
        return Err(format!("it has {} segments, more than {PATH_SEGMENTS_MAX}", segments.len()));
    }
    let escapes_hold = |segment: &&str| segment.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    match segments.iter().find(|segment| !escapes_hold(segment)) {
        Some(segment) => Err(format!("in segment {segment:?} a `~` is followed by neither 0 nor 1")),
        None => Ok(segments),
    }
}

fn check_section(path: &str) -> Result<(), String> {
    if !path.starts_with('/') || path.len() > PATH_BYTES_MAX {
        return Err(format!("a section is a JSON pointer of one or two segments and at most {PATH_BYTES_MAX} bytes"));
    }
    let segments = segments(path)?;
    if segments.len() > 2 || segments.iter().any(|segment| segment.is_empty() || *segment == "*") {
        return Err("a section has one or two segments, none empty, none `*`".into());
    }
    Ok(())
}

fn check_fields(raw: Vec<wit::Field>) -> Result<Vec<Field>, Broken> {
    let mut seen = HashSet::new();
    let mut fields = Vec::with_capacity(raw.len());
    for (at, wit::Field { name, kind, representation }) in raw.into_iter().enumerate() {
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(char::is_control) {
            return Err(broken!("`fields[{at}].name` is {name:?}: use 1 to {NAME_BYTES_MAX} bytes without control characters"));
        }
        if representation.len() > NAME_BYTES_MAX {
            return Err(broken!("`fields[{at}].representation` has {} bytes, more than {NAME_BYTES_MAX}", representation.len()));
        }
        // The same name with another kind is a field whose type differs from row to row.
        if !seen.insert((name.clone(), std::mem::discriminant(&kind))) {
            return Err(broken!("`fields[{at}].name` is {name:?} of the same kind, which is there already"));
        }
        fields.push(Field { name, kind: kind.into(), representation });
    }
    Ok(fields)
}

impl From<wit::Kind> for ColumnKind {
    fn from(kind: wit::Kind) -> Self {
        match kind {
            wit::Kind::Int64 => Self::Int64,
            wit::Kind::Float64 => Self::Float64,
            wit::Kind::Boolean => Self::Boolean,
            wit::Kind::Text => Self::Text,
            wit::Kind::Bytes => Self::Bytes,
            wit::Kind::Json => Self::Json,
        }
    }
}

impl From<wit::Shape> for Shape {
    fn from(shape: wit::Shape) -> Self {
        match shape {
            wit::Shape::One => Self::One,
            wit::Shape::Many => Self::Many,
            wit::Shape::Entries => Self::Entries,
        }
    }
}

impl From<wit::Scope> for Scope {
    fn from(scope: wit::Scope) -> Self {
        match scope {
            wit::Scope::Stateless => Self::Stateless,
            wit::Scope::Partition => Self::Partition,
            wit::Scope::Global => Self::Global,
        }
    }
}

impl From<wit::Fate> for Fate {
    fn from(fate: wit::Fate) -> Self {
        match fate {
            wit::Fate::OwnField => Self::OwnField,
            wit::Fate::Drop => Self::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(path: &str, kind: wit::Kind, shape: wit::Shape) -> wit::ColumnRequest {
        wit::ColumnRequest { path: path.into(), kind, shape, required: false }
    }

    fn subscription(columns: Vec<wit::ColumnRequest>) -> wit::Subscription {
        wit::Subscription { matcher: "TRUE".into(), columns, scope: wit::Scope::Partition, tick_ms: 0 }
    }

    fn check(kind: Kind, raw: wit::DecoderPlan) -> String {
        let terms = Terms { kind, has_timers: false, limits: &Limits::default() };
        terms.decoder_plan(raw).map_or_else(|error| error.to_string(), |_| "ok".into())
    }

    fn check_subscription(raw: wit::Subscription) -> String {
        check(Kind::Decoder, wit::DecoderPlan { subscription: raw, fields: vec![], section_plans: vec![] })
    }

    #[test]
    fn column_paths() {
        use wit::{Kind::*, Shape::*};
        let cases = [
            (column("", Json, One), "ok"),
            (column("", Text, One), "`columns[0].path` is \"\": the whole document is a column of kind json and shape one"),
            (column("/a/*/b~1c", Int64, Many), "ok"),
            (column("/a/*", Int64, One), "`columns[0].path` is \"/a/*\": a `*` segment needs shape many"),
            (column("/a~2", Int64, One), "`columns[0].path` is \"/a~2\": in segment \"a~2\" a `~` is followed by neither 0 nor 1"),
            (column("Fields[x]", Boolean, One), "ok"),
            (column("Fields[]", Boolean, One), "`columns[0].path` is \"Fields[]\": the field has no name"),
            (column("Fields[x]", Boolean, Entries), "`columns[0].path` is \"Fields[x]\": shapes many and entries need a JSON pointer"),
            (column("Timestamp", Int64, One), "ok"),
            (column("Timestamp", Text, One), "`columns[0].path` is \"Timestamp\": this header is a number: use kind int64"),
            (column("Type", Int64, One), "`columns[0].path` is \"Type\": this header is text: use kind text or bytes"),
            (column("Typ", Text, One), "`columns[0].path` is \"Typ\": neither a header, nor `Fields[name]`, nor a JSON pointer"),
        ];
        for (column, want) in cases {
            assert_eq!(check_subscription(subscription(vec![column])), want);
        }
        let long = column(&"/a".repeat(129), Int64, One);
        assert!(check_subscription(subscription(vec![long])).ends_with("it has 129 segments, more than 128"));
        let many = vec![column("/a", Int64, One); 257];
        let want = "limit `columns_max` exceeded: limit 256, current 0, requested 257";
        assert_eq!(check_subscription(subscription(many)), want);
    }

    #[test]
    fn matcher_scope_and_tick() {
        let empty = wit::Subscription { matcher: " ".into(), ..subscription(vec![]) };
        assert_eq!(check_subscription(empty), "`matcher` is empty: use `TRUE` for every message");
        let open_end = wit::Subscription { matcher: "Type == ".into(), ..subscription(vec![]) };
        let text = check_subscription(open_end);
        assert!(text.starts_with("`matcher`: "), "{text}");
        let global = wit::Subscription { scope: wit::Scope::Global, ..subscription(vec![]) };
        let want = "`scope` is global, but a decoder reads its own partition: use stateless or partition";
        assert_eq!(check_subscription(global), want);
        let ticking = wit::Subscription { tick_ms: 500, ..subscription(vec![]) };
        let want = "`tick-ms` is 500, but the component does not export `timers`";
        assert_eq!(check_subscription(ticking.clone()), want);
        let terms = Terms { kind: Kind::Analysis, has_timers: true, limits: &Limits::default() };
        assert!(terms.plan(ticking.clone()).is_ok());
        let error = terms.plan(wit::Subscription { tick_ms: 99, ..ticking }).expect_err("too often");
        assert_eq!(error.to_string(), "`tick-ms` is 99: use 0 for none or at least 100");
    }

    #[test]
    fn fields_and_sections() {
        let field = |name: &str| wit::Field { name: name.into(), kind: wit::Kind::Text, representation: String::new() };
        let section = |path: &str| wit::Section { path: path.into(), fate: wit::Fate::Drop };
        let plan = |fields, section_plans| wit::DecoderPlan { subscription: subscription(vec![]), fields, section_plans };
        let cases = [
            (plan(vec![field("a"), field("b")], vec![vec![section("/a"), section("/a/b")]]), "ok"),
            (plan(vec![field("a"), field("a")], vec![]), "`fields[1].name` is \"a\" of the same kind, which is there already"),
            (plan(vec![field("")], vec![]), "`fields[0].name` is \"\": use 1 to 255 bytes without control characters"),
            (
                plan(vec![], vec![vec![], vec![section("/a/b/c")]]),
                "`section-plans[1][0].path` is \"/a/b/c\": a section has one or two segments, none empty, none `*`",
            ),
            (
                plan(vec![], vec![vec![section("a")]]),
                "`section-plans[0][0].path` is \"a\": a section is a JSON pointer of one or two segments and at most 1024 bytes",
            ),
            (plan(vec![], vec![vec![section("/a"), section("/a")]]), "`section-plans[0][1].path` is \"/a\", which the plan has already"),
        ];
        for (raw, want) in cases {
            assert_eq!(check(Kind::Decoder, raw), want);
        }
    }
}
