//! What every bus promises, tested through the traits alone. An entry file (`tests/embedded.rs`, `tests/kafka.rs`) says how a bus
//! is made and calls [`conformance!`], which makes one `#[test]` of each function here.
//!
//! Offsets are only compared, never counted: Kafka has gaps where transactions end.

mod kit;

pub mod groups;
pub mod publishing;
pub mod readers;
pub mod steps;

pub use kit::*;

/// Makes buses for one test.
pub trait Factory: Sized {
    /// A factory whose topics and groups nobody else uses; `None` (after a line `SKIPPED test: why` on stderr) where such a bus
    /// cannot run here.
    fn make(test: &str) -> Option<Self>;
    /// Opens the bus: empty at first, later with all that was made durable. The one opened before is dropped by then.
    fn open(&self) -> std::sync::Arc<dyn tidemill_bus::Bus>;
}

/// Makes a `#[test]` of every conformance function with the [`Factory`] of this type.
#[macro_export]
macro_rules! conformance {
    ($factory:ty) => {
        $crate::conformance!($factory:
            publishing::a_partition_keeps_its_order,
            publishing::an_ack_means_that_it_can_be_read,
            publishing::sizes_from_nothing_to_the_limit,
            publishing::headers_and_empty_keys_come_back,
            publishing::what_does_not_exist_is_not_found,
            publishing::all_acked_of_many_threads_are_there_once,
            publishing::sixty_four_partitions,
            publishing::topics_stay_as_they_were_made,
            readers::they_begin_where_they_are_told,
            readers::an_idle_poll_returns_in_time,
            readers::a_blocked_reader_wakes_on_an_append,
            steps::a_step_is_seen_whole,
            steps::a_refused_step_leaves_nothing,
            steps::a_dropped_step_leaves_nothing,
            steps::positions_and_checkpoints_survive_reopening,
            steps::a_checkpoint_is_replaced_and_forgotten,
            steps::steps_of_several_members_do_not_mix,
            groups::two_members_share_and_one_leaves,
            groups::a_fenced_member_commits_nothing,
            groups::what_a_member_does_not_own_it_cannot_touch,
            groups::seek_reads_again,
            groups::a_paused_partition_is_silent,
            groups::groups_do_not_see_each_other,
            groups::an_idle_member_polls_in_time,
        );
    };
    ($factory:ty: $($module:ident::$name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            if let Some(factory) = <$factory as $crate::conformance::Factory>::make(stringify!($name)) {
                $crate::conformance::$module::$name(&factory);
            }
        }
    )*};
}
