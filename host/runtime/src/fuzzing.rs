//! Guests' answers made of arbitrary bytes, for fuzzing alone (cargo feature `fuzzing`).
//!
//! Bytes decide every value; the lists mostly have the lengths they should have, so that what lies behind the first checks is reached.

use crate::bindings::tidemill::plugin::types as wit;
use crate::declared::Declared;
use crate::decoded::{Cell, Decoded};
use crate::delivery::check_deliveries;
use crate::findings::Findings;
use crate::limits::Limits;
use crate::plan::{ColumnKind, Field, Plan, Scope, Section, Subscription};

/// Whether an answer was sound, for those who want to know what a corpus reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// A decoder's answer.
    pub decoded: bool,
    /// The answers of an analysis plugin: how many.
    pub findings: u32,
    /// An output plugin's answer.
    pub deliveries: bool,
}

/// Checks a decoder's answer, several of an analysis plugin and one of an output plugin, and reads what was found sound.
///
/// # Panics
/// Where a check let through what cannot be read: that is what is looked for.
pub fn check_answers(bytes: &[u8]) -> Sound {
    let mut source = Source(bytes);
    let decoded = check_decoded(&mut source);
    let mut declared = Declared::default();
    let findings = (0..1 + source.below(3)).filter(|_| check_findings(&mut source, &mut declared)).count();
    Sound { decoded, findings: findings as u32, deliveries: check_output(&mut source) }
}

/// Values from the front of the bytes; zeros behind their end.
struct Source<'s>(&'s [u8]);

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    fn below(&mut self, limit: u32) -> u32 {
        u32::from(self.byte()) % limit.max(1)
    }

    /// Mostly small, now and then anything.
    fn number(&mut self, usual_max: u32) -> u32 {
        match self.byte() {
            255 => u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
            254 => u32::MAX,
            byte => u32::from(byte) % usual_max.saturating_add(1),
        }
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.byte()).collect()
    }

    /// As many as there should be, or a few more or fewer.
    fn around(&mut self, length: usize) -> usize {
        match self.byte() {
            255 => length + 1,
            254 => length.saturating_sub(1),
            253 => 0,
            _ => length,
        }
    }

    fn text(&mut self) -> String {
        let length = self.below(12) as usize;
        String::from_utf8_lossy(&self.bytes(length)).into_owned()
    }

    fn double(&mut self) -> f64 {
        match self.byte() {
            255 => f64::NAN,
            254 => f64::INFINITY,
            byte => f64::from(byte),
        }
    }

    fn list<T>(&mut self, most: u32, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }
}

const KINDS: [ColumnKind; 6] =
    [ColumnKind::Int64, ColumnKind::Float64, ColumnKind::Boolean, ColumnKind::Text, ColumnKind::Bytes, ColumnKind::Json];

fn plan(source: &mut Source<'_>) -> Plan {
    let subscription = Subscription { matcher: "TRUE".into(), columns: vec![], scope: Scope::Stateless, tick_ms: 0 };
    let field = |source: &mut Source<'_>| Field { name: "f".into(), kind: KINDS[source.below(6) as usize], representation: String::new() };
    let fields = source.list(5, field);
    let section_plans: Vec<Vec<Section>> = source.list(3, |_| vec![]);
    Plan { subscription, fields, section_plans }
}

fn columns(source: &mut Source<'_>, plan: &Plan, rows: usize) -> wit::ColumnsResult {
    let count = |kind| plan.fields.iter().filter(|field| field.kind == kind).count();
    let in_arena = plan.fields.iter().filter(|field| field.kind.is_in_arena()).count();
    let mut list = |length: usize| {
        let length = source.around(length);
        source.bytes(length)
    };
    let (int64s, float64s) = (list(8 * rows * count(ColumnKind::Int64)), list(8 * rows * count(ColumnKind::Float64)));
    let bits = list(rows * (count(ColumnKind::Boolean) + plan.fields.len()));
    let (spans, arena) = (list(0), list(24));
    // Zero or one, but for one byte in 64.
    let bits = bits.into_iter().map(|bit| if bit % 64 == 63 { bit } else { bit % 2 }).collect();
    let mut last = 0_u32;
    let offsets = source.around((rows + 1) * in_arena);
    let offsets = (0..offsets).flat_map(|_| {
        last = if source.byte() > 250 { source.number(30) } else { last.saturating_add(source.below(3)).min(24) };
        last.to_le_bytes()
    });
    wit::ColumnsResult { int64s, float64s, bits, spans, offsets: offsets.collect(), arena }
}

fn check_decoded(source: &mut Source<'_>) -> bool {
    let (plan, rows) = (plan(source), 1 + source.below(4));
    let columns = columns(source, &plan, rows as usize);
    let arena_bytes = columns.arena.len();
    let plan_of = source.around(rows as usize);
    let raw = wit::Decoded {
        columns,
        plan_of: (0..plan_of).map(|_| source.number(2) as u8).collect(),
        rejections: source.list(3, |source| wit::Rejection { row: source.number(4), code: source.number(9), text: source.text() }),
    };
    let Ok(decoded) = Decoded::check(raw, rows, &plan, &Limits::default()) else { return false };
    let mut read_bytes = 0;
    for row in 0..=rows {
        for field in 0..=plan.fields.len() {
            read_bytes += match decoded.cell(field, row) {
                Cell::Text(text) => text.len(),
                Cell::Json(json) => std::str::from_utf8(json).expect("JSON cells are UTF-8").len(),
                Cell::Bytes(bytes) => bytes.len(),
                Cell::Float64(value) => usize::from(value.is_nan()) * usize::MAX,
                Cell::Int64(_) | Cell::Bool(_) | Cell::Null => 0,
            };
        }
        assert!(usize::from(decoded.plan_of(row)) < plan.section_plans.len().max(1), "a plan that was declared");
    }
    assert!(read_bytes <= arena_bytes, "{read_bytes} bytes of {arena_bytes}");
    assert!(decoded.rejections.is_sorted_by(|a, b| a.row < b.row) && decoded.rejections.iter().all(|rejection| rejection.row < rows));
    true
}

