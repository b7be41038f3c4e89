//! What takes pings: the bus, and before a Kafka bus the spool.

use crate::exit::{Failure, surroundings};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tidemill_bus::{Bus, Clock, SystemFiles};
use tidemill_config::{BusKind, Config, Role};
use tidemill_control::Heartbeat;
use tidemill_edge::{Intake, IntakeHealth, Limits, SpoolOptions};

/// Whether pings have another place to go than the bus. The embedded bus has none: where it fails, the disk does.
pub fn has_spool(config: &Config) -> bool {
    config.bus.kind == BusKind::Kafka && config.roles.contains(&Role::Edge) && config.spool.max_bytes > 0
}

/// Opens the intake where this process takes pings, or has a spool from the time when it did: that is drained all the same.
///
/// # Errors
/// When the spool cannot be opened, or there is none and the bus cannot be reached.
pub fn open(config: &Config, bus: &Arc<dyn Bus>, clock: &Arc<dyn Clock>) -> Result<Option<Arc<Intake>>, Failure> {
    let folder = config.data_dir.join("spool");
    let spools = has_spool(config);
    let (bus, clock) = (Arc::clone(bus), Arc::clone(clock));
    let intake = if spools || folder.exists() {
        let options = SpoolOptions {
            folder,
            max_bytes: if spools { config.spool.max_bytes } else { 0 },
            drain_bytes_per_s: config.spool.drain_bytes_per_s,
            disk_reserve_bytes: config.spool.disk_reserve_bytes,
        };
        let patience = if spools { Duration::from_millis(config.spool.publish_timeout_ms) } else { Limits::default().publish_timeout };
        Intake::with_spool(bus, clock, patience, options, Arc::new(SystemFiles))
    } else if config.roles.contains(&Role::Edge) {
        Intake::new(bus, clock, Limits::default().publish_timeout)
    } else {
        return Ok(None);
    };
    intake.map(|intake| Some(Arc::new(intake))).map_err(surroundings)
}

/// What the heartbeat says of an intake.
pub fn heartbeat(intake: &Arc<Intake>, bus: &'static str) -> Heartbeat {
    let intake = Arc::clone(intake);
    Arc::new(move || answer(&intake.health(), bus))
}

fn answer(health: &IntakeHealth, bus: &str) -> Result<Value, String> {
    if !health.takes_pings() {
        return Err(health.trouble());
    }
    let trouble = health.trouble();
    let mut body = json!({"status": if trouble.is_empty() { "ok" } else { "degraded" }, "bus": bus});
    if !trouble.is_empty() {
        body["out_of_order"] = json!(trouble);
    }
    if let Some(spool) = &health.spool {
        let (records, bytes) = (spool.records, spool.bytes);
        body["spool"] = json!({"records": records, "bytes": bytes, "disk_bytes": spool.disk_bytes, "max_bytes": spool.max_bytes});
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill_edge::SpoolHealth;

    #[test]
    fn the_heartbeat_says_which_part_is_out_of_order() {
        let spool = |trouble: Option<&str>| {
            let trouble = trouble.map(str::to_owned);
            Some(SpoolHealth { records: 3, bytes: 40, disk_bytes: 50, max_bytes: 60, trouble })
        };
        let away = || Err("no broker answers".to_owned());
        let figures = json!({"records": 3, "bytes": 40, "disk_bytes": 50, "max_bytes": 60});
        let cases = [
            (Ok(()), None, Ok(json!({"status": "ok", "bus": "kafka"}))),
            (Ok(()), spool(None), Ok(json!({"status": "ok", "bus": "kafka", "spool": figures}))),
            (away(), None, Err("the bus: no broker answers")),
            (
                away(),
                spool(None),
                Ok(json!({"status": "degraded", "bus": "kafka", "out_of_order": "the bus: no broker answers", "spool": figures})),
            ),
            (
                Ok(()),
                spool(Some("it is full")),
                Ok(json!({"status": "degraded", "bus": "kafka", "out_of_order": "the spool: it is full", "spool": figures})),
            ),
            (away(), spool(Some("it is full")), Err("the bus: no broker answers; the spool: it is full")),
        ];
        for (bus, spool, expected) in cases {
            assert_eq!(answer(&IntakeHealth { bus, spool }, "kafka"), expected.map_err(str::to_owned));
        }
    }
}
