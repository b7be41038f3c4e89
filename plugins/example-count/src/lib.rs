//! Counts messages per channel and minute, and raises an alert when a channel falls silent.

use tidemill_guest::analysis::*;

/// The columns it reads and the graph it fills.
#[derive(Debug)]
pub struct CountByChannel {
    time: Column<Timestamp, Required>,
    channel: Column<Text>,
    volume: Graph,
}

impl Analysis for CountByChannel {
    fn open(config: &Config<'_>, read: &mut Subscription, graphs: &mut Graphs) -> Result<Self, Failure> {
        let silent_minutes = config.u32("silent_minutes")?.unwrap_or(10);
        let volume = graphs.graph("messages by channel", GraphShape::DAY_OF_MINUTES);
        graphs.watch(volume, "silent", Rule::inactive(silent_minutes));
        read.matcher("Type == 'validated'");
        Ok(Self { time: read.timestamp(), channel: read.column("Fields[normalizedChannel]"), volume })
    }

    fn message(&mut self, row: Row<'_>, out: &mut Findings<'_>) -> Result<(), Failure> {
        let channel = row.get(self.channel).unwrap_or("none");
        out.graph(self.volume).add(row.get(self.time).seconds(), channel, 1.0);
        Ok(())
    }
}

tidemill_guest::export_analysis!(CountByChannel);

#[cfg(test)]
mod tests {
    use tidemill_guest::Time;
    use tidemill_guest::testing::{Analysis, Row, assert_analysis_invariant};

    use super::CountByChannel;

    const TITLE: &str = "messages by channel";

    fn rows() -> Vec<Row> {
        let row =
            |second: i64, channel: &str| Row::new().set("Timestamp", Time::from_seconds(second)).set("Fields[normalizedChannel]", channel);
        let mut rows: Vec<Row> = (0..10).map(|second| row(115 + second, "release")).collect();
        rows.push(row(60, "beta"));
        rows.push(Row::new().set("Timestamp", Time::from_seconds(60)));
        rows
    }

    #[test]
    fn counts_by_channel_and_minute() {
        let found = assert_analysis_invariant::<CountByChannel>("{}", &rows());
        assert_eq!((found.cell(TITLE, "release", 60), found.cell(TITLE, "release", 120)), (Some(5.0), Some(5.0)));
        assert_eq!(found.cell(TITLE, "beta", 60), Some(1.0));
        assert_eq!(found.cell(TITLE, "none", 60), Some(1.0), "a message without channel counts too");
    }

    #[test]
    fn watches_every_channel() {
        let found = assert_analysis_invariant::<CountByChannel>(r#"{"silent_minutes": 3}"#, &rows()[9..]);
        assert_eq!(found.rules.len(), 3);
        assert_eq!(found.rules[0], "silent:release: messages by channel/release inactive 0 3");
    }

    #[test]
    fn refuses_a_misspelt_key() {
        let failure = Analysis::<CountByChannel>::open(r#"{"silent": 3}"#).unwrap_err();
        let expected = "the configuration has `silent`, which this plugin does not use; it reads: silent_minutes";
        assert_eq!(failure.text, expected);
    }
}
