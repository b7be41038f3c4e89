//! In what turns the slots of a worker make their calls, and how much time each gets.

use super::{call::Context, slot::Slot};
use std::time::Duration;

/// Measured time that a slot gets for each fetch of records, which takes some milliseconds itself: one that needs more falls behind,
/// and the others go on. A call that took longer is paid back.
const QUANTUM: Duration = Duration::from_millis(5);

/// How slots get time for their calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// They have what is left of it.
    Nothing,
    /// A quantum: records wait to be read.
    Once,
    /// A quantum in each round: there is nothing else to do.
    EachRound,
}

/// Which slots make calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// Those that are ready.
    All,
    /// Of those, the ones that do not work on rows of which one failed.
    Healthy,
}

/// The turns of a worker's slots.
#[derive(Default)]
pub struct Turns {
    /// Where the next round begins: a budget that ends a round early is fair in the long run.
    turn: usize,
}

impl Turns {
    /// Makes calls until nothing is ready, those that are have no time left, or the time of all is up.
    pub fn make_calls(&mut self, slots: &mut [&mut Slot], context: &mut Context<'_>, budget: Duration, chosen: Chosen, grant: Grant) {
        let (began, count) = (context.clock.elapsed(), slots.len());
        if grant == Grant::Once {
            slots.iter_mut().for_each(|slot| slot.grant(QUANTUM));
        }
        // Slots without work cost a look each: where there is no work at all there is no round.
        let is_wanted = |slot: &Slot, now| slot.is_ready(now) && !(chosen == Chosen::Healthy && slot.is_careful());
        loop {
            let mut goes_on = false;
            for _ in 0..count {
                self.turn = (self.turn + 1) % count;
                let now = context.clock.elapsed();
                if now.saturating_sub(began) > budget {
                    return;
                }
                let slot = &mut *slots[self.turn];
                slot.wake(now);
                if !is_wanted(slot, now) {
                    continue;
                }
                if grant == Grant::EachRound {
                    slot.grant(QUANTUM);
                    goes_on = true;
                }
                if slot.has_time() {
                    slot.run_one(context);
                    goes_on = true;
                }
            }
            if !goes_on {
                return;
            }
        }
    }
}
