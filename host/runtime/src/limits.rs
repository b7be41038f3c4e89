//! Every bound of an instance in one documented type.

use serde::{Deserialize, Serialize};

/// Columns a subscription may have, whatever the configuration says: the contract's own bound.
pub const COLUMNS_MAX: u64 = 256;

/// What one instance of a plugin may use. Each field is a key of `limits = {}` in the configuration of a plugin.
///
/// The defaults follow from the figures beside them; exceeding one gives a [`LimitExceeded`] with limit, current and requested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Fuel of one `decode`, `process`, `write` or `on-timer`, the same for 1 row and for 4,096.
    /// 90 million: at 1.8 to 3.5 units a nanosecond 25 to 50 ms, the longest that a neighbour on the same worker waits.
    pub call_fuel_max: u64,
    /// Fuel of instantiation and `open` together. 1,000 million, about half a second: interpreters start here.
    pub open_fuel_max: u64,
    /// Fuel of one `snapshot` or `restore`. 1,000 million: 100 units for each byte of the largest state.
    pub state_fuel_max: u64,
    /// Bytes of all linear memories of an instance together. 64 MiB: CPython needs 12.6, a Rust guest 1.1 and what it keeps.
    pub memory_bytes_max: u64,
    /// Elements of all tables of an instance together. 20,000: CPython has 8,000 function pointers.
    pub table_elements_max: u64,
    /// Core instances. 64: a Rust guest has 2 to 4, a Python one about 20.
    pub instances_max: u64,
    /// Linear memories. 8: a guest has one; adapters bring their own.
    pub memories_max: u64,
    /// Tables. 16: a guest has one, its shims one each.
    pub tables_max: u64,
    /// Resource handles that the guest's own components may hold. 1,000: the contract itself has none.
    pub handles_max: u64,
    /// Bytes that one call may return, list elements counted at their size in the guest. 16 MiB: more than one record (10 MiB).
    pub output_bytes_max: u64,
    /// Messages one call may return. 10,000: two for each row of a full batch.
    pub messages_max: u64,
    /// Graph cells one call may return. 65,536: 16 for each row of a full batch.
    pub cells_max: u64,
    /// Deliveries one call may return. 4,096: one for each row of a full batch.
    pub deliveries_max: u64,
    /// Graphs an instance may declare. 1,024, what the stage that merges them holds of a plugin: three for each of 340 document types.
    pub graphs_max: u64,
    /// Columns one graph may have. At most 256 by contract.
    pub graph_columns_max: u64,
    /// Rows times columns of all declared graphs. 8 Mi cells of 8 bytes: 64 MiB in the owner of the graphs.
    pub graph_cells_max: u64,
    /// Alert rules an instance may declare. 8,192: two for each of ten columns of such a graph of every type.
    pub rules_max: u64,
    /// Payloads one call may return.
    pub payloads_max: u64,
    /// Alerts one call may return. 100: an alert is for a human.
    pub alerts_max: u64,
    /// Log lines kept of one call; what is beyond is counted.
    pub log_lines_max: u64,
    /// Bytes kept of one log line, and of every other text for humans.
    pub log_line_bytes_max: u64,
    /// Names of metrics of one instance; values of further names are dropped and counted.
    pub metric_names_max: u64,
    /// Bytes of the name of a metric; longer names are dropped and counted.
    pub metric_name_bytes_max: u64,
    /// Bytes of a snapshot. 8 MiB: it fits a record of 10 MiB, and twice into the memory of the guest.
    pub state_bytes_max: u64,
    /// Columns of a subscription, and fields of a decoder. At most 256 by contract.
    pub columns_max: u64,
    /// Section plans of a decoder. At most 256: a plan is named by one byte.
    pub section_plans_max: u64,
    /// Sections of one plan. 1,024: a main ping has about 20.
    pub sections_max: u64,
    /// A call that takes longer than so many milliseconds is reported. 250: five times what its fuel buys.
    pub wall_clock_report_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        const MI: u64 = 1 << 20;
        Self {
            call_fuel_max: 90_000_000,
            open_fuel_max: 1_000_000_000,
            state_fuel_max: 1_000_000_000,
            memory_bytes_max: 64 * MI,
            table_elements_max: 20_000,
            instances_max: 64,
            memories_max: 8,
            tables_max: 16,
            handles_max: 1_000,
            output_bytes_max: 16 * MI,
            messages_max: 10_000,
            cells_max: 65_536,
            deliveries_max: 4_096,
            graphs_max: 1_024,
            graph_columns_max: 256,
            graph_cells_max: 8 * MI,
            rules_max: 8_192,
            payloads_max: 64,
            alerts_max: 100,
            log_lines_max: 100,
            log_line_bytes_max: 4_096,
            metric_names_max: 64,
            metric_name_bytes_max: 64,
            state_bytes_max: 8 * MI,
            columns_max: COLUMNS_MAX,
            section_plans_max: 256,
            sections_max: 1_024,
            wall_clock_report_ms: 250,
        }
    }
}

impl Limits {
    /// Refuses values that the contract or wasmtime could not keep.
    pub fn check(&self) -> Result<(), LimitExceeded> {
        let capped: [(&'static str, u64, u64); 4] = [
            ("columns_max", COLUMNS_MAX, self.columns_max),
            ("graph_columns_max", COLUMNS_MAX, self.graph_columns_max),
            ("section_plans_max", 256, self.section_plans_max),
            ("memory_bytes_max", 4 << 30, self.memory_bytes_max),
        ];
        capped.into_iter().try_for_each(|(name, limit, requested)| within(name, limit, 0, requested))
    }
}

/// A bound that a guest ran into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("limit `{name}` exceeded: limit {limit}, current {current}, requested {requested}")]
pub struct LimitExceeded {
    /// The field of [`Limits`].
    pub name: &'static str,
    /// Its value.
    pub limit: u64,
    /// What was in use.
    pub current: u64,
    /// What was asked for on top; 1 where only that it was too much is known.
    pub requested: u64,
}

/// Whether `requested` more than `current` is still within `limit`.
pub(crate) fn within(name: &'static str, limit: u64, current: u64, requested: u64) -> Result<(), LimitExceeded> {
    match current.checked_add(requested) {
        Some(total) if total <= limit => Ok(()),
        _ => Err(LimitExceeded { name, limit, current, requested }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_defaults_and_names_are_checked() {
        let empty: Limits = serde_json::from_str("{}").expect("defaults");
        assert_eq!(empty, Limits::default());
        let some: Limits = serde_json::from_str(r#"{"call_fuel_max": 5}"#).expect("one key");
        assert_eq!(some, Limits { call_fuel_max: 5, ..Limits::default() });
        let error = serde_json::from_str::<Limits>(r#"{"call_fuel": 5}"#).expect_err("unknown").to_string();
        assert!(error.starts_with("unknown field `call_fuel`, expected one of `call_fuel_max`"), "{error}");
    }

    #[test]
    fn limits_beyond_the_contract_are_refused() {
        let wide = Limits { columns_max: 300, ..Limits::default() };
        let text = wide.check().expect_err("too wide").to_string();
        assert_eq!(text, "limit `columns_max` exceeded: limit 256, current 0, requested 300");
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn sums_do_not_wrap() {
        assert!(within("x", u64::MAX, u64::MAX, 1).is_err());
        assert!(within("x", 5, 2, 3).is_ok());
        assert!(within("x", 5, 3, 3).is_err());
    }
}
