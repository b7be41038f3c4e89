//! What an administrator does to topics under a running platform on Kafka: partitions are added, no record is let in for its size,
//! and `raw` is deleted and made anew with fewer. Pings are taken all the while, and each is in one place and one row.

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
};
use serde_json::Value;
use std::thread;
use tidemill_tests::{
    BusSetup,
    group::{Host, PATIENCE, Repeated, STRETCH, check, counting},
    kafka,
};

const ADDED: usize = 6;
const FEWER: i32 = 3;
/// `max.message.bytes` that every record of the platform fits, and that none does.
const WIDE: &str = "11534336";
const NARROW: &str = "128";
/// What the platform says where a topic refuses records for their size.
const ADVICE: &str = "set max.message.bytes=11534336";
/// About as many as come in [`STRETCH`].
const STRETCH_PINGS: u64 = 400;

#[test]
fn topics_change() {
    let test = "topics_change";
    let folder = tempfile::tempdir().expect("a folder");
    let Some(bus) = kafka(test) else { return };
    let topics = Topics::of(&bus);
    let Some(setup) = counting(test, bus, folder.path()) else { return };
    let host = Host::start("host", &setup);
    let mut repeated = Repeated::first(&host);
    thread::sleep(STRETCH);
    repeated.again(&host);

    for topic in ["raw", "validated"] {
        topics.add_partitions(topic);
    }
    wait_for(&host, "/api/v1/streams", "pings go to the added partitions and are read", |streams| {
        let raw = partitions(streams, "raw");
        raw.len() == ADDED && raw.iter().all(|partition| partition["end"].as_i64() > Some(0)) && lag(streams) < Some(100)
    });
    host.reads("validated", "analysis", "partitions were added");

    topics.set_bytes_max("raw", NARROW);
    let acknowledged = host.load.acknowledged();
    wait_for(&host, "/__heartbeat__", "the host says that `raw` refuses its records", |beat| beat.to_string().contains(ADVICE));
    wait_for(&host, "/__version__", "pings are taken all the same", |_| host.load.acknowledged() > acknowledged + STRETCH_PINGS);
    topics.set_bytes_max("raw", WIDE);
    wait_for(&host, "/__heartbeat__", "the host is well again", |beat| beat["status"] == "ok");
    host.catches_up("`raw` took records again");

    topics.set_bytes_max("validated", NARROW);
    wait_for(&host, "/api/v1/streams", "nothing is decoded", |streams| lag(streams) > Some(STRETCH_PINGS));
    assert!(host.platform.log().contains(ADVICE), "the log says why");
    topics.set_bytes_max("validated", WIDE);
    host.catches_up("`validated` took records again");

    host.load.set_address(None);
    wait_for(&host, "/api/v1/streams", "everything is read", |streams| lag(streams) == Some(0));
    topics.delete("raw");
    host.load.set_address(Some(host.platform.address()));
    wait_for(&host, "/__heartbeat__", "the host says that it lacks the topic", |beat| beat["status"] != "ok");
    thread::sleep(STRETCH);
    topics.make("raw", FEWER);
    wait_for(&host, "/api/v1/streams", "the topic made anew is filled and read", |streams| {
        let raw = partitions(streams, "raw");
        raw.len() == FEWER as usize && raw.iter().all(|partition| partition["end"].as_i64() > Some(0)) && lag(streams) < Some(100)
    });
    wait_for(&host, "/__heartbeat__", "the host is well again", |beat| beat["status"] == "ok");
    check(test, vec![host], &repeated, folder.path());
}

fn wait_for(host: &Host, path: &str, what: &str, is_so: impl FnMut(&Value) -> bool) {
    if let Err(last) = host.platform.wait_for(path, PATIENCE, is_so) {
        panic!("{what}? {last}");
    }
    eprintln!("topics_change: {what}");
}

fn partitions<'s>(streams: &'s Value, topic: &str) -> &'s [Value] {
    let found = streams.as_array().and_then(|streams| streams.iter().find(|found| found["topic"] == topic));
    found.and_then(|found| found["partitions"].as_array()).map_or(&[], Vec::as_slice)
}

/// What the group `decode` has not read, where it has a position in all partitions.
fn lag(streams: &Value) -> Option<u64> {
    let of_decode = |partition: &Value| partition["groups"].as_array()?.iter().find(|found| found["group"] == "decode")?["lag"].as_u64();
    partitions(streams, "raw").iter().map(of_decode).sum()
}

/// The topics of a platform, for an administrator.
struct Topics {
    admin: AdminClient<DefaultClientContext>,
    prefix: String,
    runtime: tokio::runtime::Runtime,
}

impl Topics {
    fn of(bus: &BusSetup) -> Self {
        let BusSetup::Kafka(brokers, prefix) = bus else { panic!("a platform on Kafka") };
        let admin = ClientConfig::new().set("bootstrap.servers", brokers).create().expect("an admin client");
        Self { admin, prefix: prefix.clone(), runtime: tokio::runtime::Runtime::new().expect("a runtime") }
    }

    fn add_partitions(&self, topic: &str) {
        let name = format!("{}{topic}", self.prefix);
        let wanted = [NewPartitions::new(&name, ADDED)];
        let done = self.runtime.block_on(self.admin.create_partitions(&wanted, &AdminOptions::new())).expect("an answer");
        done[0].as_ref().expect("added");
    }

    fn set_bytes_max(&self, topic: &str, bytes: &str) {
        let name = format!("{}{topic}", self.prefix);
        // All keys at once: what is not named is set back.
        let wanted =
            AlterConfig::new(ResourceSpecifier::Topic(&name)).set("max.message.bytes", bytes).set("message.timestamp.type", "CreateTime");
        let done = self.runtime.block_on(self.admin.alter_configs(&[wanted], &AdminOptions::new())).expect("an answer");
        done[0].as_ref().expect("altered");
    }

    fn delete(&self, topic: &str) {
        let name = format!("{}{topic}", self.prefix);
        let done = self.runtime.block_on(self.admin.delete_topics(&[&name], &AdminOptions::new())).expect("an answer");
        done[0].as_ref().expect("deleted");
    }

    fn make(&self, topic: &str, partitions: i32) {
        let name = format!("{}{topic}", self.prefix);
        let wanted = [NewTopic::new(&name, partitions, TopicReplication::Fixed(1))
            .set("max.message.bytes", WIDE)
            .set("message.timestamp.type", "CreateTime")];
        let done = self.runtime.block_on(self.admin.create_topics(&wanted, &AdminOptions::new())).expect("an answer");
        done[0].as_ref().expect("made");
    }
}
