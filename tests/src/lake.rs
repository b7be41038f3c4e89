//! The lake, read by tools that have nothing in common with its writer.

use crate::{root, run_with};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const SCRIPT: &str = include_str!("lake.py");

/// A table as `deltalake` and DuckDB both read it.
#[derive(Clone, Debug)]
pub struct Table {
    /// Rows.
    pub rows: usize,
    /// Document ids; null is an empty text. One a row.
    pub ids: Vec<String>,
    /// Error types in the order of the ids; of the errors table alone.
    pub error_types: Vec<String>,
    /// The plugin of each error in the order of the ids; of the errors table alone.
    pub plugins: Vec<String>,
    /// Columns by name with their types.
    pub columns: BTreeMap<String, String>,
    /// Rows in which one of the texts looked for occurs.
    pub with_needles: u64,
}

/// All tables by their path below the root.
#[derive(Clone, Debug)]
pub struct Lake {
    /// The tables.
    pub tables: BTreeMap<String, Table>,
}

impl Lake {
    /// Reads all tables below a folder; `None`, after a line that names the test, where the readers are not installed.
    ///
    /// # Panics
    /// When a table cannot be read, or the readers see different rows.
    pub fn read(test: &str, folder: &Path, needles: &[&str]) -> Option<Self> {
        let python = root().join(".deps/venv/bin/python");
        if !python.exists() {
            eprintln!("SKIPPED {test}: the lake is not read: no {} (make setup-test)", python.display());
            return None;
        }
        let folder = folder.to_string_lossy();
        let arguments: Vec<&str> = ["-c", SCRIPT, &folder].into_iter().chain(needles.iter().copied()).collect();
        let output = run_with(python, &arguments, b"");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        let found: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        Some(Self { tables: found.into_iter().map(|(name, table)| (name, Table::new(&table))).collect() })
    }

    /// The rows of all tables but `errors`: document id to table.
    ///
    /// # Panics
    /// When an id is there twice.
    pub fn documents(&self) -> BTreeMap<&str, &str> {
        let mut documents = BTreeMap::new();
        for (name, table) in self.tables.iter().filter(|(name, _)| *name != "errors") {
            for id in &table.ids {
                let before = documents.insert(id.as_str(), name.as_str());
                assert_eq!(before, None, "{id} is in the lake twice, the second time in {name}");
            }
        }
        documents
    }

    /// Document id and error type of each row of `errors`.
    pub fn errors(&self) -> Vec<(&str, &str)> {
        let pairs = |table: &'_ Table| table.ids.len();
        let Some(table) = self.tables.get("errors") else { return vec![] };
        (0..pairs(table)).map(|at| (table.ids[at].as_str(), table.error_types[at].as_str())).collect()
    }

    /// The names of the tables with documents.
    pub fn names(&self) -> BTreeSet<&str> {
        self.tables.keys().map(String::as_str).filter(|name| *name != "errors").collect()
    }
}

impl Table {
    fn new(found: &Value) -> Self {
        let texts = |name: &str| -> Vec<String> {
            let list = found[name].as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
        };
        let columns = found["columns"].as_object().into_iter().flatten();
        Self {
            rows: found["rows"].as_u64().unwrap_or(0) as usize,
            ids: texts("ids"),
            error_types: texts("error_types"),
            plugins: texts("plugins"),
            columns: columns.map(|(name, kind)| (name.clone(), kind.as_str().unwrap_or_default().to_owned())).collect(),
            with_needles: found["with_needles"].as_u64().unwrap_or(0),
        }
    }
}
