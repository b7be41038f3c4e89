//! What was measured: a row in the table and a line in `target/bench.json`.

use crate::paths::target;
use anyhow::Context;
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    io::Write,
};

/// A row.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// The bench.
    pub name: &'a str,
    /// What was measured.
    pub value: f64,
    /// In what; a unit with `/s` is better when higher, every other when lower.
    pub unit: &'a str,
    /// Name and value of the baseline of the same run.
    pub baseline: Option<(&'a str, f64)>,
    /// How many messages one run had.
    pub n: usize,
    /// What they are.
    pub corpus: &'a str,
}

impl Row<'_> {
    /// How many times better than the baseline.
    fn ratio(&self) -> Option<f64> {
        let (_, baseline) = self.baseline?;
        Some(if self.unit.ends_with("/s") { self.value / baseline } else { baseline / self.value })
    }

    fn json(&self) -> String {
        let &Self { name, value, unit, baseline, n, corpus } = self;
        let (baseline, baseline_value) = baseline.unzip();
        let row = json!({
            "name": name, "value": value, "unit": unit, "baseline": baseline, "baseline_value": baseline_value,
            "ratio": self.ratio(), "n": n, "corpus": corpus,
        });
        row.to_string()
    }

    fn text(&self) -> String {
        let &Self { name, value, unit, baseline, n, corpus } = self;
        let (baseline, baseline_value) = baseline.unzip();
        let baseline_value = baseline_value.map_or_else(|| "-".to_owned(), number);
        let ratio = self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let (value, baseline) = (number(value), baseline.unwrap_or("-"));
        format!("{name:<22} {value:>10} {unit:<10} {baseline:<10} {baseline_value:>10} {ratio:>6} {n:>8}  {corpus}")
    }
}

/// Three digits at least, thousands whole.
fn number(value: f64) -> String {
    let decimals = if value >= 1_000.0 { 0 } else { 2 };
    format!("{value:.decimals$}")
}

/// Where rows go.
pub struct Table {
    file: File,
    has_head: bool,
}

impl Table {
    /// Opens `target/bench.json` for appending.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn create() -> anyhow::Result<Self> {
        std::fs::create_dir_all(target()).context("the target folder")?;
        let file = OpenOptions::new().create(true).append(true).open(target().join("bench.json")).context("opening")?;
        Ok(Self { file, has_head: false })
    }

    /// Prints the row and appends its line.
    ///
    /// # Errors
    /// The line cannot be written.
    pub fn add(&mut self, row: &Row<'_>) -> anyhow::Result<()> {
        if !std::mem::replace(&mut self.has_head, true) {
            let [name, value, unit, baseline] = ["name", "value", "unit", "baseline"];
            println!("{name:<22} {value:>10} {unit:<10} {baseline:<10} {:>10} {:>6} {:>8}  corpus", "its value", "ratio", "n");
        }
        println!("{}", row.text());
        writeln!(self.file, "{}", row.json()).context("writing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row<'_> = Row { name: "a/b", value: 20.0, unit: "us", baseline: Some(("slow", 80.0)), n: 7, corpus: "few" };

    #[test]
    fn a_ratio_above_one_is_better() {
        assert_eq!(ROW.ratio(), Some(4.0));
        assert_eq!(Row { unit: "records/s", ..ROW }.ratio(), Some(0.25));
        assert_eq!(Row { baseline: None, ..ROW }.ratio(), None);
    }

    #[test]
    fn a_line_has_every_key() {
        let line = r#"{"baseline":"slow","baseline_value":80.0,"corpus":"few","n":7,"name":"a/b","ratio":4.0,"unit":"us","value":20.0}"#;
        let sorted = |text: &str| serde_json::from_str::<std::collections::BTreeMap<String, serde_json::Value>>(text).unwrap();
        assert_eq!(sorted(&ROW.json()), sorted(line));
        let alone = sorted(&Row { baseline: None, ..ROW }.json());
        assert!(["baseline", "baseline_value", "ratio"].iter().all(|key| alone[*key].is_null()), "{alone:?}");
    }
}
