//! Topics of a producer: librdkafka takes a topic's compression from the first handle that is made of it, and finds the topic of a
//! record at once where it is given the handle.

#![expect(unsafe_code, reason = "rdkafka 0.39 has no topic handles with a configuration of their own")]

use super::{admin::Handle, errors::unavailable};
use crate::{BusError, Compression, RecordRef};
use parking_lot::Mutex;
use rdkafka::{
    bindings::{self as sys, rd_kafka_conf_res_t as Res, rd_kafka_resp_err_t as Code, rd_kafka_vtype_t as Given},
    error::KafkaError,
    util::IntoOpaque,
};
use std::{
    collections::HashMap,
    ffi::{CString, c_char, c_void},
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::Arc,
};

/// The handles of one producer. They must be dropped before it.
#[derive(Default)]
pub(super) struct TopicHandles(Mutex<HashMap<Arc<str>, Arc<TopicHandle>>>);

/// A topic of one producer.
pub(super) struct TopicHandle {
    /// The topic.
    pub(super) name: Arc<str>,
    handle: NonNull<sys::rd_kafka_topic_t>,
}

// SAFETY: librdkafka's topic handles may be used and destroyed by any thread.
unsafe impl Send for TopicHandle {}
// SAFETY: so they may by several at once.
unsafe impl Sync for TopicHandle {}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is owned by this value and destroyed once, before its client.
        unsafe { sys::rd_kafka_topic_destroy(self.handle.as_ptr()) }
    }
}

impl TopicHandles {
    /// Makes the topic's handle before its first record, so that its records are compressed as they should be.
    ///
    /// # Errors
    /// When librdkafka refuses the name.
    pub(super) fn ensure(&self, producer: Handle, topic: &str, compression: Compression) -> Result<Arc<TopicHandle>, BusError> {
        let mut handles = self.0.lock();
        if let Some(handle) = handles.get(topic) {
            return Ok(Arc::clone(handle));
        }
        let handle = Arc::new(new_handle(producer, topic, compression)?);
        handles.insert(Arc::clone(&handle.name), Arc::clone(&handle));
        Ok(handle)
    }
}

impl TopicHandle {
    /// Gives the producer a record, which it copies.
    ///
    /// # Errors
    /// When the producer refuses it: nobody will hear of it with its opaque then.
    ///
    /// # Safety
    /// The producer is alive, the handle is one of its own, and `opaque` is what its context is told of deliveries with.
    pub(super) unsafe fn send<O: IntoOpaque>(
        &self,
        producer: Handle,
        partition: u32,
        record: &RecordRef<'_>,
        opaque: O,
    ) -> Result<(), KafkaError> {
        let (headers, opaque) = (Headers::new(record), opaque.into_ptr());
        // SAFETY: the caller's promise; each kind of argument is followed by values of its type, and all live until the call returns.
        let code = unsafe {
            sys::rd_kafka_producev(
                producer,
                Given::RD_KAFKA_VTYPE_RKT,
                self.handle.as_ptr(),
                Given::RD_KAFKA_VTYPE_PARTITION,
                partition as i32,
                Given::RD_KAFKA_VTYPE_MSGFLAGS,
                sys::RD_KAFKA_MSG_F_COPY,
                Given::RD_KAFKA_VTYPE_VALUE,
                record.value.as_ptr().cast::<c_void>(),
                record.value.len(),
                Given::RD_KAFKA_VTYPE_KEY,
                record.key.as_ptr().cast::<c_void>(),
                record.key.len(),
                Given::RD_KAFKA_VTYPE_OPAQUE,
                opaque,
                // Kafka has no record before 1970-01-01T00:00:00.001Z (librdkafka reads 0 as now).
                Given::RD_KAFKA_VTYPE_TIMESTAMP,
                record.timestamp_ms.max(1),
                Given::RD_KAFKA_VTYPE_HEADERS,
                headers.0,
                Given::RD_KAFKA_VTYPE_END,
            )
        };
        if code == Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            headers.taken();
            return Ok(());
        }
        // SAFETY: librdkafka did not take it, and it is as it was made.
        drop(unsafe { O::from_ptr(opaque) });
        Err(KafkaError::MessageProduction(code.into()))
    }
}

/// Headers that librdkafka has not taken.
struct Headers(*mut sys::rd_kafka_headers_t);

impl Headers {
    fn new(record: &RecordRef<'_>) -> Self {
        // SAFETY: the list is new and owned; names and values are copied.
        unsafe {
            let list = sys::rd_kafka_headers_new(record.headers().count());
            for (name, value) in record.headers() {
                let name = String::from_utf8_lossy(name);
                let (name, value) = (name.as_bytes(), value);
                sys::rd_kafka_header_add(list, name.as_ptr().cast(), name.len() as isize, value.as_ptr().cast(), value.len() as isize);
            }
            Self(list)
        }
    }
}

impl Headers {
    /// They are librdkafka's now.
    fn taken(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for Headers {
    fn drop(&mut self) {
        // SAFETY: it is owned by this value and destroyed once.
        unsafe { sys::rd_kafka_headers_destroy(self.0) }
    }
}

fn new_handle(producer: Handle, topic: &str, compression: Compression) -> Result<TopicHandle, BusError> {
    let name = CString::new(topic).map_err(|_| BusError::NotFound(format!("topic {topic:?}")))?;
    // SAFETY: the producer is alive. `rd_kafka_topic_new` takes the configuration over, also when it fails.
    let handle = unsafe {
        let config = sys::rd_kafka_default_topic_conf_dup(producer);
        if let Some(refused) = settings(compression).into_iter().find_map(|(key, value)| set(config, key, &value).err()) {
            sys::rd_kafka_topic_conf_destroy(config);
            return Err(refused);
        }
        sys::rd_kafka_topic_new(producer, name.as_ptr(), config)
    };
    let handle = NonNull::new(handle).ok_or_else(|| unavailable(&format!("topic {topic}"), "librdkafka refuses it"))?;
    Ok(TopicHandle { name: topic.into(), handle })
}

fn settings(compression: Compression) -> Vec<(&'static str, String)> {
    match compression {
        Compression::None => vec![("compression.codec", "none".to_owned())],
        Compression::Lz4 => vec![("compression.codec", "lz4".to_owned())],
        Compression::Zstd(level) => vec![("compression.codec", "zstd".to_owned()), ("compression.level", level.to_string())],
    }
}

/// # Safety
/// The configuration is alive and not in use by a topic.
unsafe fn set(config: *mut sys::rd_kafka_topic_conf_t, key: &str, value: &str) -> Result<(), BusError> {
    let words = [key, value].map(|word| CString::new(word).unwrap_or_default());
    let mut text = [0 as c_char; 256];
    // SAFETY: the caller's promise; the texts live until the call returns.
    let done = unsafe { sys::rd_kafka_topic_conf_set(config, words[0].as_ptr(), words[1].as_ptr(), text.as_mut_ptr(), text.len()) };
    if done == Res::RD_KAFKA_CONF_OK {
        return Ok(());
    }
    Err(BusError::Unusable(format!("librdkafka refuses {key} = {value}")))
}
