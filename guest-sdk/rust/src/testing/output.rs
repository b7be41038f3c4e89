//! Running an output plugin.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use super::{Row, batch_sizes, columns};
use crate::output::{self as plugin, Driver, Target};
use crate::{Failure, wire};

/// An output plugin under test: one instance, as the host would run it.
pub struct Output<T> {
    driver: Driver<T>,
    answer: wire::Subscription,
}

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// Where it goes.
    pub target: Target,
    /// The rows among those fed that it settles.
    pub rows: RangeInclusive<usize>,
    /// What is sent.
    pub body: Vec<u8>,
}

impl Delivered {
    /// The body as text, for comparing.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

impl<T> fmt::Debug for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("answer", &self.answer).finish_non_exhaustive()
    }
}

impl<T: plugin::Output> Output<T> {
    /// Opens an instance.
    ///
    /// # Errors
    /// What `open` refuses.
    pub fn open(config: &str) -> Result<Self, Failure> {
        let (driver, answer) = Driver::open(config)?;
        Ok(Self { driver, answer })
    }

    /// The matcher that the plugin asked for.
    pub fn matcher(&self) -> &str {
        &self.answer.matcher
    }

    /// Writes rows as one batch.
    ///
    /// # Errors
    /// The plugin's failure.
    pub fn write(&mut self, rows: &[Row]) -> Result<Vec<Delivered>, Failure> {
        let (batch, kept) = columns::batch(rows, &self.answer.columns);
        if kept.is_empty() {
            return Ok(Vec::new());
        }
        let delivered = |delivery: wire::Delivery| {
            let wire::Delivery { target, first_row, last_row, body } = delivery;
            let rows = kept[first_row as usize]..=kept[last_row as usize];
            Delivered { target: target.into(), rows, body }
        };
        Ok(self.driver.write(&batch)?.into_iter().map(delivered).collect())
    }
}

impl From<wire::Target> for Target {
    fn from(target: wire::Target) -> Self {
        match target {
            wire::Target::Http(wire::Request { method, url, headers }) => Self::Http { method, url, headers },
            wire::Target::Object(path) => Self::Object(path),
            wire::Target::Append(path) => Self::Append(path),
            wire::Target::Bus(wire::BusKey { topic, key }) => Self::Bus { topic, key },
        }
    }
}

/// Writes the rows in batches of 1, 7 and all, each on an instance of its own, and fails where the bodies that a target gets,
/// one behind the other, differ. Gives the bodies by target.
///
/// # Panics
/// With what differs; or with the plugin's failure.
#[track_caller]
pub fn assert_output_invariant<T: plugin::Output>(config: &str, rows: &[Row]) -> BTreeMap<String, String> {
    let [one, seven, all] = batch_sizes(rows.len()).map(|size| {
        let mut instance = Output::<T>::open(config).unwrap_or_else(|failure| panic!("open failed: {failure}"));
        let mut bodies: BTreeMap<String, String> = BTreeMap::new();
        for chunk in rows.chunks(size) {
            let deliveries = instance.write(chunk).unwrap_or_else(|failure| panic!("a batch of {size} rows failed: {failure}"));
            deliveries.iter().for_each(|delivery| bodies.entry(format!("{:?}", delivery.target)).or_default().push_str(&delivery.text()));
        }
        bodies
    });
    assert_eq!(seven, one, "batches of 7 (left) differ from batches of 1 (right)");
    assert_eq!(all, one, "one batch of all (left) differs from batches of 1 (right)");
    one
}