fn messages(source: &mut Source<'_>) -> wit::Messages {
    let row = source.list(3, |source| source.number(4));
    let keys = source.around(row.len());
    let offsets = source.around(row.len() + 1);
    wit::Messages {
        keys: (0..keys).map(|_| source.text()).collect(),
        offsets: (0..offsets).map(|_| source.number(9)).collect(),
        arena: source.bytes(8),
        row,
    }
}

fn cells(source: &mut Source<'_>) -> wit::Cells {
    let graph = source.list(4, |source| source.number(2));
    let (columns, times, values) = (source.around(graph.len()), source.around(graph.len()), source.around(graph.len()));
    wit::Cells {
        column: (0..columns).map(|_| source.number(2)).collect(),
        time_s: (0..times).map(|_| source.number(u32::MAX - 1)).collect(),
        value: (0..values).map(|_| source.double()).collect(),
        graph,
    }
}

fn rule(source: &mut Source<'_>) -> wit::AlertRule {
    let (graph, column, id) = (source.number(2), source.number(2), source.text());
    let test = [wit::AlertTest::Inactive, wit::AlertTest::Above, wit::AlertTest::PercentChange][source.below(3) as usize];
    wit::AlertRule { graph, column, id, test, threshold: source.double(), window_rows: source.number(9), throttle_s: source.number(9) }
}

fn findings(source: &mut Source<'_>) -> wit::Findings {
    wit::Findings {
        messages: messages(source),
        new_graphs: source.list(3, |source| wit::Graph {
            title: source.text(),
            rows: source.number(90),
            seconds_per_row: source.number(60),
        }),
        new_columns: source.list(3, |source| wit::GraphColumn {
            graph: source.number(2),
            name: source.text(),
            unit: source.text(),
            aggregation: wit::Aggregation::Sum,
        }),
        new_rules: source.list(2, rule),
        cells: cells(source),
        payloads: source.list(2, |source| wit::Payload { name: source.text(), media_type: source.text(), data: source.bytes(4) }),
        alerts: source.list(2, |source| wit::Alert {
            row: source.number(4),
            id: source.text(),
            summary: source.text(),
            detail: source.text(),
            throttle_s: source.number(9),
        }),
    }
}

fn check_findings(source: &mut Source<'_>, declared: &mut Declared) -> bool {
    let rows = Some(1 + source.below(4)).filter(|rows| *rows < 4);
    let raw = findings(source);
    let arena_bytes = raw.messages.arena.len();
    let Ok(findings) = Findings::check(raw, rows, declared, &Limits::default()) else { return false };
    let bytes: usize = findings.messages.iter().map(|message| message.bytes.len()).sum();
    assert!(bytes <= arena_bytes, "{bytes} bytes of {arena_bytes}");
    assert!(findings.cells.iter().all(|cell| !cell.value.is_nan()));
    let of_batch = |row: u32| rows.is_none_or(|rows| row < rows);
    assert!(findings.messages.iter().all(|message| of_batch(message.row)) && findings.alerts.iter().all(|alert| of_batch(alert.row)));
    true
}

fn target(source: &mut Source<'_>) -> wit::Target {
    match source.below(4) {
        0 => {
            let method = ["POST", "PUT", "GET", "\r\n"][source.below(4) as usize].to_owned();
            let url = ["http://a/", "https://b:1/c?d", "file:///", ""][source.below(4) as usize].to_owned() + &source.text();
            let headers = source.list(2, |source| (source.text(), source.text()));
            wit::Target::Http(wit::Request { method, url, headers })
        }
        1 => wit::Target::Object(source.text()),
        2 => wit::Target::Append(source.text()),
        _ => wit::Target::Bus(wit::BusKey { topic: source.text(), key: source.bytes(3) }),
    }
}

fn check_output(source: &mut Source<'_>) -> bool {
    let rows = 1 + source.below(4);
    let delivery = |source: &mut Source<'_>| {
        let (target, first_row, last_row) = (target(source), source.number(4), source.number(4));
        wit::Delivery { target, first_row, last_row, body: source.bytes(2) }
    };
    let raw = source.list(3, delivery);
    let Ok(deliveries) = check_deliveries(raw, rows, &Limits::default()) else { return false };
    deliveries.iter().all(|delivery| delivery.first_row <= delivery.last_row && delivery.last_row < rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tidemill_mutate::{Budget, Fuzz};

    /// An answer of each kind may be sound, or the checks behind the first would never be reached.
    #[test]
    fn guests_answers() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus/guest");
        let fuzz = Fuzz::on_folder("guest", &folder);
        let sound = [const { Cell::new(0_u64) }; 3];
        let add = |at: usize, count: u32| sound[at].set(sound[at].get() + u64::from(count));
        let ran = fuzz.run(Budget::of_environment(), |bytes| {
            let Sound { decoded, findings, deliveries } = check_answers(bytes);
            add(0, decoded.into());
            add(1, findings);
            add(2, deliveries.into());
        });
        let sound = sound.map(Cell::into_inner);
        println!("guest: {} answers; sound: {sound:?} (decoded, findings, deliveries)", ran.inputs);
        assert!(sound.iter().all(|sound| sound * 100 >= ran.inputs), "{sound:?} of {}", ran.inputs);
    }
}
