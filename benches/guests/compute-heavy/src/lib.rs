//! Ten microseconds of work a row: what code costs in a plugin against the same code without.

pub mod kernel;

use tidemill_guest::analysis::*;

/// The columns it works on and where the result goes.
#[derive(Debug)]
pub struct ComputeHeavy {
    time: Column<Timestamp, Required>,
    histogram: Column<Int64, Many>,
    stack: Column<Bytes>,
    kernel: kernel::Kernel,
    score: GraphColumn,
}

impl Analysis for ComputeHeavy {
    fn open(_: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        let graph = graphs.graph("score", GraphShape::DAY_OF_MINUTES);
        Ok(Self {
            time: read.timestamp(),
            histogram: read.column("/payload/histogram/*"),
            stack: read.column("Fields[stack]"),
            kernel: kernel::Kernel::default(),
            score: graphs.column(graph, "score"),
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let score = self.kernel.row(row.get(self.histogram), row.get(self.stack).unwrap_or_default());
        out.add(self.score, row.get(self.time).seconds(), score);
        Ok(())
    }
}

tidemill_guest::export_analysis!(ComputeHeavy);
