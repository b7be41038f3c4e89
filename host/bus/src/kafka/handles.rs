//! Compression for each topic: librdkafka takes it from the first handle that is made of a topic.

#![expect(unsafe_code, reason = "rdkafka 0.39 has no topic handles with a configuration of their own")]

use super::{admin::Handle, errors::unavailable};
use crate::{BusError, Compression};
use parking_lot::Mutex;
use rdkafka::bindings::{self as sys, rd_kafka_conf_res_t as Res};
use std::{
    collections::HashMap,
    ffi::{CString, c_char},
    ptr::NonNull,
    sync::Arc,
};

/// The handles of one producer. They must be dropped before it.
#[derive(Default)]
pub(super) struct TopicHandles(Mutex<HashMap<Arc<str>, TopicHandle>>);

struct TopicHandle(NonNull<sys::rd_kafka_topic_t>);

// SAFETY: librdkafka's topic handles may be used and destroyed by any thread.
unsafe impl Send for TopicHandle {}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the handle is owned by this value and destroyed once, before its client.
        unsafe { sys::rd_kafka_topic_destroy(self.0.as_ptr()) }
    }
}

impl TopicHandles {
    /// Makes the topic's handle before its first record, so that its records are compressed as they should be. Answers the topic's
    /// name, to be kept.
    ///
    /// # Errors
    /// When librdkafka refuses the name.
    pub(super) fn ensure(&self, producer: Handle, topic: &str, compression: Compression) -> Result<Arc<str>, BusError> {
        let mut handles = self.0.lock();
        if let Some((name, _)) = handles.get_key_value(topic) {
            return Ok(Arc::clone(name));
        }
        let name: Arc<str> = topic.into();
        handles.insert(Arc::clone(&name), new_handle(producer, topic, compression)?);
        Ok(name)
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
    NonNull::new(handle).map(TopicHandle).ok_or_else(|| unavailable(&format!("topic {topic}"), "librdkafka refuses it"))
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
