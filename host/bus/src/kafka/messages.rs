//! Messages as librdkafka has them, and a queue that they are taken from many at a time: a poll for each costs two clocks and two
//! locks, which is a fifth of what reading a small record costs.

#![expect(unsafe_code, reason = "rdkafka 0.39 polls messages one by one, and parses headers into strings")]

use super::admin::Handle;
use rdkafka::{
    bindings::{self as sys, rd_kafka_resp_err_t as Code, rd_kafka_timestamp_type_t as TimestampType},
    error::{IsError, KafkaError},
    message::BorrowedMessage,
};
use std::{
    ffi::CStr,
    marker::PhantomData,
    ptr::{self, NonNull},
    slice,
    time::Duration,
};

/// Messages that are taken at once.
const TAKEN_MAX: usize = 64;

/// A message of a consumer, read in place.
#[derive(Clone, Copy)]
pub(super) struct Message<'m>(&'m sys::rd_kafka_message_t);

impl<'m> From<&'m BorrowedMessage<'_>> for Message<'m> {
    fn from(message: &'m BorrowedMessage<'_>) -> Self {
        // SAFETY: the message lives as long as it is borrowed.
        Self(unsafe { &*message.ptr() })
    }
}

impl<'m> Message<'m> {
    /// The address of librdkafka's object of the topic.
    pub(super) fn topic_object(self) -> usize {
        self.0.rkt as usize
    }

    /// The topic's full name.
    pub(super) fn topic(self) -> &'m str {
        // SAFETY: a message holds its topic, whose name ends with a zero and never changes.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.0.rkt)) };
        name.to_str().unwrap_or_default()
    }

    pub(super) fn partition(self) -> u32 {
        self.0.partition as u32
    }

    pub(super) fn offset(self) -> i64 {
        self.0.offset
    }

    pub(super) fn key(self) -> &'m [u8] {
        // SAFETY: librdkafka's pointer and length of the key, which lives as long as the message.
        unsafe { bytes(self.0.key.cast(), self.0.key_len) }
    }

    pub(super) fn value(self) -> &'m [u8] {
        // SAFETY: as the key.
        unsafe { bytes(self.0.payload.cast(), self.0.len) }
    }

    /// Milliseconds since 1970; 0 where there is none.
    pub(super) fn timestamp_ms(self) -> i64 {
        let mut kind = TimestampType::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.0, &raw mut kind) };
        if kind == TimestampType::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE { 0 } else { timestamp.max(0) }
    }

    /// Names and values.
    pub(super) fn headers(self) -> impl ExactSizeIterator<Item = (&'m [u8], &'m [u8])> {
        let mut list = ptr::null_mut();
        // SAFETY: the message is alive and used by one thread; it owns the list, which it parses at the first call.
        let count = unsafe {
            match sys::rd_kafka_message_headers(self.0, &raw mut list) {
                Code::RD_KAFKA_RESP_ERR_NO_ERROR => sys::rd_kafka_header_cnt(list),
                _ => 0,
            }
        };
        (0..count).map(move |index| header(list, index))
    }
}

fn header<'m>(list: *const sys::rd_kafka_headers_t, index: usize) -> (&'m [u8], &'m [u8]) {
    let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
    // SAFETY: the list is the message's own, which outlives `'m`; names end with a zero, a value has `size` bytes.
    unsafe {
        match sys::rd_kafka_header_get_all(list, index, &raw mut name, &raw mut value, &raw mut size) {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => (CStr::from_ptr(name).to_bytes(), bytes(value.cast(), size)),
            _ => (&[], &[]),
        }
    }
}

/// # Safety
/// `start` is null or has `length` bytes that live and stay as they are for `'m`.
unsafe fn bytes<'m>(start: *const u8, length: usize) -> &'m [u8] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts(start, length) }
}

/// A queue of a consumer's client for the messages of its partitions. It must be dropped before the client.
pub(super) struct MessageQueue {
    client: Handle,
    queue: NonNull<sys::rd_kafka_queue_t>,
}

// SAFETY: librdkafka's queues and clients may be used and destroyed by any thread.
unsafe impl Send for MessageQueue {}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is owned by this value and destroyed once, before its client.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

impl MessageQueue {
    /// # Safety
    /// The client is a consumer that lives longer than the queue.
    pub(super) unsafe fn new(client: Handle) -> Option<Self> {
        // SAFETY: the caller's promise.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_new(client) })?;
        Some(Self { client, queue })
    }

    /// Messages of the partition come to this queue from now on, with those of them that no queue has had yet. Where librdkafka
    /// stops the partition it ends; the messages then wait with the partition until it is called again.
    pub(super) fn forward(&self, topic: &CStr, partition: i32) {
        // SAFETY: the client is alive; the partition's queue is owned here and destroyed once, which ends no forwarding.
        unsafe {
            if let Some(of_partition) = NonNull::new(sys::rd_kafka_queue_get_partition(self.client, topic.as_ptr(), partition)) {
                sys::rd_kafka_queue_forward(of_partition.as_ptr(), self.queue.as_ptr());
                sys::rd_kafka_queue_destroy(of_partition.as_ptr());
            }
        }
    }

    /// Takes what is there: at most 64 messages. Where nothing is, waits for the first one.
    pub(super) fn take(&self, wait: Duration) -> Taken<'_> {
        let mut taken = self.take_some(Duration::ZERO, TAKEN_MAX);
        if taken.count == 0 && !wait.is_zero() {
            // librdkafka waits until it has as many as it is asked for.
            taken = self.take_some(wait, 1);
        }
        taken
    }

    fn take_some(&self, wait: Duration, most: usize) -> Taken<'_> {
        let mut messages = [ptr::null_mut(); TAKEN_MAX];
        let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive, and there is room for as many pointers.
        let count = unsafe { sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), wait_ms, messages.as_mut_ptr(), most.min(TAKEN_MAX)) };
        Taken { messages, count: usize::try_from(count).unwrap_or(0), queue: PhantomData }
    }
}

/// Messages that were taken from a queue; dropping them ends them.
pub(super) struct Taken<'q> {
    messages: [*mut sys::rd_kafka_message_t; TAKEN_MAX],
    count: usize,
    queue: PhantomData<&'q MessageQueue>,
}

impl Taken<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Shows every message. They are off the queue, so what librdkafka tells of one keeps none of the others from being seen.
    ///
    /// # Errors
    /// The first that librdkafka tells instead of a message.
    pub(super) fn each(self, mut act: impl FnMut(Message<'_>)) -> Result<(), KafkaError> {
        let mut told = Ok(());
        for message in &self.messages[..self.count] {
            // SAFETY: it is owned by this value, which outlives the borrow.
            let message = unsafe { &**message };
            if !message.err.is_error() {
                act(Message(message));
            } else if told.is_ok() {
                told = Err(KafkaError::MessageConsumption(message.err.into()));
            }
        }
        told
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        for message in &self.messages[..self.count] {
            // SAFETY: each is owned by this value and ended once.
            unsafe { sys::rd_kafka_message_destroy(*message) }
        }
    }
}
