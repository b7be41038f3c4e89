//! How the messages of a batch reach the slots of a partition: one by one, or by blocks that are tested and filled as such.

use super::{block::Block, slot::Slot, spec::PluginSet};
use std::time::Duration;
use tidemill_bus::FetchedBatch;
use tidemill_message::{FoundFields, MatchBlock, MatcherSet, Matches};

/// Blocks are matched as such while of so many messages one is wanted.
const WANTED_SHARE: usize = 4;

/// What is read of a fetched batch.
pub struct Reading<'b> {
    pub found: FoundFields<'b>,
    pub block: Block<'b>,
    pub matched: MatchBlock<'b>,
    /// The greatest time in the batch so far.
    pub watermark_ms: i64,
}

impl<'b> Reading<'b> {
    pub fn new(set: &'b PluginSet, batch: &'b FetchedBatch) -> Self {
        let (block, matched) = (Block::new(&set.shared, &batch.bytes), MatchBlock::default());
        Self { found: FoundFields::default(), block, matched, watermark_ms: i64::MIN }
    }
}

/// How the slots of a partition are fed, and memory for it.
#[derive(Default)]
pub struct Feeding {
    /// Those that are given each row at once.
    pub by_row: Vec<usize>,
    /// Those that take their rows from blocks.
    by_block: Vec<usize>,
    /// The rows of the block that each slot's matcher selects.
    selected: Vec<Vec<u16>>,
    /// Of the messages that were fed last, how many some slot wanted.
    wanted: usize,
    of: usize,
}

impl Feeding {
    pub fn begin(&mut self, slots: &[Slot], wanted: impl Fn(usize, &Slot) -> bool) {
        let Self { by_row, by_block, selected, .. } = self;
        by_row.clear();
        by_block.clear();
        selected.resize_with(slots.len(), Vec::new);
        for (number, slot) in slots.iter().enumerate().filter(|(number, slot)| wanted(*number, slot)) {
            if slot.spec.takes_blocks() { by_block.push(number) } else { by_row.push(number) }
        }
    }

    /// Whether whole blocks are read before anything of them is matched: each test is then made once for all messages, but their
    /// columns are also filled for those that nobody wants.
    pub fn is_by_block(&self) -> bool {
        self.by_row.is_empty() && !self.by_block.is_empty() && self.wanted * WANTED_SHARE >= self.of
    }

    /// Forgets how many were wanted.
    pub fn count_anew(&mut self) {
        (self.wanted, self.of) = (0, 0);
    }

    pub fn select_block<'m>(&mut self, matchers: &MatcherSet, matched: &mut MatchBlock<'m>, block: &mut Block<'m>) {
        let Self { by_block, selected, wanted, of, .. } = self;
        (*wanted, *of) = (matchers.select(matched, by_block, selected), matched.len());
        block.take_tested(matched);
        matched.clear();
    }

    /// Whether a slot that takes blocks wants the message.
    pub fn selects(&mut self, matches: &Matches) -> bool {
        let is_wanted = self.by_block.iter().any(|number| matches.contains(*number));
        self.of += 1;
        self.wanted += usize::from(is_wanted);
        is_wanted
    }

    pub fn select(&mut self, matches: &Matches, place: u16) {
        for number in &self.by_block {
            if matches.contains(*number) {
                self.selected[*number].push(place);
            }
        }
    }

    pub fn feed(&mut self, slots: &mut [Slot], block: &mut Block<'_>, now: Duration) {
        let rows = block.take_rows();
        for number in &self.by_block {
            slots[*number].feed_block(block, &rows, &self.selected[*number], now);
            self.selected[*number].clear();
        }
        block.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::block::SharedPlan;
    use bytes::Bytes;
    use tidemill_message::{Matcher, MessageRef, MessageWriter};

    #[test]
    fn blocks_are_matched_as_such_while_enough_of_them_is_wanted() {
        let matchers = MatcherSet::new(vec![Matcher::parse("Severity == 1").expect("a matcher")]);
        let messages = [1, 2, 2, 2, 2].map(|severity| {
            let mut bytes = Vec::new();
            MessageWriter::new(&mut bytes, &[0; 16], 0).severity(severity);
            bytes
        });
        let [wanted, unwanted] = [0, 1].map(|number| MessageRef::parse(&messages[number]).expect("a message"));
        let (plan, chunk, found) = (SharedPlan::default(), Bytes::new(), FoundFields::default());
        let (mut block, mut matched, mut matches) = (Block::new(&plan, &chunk), MatchBlock::default(), Matches::new());
        let mut feeding = Feeding { by_block: vec![0], selected: vec![Vec::new()], ..Feeding::default() };
        assert!(feeding.is_by_block(), "nothing is known yet");
        let mut select = |feeding: &mut Feeding, [wanted_count, unwanted_count]: [usize; 2]| {
            let all = std::iter::repeat_n(&wanted, wanted_count).chain(std::iter::repeat_n(&unwanted, unwanted_count));
            all.for_each(|message| matchers.push(&mut matched, message, &found));
            feeding.select_block(&matchers, &mut matched, &mut block);
        };
        select(&mut feeding, [1, WANTED_SHARE - 1]);
        assert_eq!((feeding.is_by_block(), &feeding.selected[0][..]), (true, &[0][..]));
        select(&mut feeding, [1, WANTED_SHARE]);
        assert!(!feeding.is_by_block(), "too few are wanted");
        feeding.count_anew();
        for message in [&unwanted, &unwanted, &unwanted, &unwanted, &wanted] {
            assert!(!feeding.is_by_block() || feeding.of == 0);
            matchers.matches(message, &mut matches);
            assert_eq!(feeding.selects(&matches), std::ptr::eq(message, &wanted));
        }
        assert!(!feeding.is_by_block(), "one in five");
        matchers.matches(&wanted, &mut matches);
        assert!(feeding.selects(&matches) && feeding.is_by_block(), "two in six");
        feeding.by_row.push(1);
        assert!(!feeding.is_by_block(), "somebody takes rows one by one");
    }
}
