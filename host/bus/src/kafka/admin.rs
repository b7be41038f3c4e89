//! Questions to the cluster that rdkafka has no safe call for: topic ids, offsets of many partitions at once, groups.

#![expect(unsafe_code, reason = "librdkafka's admin calls have no safe wrapper in rdkafka 0.39")]

use super::errors::{of_code, unavailable};
use crate::BusError;
use rdkafka::{
    TopicPartitionList,
    bindings::{self as sys, rd_kafka_admin_op_t as Op, rd_kafka_resp_err_t as Code},
    error::RDKafkaErrorCode as ErrorCode,
};
use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char},
    ptr::{self, NonNull},
    time::Duration,
};

/// A librdkafka handle that the caller keeps alive.
pub(super) type Handle = *mut sys::rd_kafka_t;

/// Which records count for the end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    /// All that were written, also those of open transactions.
    Uncommitted,
    /// Those before the first open transaction.
    Committed,
}

/// What offset of a partition is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Earliest,
    Latest,
    /// Of the first record at or after this time in milliseconds.
    AtTime(i64),
}

impl Wanted {
    fn code(self) -> i64 {
        match self {
            Self::Earliest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64,
            Self::Latest => sys::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64,
            Self::AtTime(ms) => ms.max(0),
        }
    }
}

/// A request under way: its queue and its options.
struct Request {
    queue: NonNull<sys::rd_kafka_queue_t>,
    options: NonNull<sys::rd_kafka_AdminOptions_t>,
    timeout_ms: i32,
}

impl Request {
    fn new(handle: Handle, op: Op, timeout: Duration) -> Result<Self, BusError> {
        let timeout_ms = timeout.as_millis().clamp(1, 3_600_000) as i32;
        // SAFETY: the handle is alive; both results are checked and owned by `Self`.
        let (queue, options) = unsafe { (sys::rd_kafka_queue_new(handle), sys::rd_kafka_AdminOptions_new(handle, op)) };
        let missing = || unavailable("a request to Kafka", "librdkafka made no room for it");
        let request =
            Self { queue: NonNull::new(queue).ok_or_else(missing)?, options: NonNull::new(options).ok_or_else(missing)?, timeout_ms };
        let mut text = [0 as c_char; 256];
        // SAFETY: the options are alive, the text has the length that is given.
        unsafe {
            sys::rd_kafka_AdminOptions_set_request_timeout(request.options.as_ptr(), timeout_ms, text.as_mut_ptr(), text.len());
        }
        Ok(request)
    }

    /// Waits for the answer of the request that was sent with this queue.
    fn answer(&self, what: &str) -> Result<Answer, BusError> {
        // SAFETY: the queue is alive; the event is owned by `Answer`.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue.as_ptr(), self.timeout_ms.saturating_add(1000)) };
        let answer = NonNull::new(event).map(Answer).ok_or_else(|| unavailable(what, "no broker answered in time"))?;
        // SAFETY: the event is alive.
        let code = unsafe { sys::rd_kafka_event_error(answer.0.as_ptr()) };
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Ok(answer);
        }
        // SAFETY: the event is alive; its text lives as long.
        let text = unsafe { text(sys::rd_kafka_event_error_string(answer.0.as_ptr())) };
        Err(of_code(what, code.into(), text))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        // SAFETY: both are owned by this value and destroyed once.
        unsafe {
            sys::rd_kafka_AdminOptions_destroy(self.options.as_ptr());
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
    }
}

/// The event that answers a request.
struct Answer(NonNull<sys::rd_kafka_event_t>);

