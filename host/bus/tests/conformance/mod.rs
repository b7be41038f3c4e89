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
    /// As [`Factory::open`], but what waits to be written is at most 100 KB, and a member that does not poll for two seconds loses
    /// its partitions.
    fn open_narrow(&self) -> std::sync::Arc<dyn tidemill_bus::Bus>;
    /// The topics `in` and `out` are deleted, with what their groups have committed. No bus is open.
    fn delete_topics(&self);
    /// How many partitions a topic is tried with.
    const PARTITIONS: u32;
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
            publishing::many_partitions,
            publishing::a_full_queue_refuses_and_takes_again,
            publishing::a_topic_made_anew_is_another_one,
            publishing::topics_stay_as_they_were_made,
            readers::they_begin_where_they_are_told,
            readers::an_idle_poll_returns_in_time,
            readers::a_blocked_reader_wakes_on_an_append,
            readers::times_that_go_backwards_keep_their_order,
            steps::a_step_is_seen_whole,
            steps::a_refused_step_leaves_nothing,
            steps::a_dropped_step_leaves_nothing,
            steps::positions_and_checkpoints_survive_reopening,
            steps::a_checkpoint_is_replaced_and_forgotten,
            steps::a_large_checkpoint_grows_shrinks_and_goes,
            steps::steps_of_several_members_do_not_mix,
            groups::two_members_share_and_one_leaves,
            groups::a_fenced_member_commits_nothing,
            groups::a_silent_member_loses_its_partitions_and_commits_nothing,
            groups::each_record_counts_once_while_members_come_and_go,
            groups::state_goes_with_its_partition,
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
