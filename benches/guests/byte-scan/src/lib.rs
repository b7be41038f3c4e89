//! A document scanned byte by byte: what the tightest loops cost in a plugin against the same code without.

pub mod kernel;

use tidemill_guest::analysis::*;

/// The column it works on and where the result goes.
#[derive(Debug)]
pub struct ByteScan {
    time: Column<Timestamp, Required>,
    document: Column<Bytes>,
    kernel: kernel::Kernel,
    score: GraphColumn,
}

impl Analysis for ByteScan {
    fn open(_: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        let graph = graphs.graph("score", GraphShape::DAY_OF_MINUTES);
        Ok(Self {
            time: read.timestamp(),
            document: read.column("Fields[document]"),
            kernel: kernel::Kernel::default(),
            score: graphs.column(graph, "score"),
        })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let score = self.kernel.row(row.get(self.document).unwrap_or_default());
        out.add(self.score, row.get(self.time).seconds(), score);
        Ok(())
    }
}

tidemill_guest::export_analysis!(ByteScan);
