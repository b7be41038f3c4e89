//! Sums every bucket of a main ping's histograms, which cross as one run of numbers a ping.

use tidemill_guest::analysis::*;

/// The column it reads and where it adds it up.
#[derive(Debug)]
pub struct HistogramSum {
    time: Column<Timestamp, Required>,
    buckets: Column<Int64, Many>,
    sum: GraphColumn,
}

impl Analysis for HistogramSum {
    fn open(_: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        read.matcher("Type == 'validated'");
        let graph = graphs.graph("buckets", GraphShape::DAY_OF_MINUTES);
        Ok(Self { time: read.timestamp(), buckets: read.column("/payload/histograms/*/values/*"), sum: graphs.column(graph, "sum") })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let sum: i64 = row.get(self.buckets).sum();
        out.add(self.sum, row.get(self.time).seconds(), sum as f64);
        Ok(())
    }
}

tidemill_guest::export_analysis!(HistogramSum);