impl Drop for Answer {
    fn drop(&mut self) {
        // SAFETY: the event is owned by this value and destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// # Safety
/// The pointer is null or a text that ends with a zero byte.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: it is not null, the rest is the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// # Safety
/// The array has `count` elements that live for `'a`, or `count` is 0.
unsafe fn slice<'a, T>(array: *const T, count: usize) -> &'a [T] {
    if count == 0 || array.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(array, count) }
}

fn c_string(name: &str) -> Result<CString, BusError> {
    CString::new(name).map_err(|_| BusError::NotFound(format!("topic or group {name:?}")))
}

/// The ids that the cluster gave these creations of topics, in the order of the names.
///
/// # Errors
/// When no broker answers; of each topic, where there is none.
pub(super) fn topic_ids(handle: Handle, topics: &[&str], timeout: Duration) -> Result<Vec<Result<String, BusError>>, BusError> {
    let request = Request::new(handle, Op::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, timeout)?;
    let names = topics.iter().map(|topic| c_string(topic)).collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    // SAFETY: all that is passed lives until the call returns; librdkafka keeps copies.
    unsafe {
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        sys::rd_kafka_DescribeTopics(handle, topics, request.options.as_ptr(), request.queue.as_ptr());
        sys::rd_kafka_TopicCollection_destroy(topics);
    }
    let answer = request.answer(&format!("topics {}", topics.join(", ")))?;
    // SAFETY: what is read belongs to the answer, which lives until the end of this function.
    let found: HashMap<String, _> = unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(answer.0.as_ptr());
        let mut count = 0;
        let found = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        slice(found, count).iter().map(|&topic| (text(sys::rd_kafka_TopicDescription_name(topic)), topic)).collect()
    };
    let id = |name: &&str| {
        let what = format!("topic {name}");
        let Some(&topic) = found.get(*name) else { return Err(BusError::NotFound(what)) };
        // SAFETY: as above.
        unsafe {
            let error = sys::rd_kafka_TopicDescription_error(topic);
            match sys::rd_kafka_error_code(error) {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(text(sys::rd_kafka_Uuid_base64str(sys::rd_kafka_TopicDescription_topic_id(topic)))),
                code => Err(of_code(&what, code.into(), text(sys::rd_kafka_error_string(error)))),
            }
        }
    };
    Ok(topics.iter().map(id).collect())
}

/// Offsets by (topic, partition), or why its leader refused.
pub(super) type Offsets = HashMap<(String, i32), Result<i64, ErrorCode>>;

/// Asks for one offset of each partition. Where no record is as late as the wanted time the offset is -1.
///
/// # Errors
/// When no broker answers.
pub(super) fn offsets(
    handle: Handle,
    partitions: &[(&str, u32)],
    wanted: Wanted,
    isolation: Isolation,
    timeout: Duration,
) -> Result<Offsets, BusError> {
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    let request = Request::new(handle, Op::RD_KAFKA_ADMIN_OP_LISTOFFSETS, timeout)?;
    let level = match isolation {
        Isolation::Uncommitted => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        Isolation::Committed => sys::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
    };
    let list = TopicPartitionList::with_capacity(partitions.len());
    let names = partitions.iter().map(|(topic, _)| c_string(topic)).collect::<Result<Vec<_>, _>>()?;
    // SAFETY: options, list, names and queue are alive; librdkafka copies the list.
    unsafe {
        let refused = sys::rd_kafka_AdminOptions_set_isolation_level(request.options.as_ptr(), level);
        if !refused.is_null() {
            sys::rd_kafka_error_destroy(refused);
        }
        for (name, (_, partition)) in names.iter().zip(partitions) {
            let added = sys::rd_kafka_topic_partition_list_add(list.ptr(), name.as_ptr(), *partition as i32);
            (*added).offset = wanted.code();
        }
        sys::rd_kafka_ListOffsets(handle, list.ptr(), request.options.as_ptr(), request.queue.as_ptr());
    }
    let answer = request.answer("the offsets of partitions")?;
    // SAFETY: the infos belong to the answer, which is alive.
    unsafe {
        let result = sys::rd_kafka_event_ListOffsets_result(answer.0.as_ptr());
        let mut count = 0;
        let infos = sys::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
        let found = slice(infos, count).iter().map(|&info| &*sys::rd_kafka_ListOffsetsResultInfo_topic_partition(info));
        let offset = |found: &sys::rd_kafka_topic_partition_t| match found.err {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(found.offset),
            code => Err(code.into()),
        };
        Ok(found.map(|found| ((text(found.topic), found.partition), offset(found))).collect())
    }
}

/// The names of all groups whose name begins with the prefix.
///
/// # Errors
/// When no broker answers.
pub(super) fn groups(handle: Handle, prefix: &str, timeout: Duration) -> Result<Vec<String>, BusError> {
    let request = Request::new(handle, Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, timeout)?;
    // SAFETY: handle, options and queue are alive.
    unsafe { sys::rd_kafka_ListConsumerGroups(handle, request.options.as_ptr(), request.queue.as_ptr()) };
    let answer = request.answer("the list of groups")?;
    // SAFETY: the listings belong to the answer, which is alive.
    let names: Vec<String> = unsafe {
        let result = sys::rd_kafka_event_ListConsumerGroups_result(answer.0.as_ptr());
        let mut count = 0;
        let listings = sys::rd_kafka_ListConsumerGroups_result_valid(result, &raw mut count);
        slice(listings, count).iter().map(|&listing| text(sys::rd_kafka_ConsumerGroupListing_group_id(listing))).collect()
    };
    Ok(names.into_iter().filter(|name| name.starts_with(prefix)).collect())
}

/// What a group has committed: (topic, partition, offset).
///
/// # Errors
/// When no broker answers.
pub(super) fn committed(handle: Handle, group: &str, timeout: Duration) -> Result<Vec<(String, u32, i64)>, BusError> {
    let request = Request::new(handle, Op::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, timeout)?;
    let name = c_string(group)?;
    // SAFETY: all that is passed lives until the call returns; librdkafka keeps copies. Null asks for all partitions.
    unsafe {
        let mut wanted = [sys::rd_kafka_ListConsumerGroupOffsets_new(name.as_ptr(), ptr::null())];
        sys::rd_kafka_ListConsumerGroupOffsets(handle, wanted.as_mut_ptr(), 1, request.options.as_ptr(), request.queue.as_ptr());
        sys::rd_kafka_ListConsumerGroupOffsets_destroy(wanted[0]);
    }
    let answer = request.answer(&format!("the positions of group {group}"))?;
    // SAFETY: the lists belong to the answer, which is alive; a null list is skipped.
    unsafe {
        let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.0.as_ptr());
        let mut count = 0;
        let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
        let lists = slice(groups, count).iter().filter_map(|&group| sys::rd_kafka_group_result_partitions(group).as_ref());
        let elements = lists.flat_map(|list| slice(list.elems, list.cnt as usize));
        Ok(elements.filter(|found| found.offset >= 0).map(|found| (text(found.topic), found.partition as u32, found.offset)).collect())
    }
}

/// The generation of the group that a consumer belongs to; `None` where it belongs to none.
pub(super) fn generation(handle: Handle) -> Option<i32> {
    // SAFETY: the handle is a consumer's and alive; the metadata is destroyed once.
    let generation = unsafe {
        let metadata = NonNull::new(sys::rd_kafka_consumer_group_metadata(handle))?;
        let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata.as_ptr());
        sys::rd_kafka_consumer_group_metadata_destroy(metadata.as_ptr());
        generation
    };
    (generation >= 0).then_some(generation)
}

/// Sends what lingers and waits until all of it is written or has failed; `false` when the time is over. Failures are reported
/// only to a poll, so a long wait is made of short ones.
pub(super) fn flush(handle: Handle, wait: Duration) -> bool {
    // SAFETY: the handle is a producer's and alive.
    unsafe { sys::rd_kafka_flush(handle, wait.as_millis() as i32) == Code::RD_KAFKA_RESP_ERR_NO_ERROR }
}
