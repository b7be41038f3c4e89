//! Whether a set of plugins fits this machine, with the arithmetic.

use std::fs;

use crate::limits::Limits;

/// Memory mappings of an instance: its reservation, the accessible part, guard and table.
pub const MAPPINGS_PER_INSTANCE: u64 = 4;
/// Bytes of the host for an instance beside its memory: Store, tables, instance (97 MB for 4,096).
pub const HOST_BYTES_PER_INSTANCE: u64 = 24 << 10;
/// Mappings left for the process itself: libraries, thread stacks, file maps.
pub const MAPPINGS_RESERVED: u64 = 4_096;

/// The instances that one plugin is going to have on this host.
#[derive(Debug, Clone, Copy)]
pub struct Demand<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// How many: workers for a stateless plugin, partitions for a partition plugin, one for a global one.
    pub instances: u64,
    /// Its limits.
    pub limits: &'a Limits,
}

/// What the machine has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// Bytes that may be used without swapping.
    pub memory_bytes: u64,
    /// `vm.max_map_count`.
    pub mappings_max: u64,
}

/// What was added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arithmetic {
    /// Instances of all plugins.
    pub instances: u64,
    /// What they use when each reaches its limit.
    pub memory_bytes: u64,
    /// Their mappings and those reserved.
    pub mappings: u64,
}

/// The set does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Memory.
    #[error("{terms} need {needed} bytes, but {available} are available: lower `memory_bytes_max`, run fewer instances, or add memory")]
    Memory {
        /// The sum in words.
        terms: String,
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// Mappings.
    #[error(
        "{instances} instances need {instances} x 4 + 4096 = {needed} memory mappings, but vm.max_map_count is {available}: \
         run fewer instances, or `sysctl -w vm.max_map_count={needed}`"
    )]
    Mappings {
        /// Instances.
        instances: u64,
        /// Mappings.
        needed: u64,
        /// Mappings.
        available: u64,
    },
}

/// Adds up instances times limits and compares with what there is.
pub fn admission(demands: &[Demand<'_>], available: Available) -> Result<Arithmetic, Refusal> {
    let Available { memory_bytes: memory_max, mappings_max } = available;
    let instances = demands.iter().fold(0, |sum: u64, demand| sum.saturating_add(demand.instances));
    let memory_bytes = demands.iter().fold(0, |sum: u64, demand| sum.saturating_add(memory_of(demand)));
    let mappings = instances.saturating_mul(MAPPINGS_PER_INSTANCE).saturating_add(MAPPINGS_RESERVED);
    if memory_bytes > memory_max {
        return Err(Refusal::Memory { terms: terms(demands), needed: memory_bytes, available: memory_max });
    }
    if mappings > mappings_max {
        return Err(Refusal::Mappings { instances, needed: mappings, available: mappings_max });
    }
    Ok(Arithmetic { instances, memory_bytes, mappings })
}

fn memory_of(demand: &Demand<'_>) -> u64 {
    let each = demand.limits.memory_bytes_max.saturating_add(HOST_BYTES_PER_INSTANCE);
    demand.instances.saturating_mul(each)
}

fn terms(demands: &[Demand<'_>]) -> String {
    let term = |demand: &Demand<'_>| {
        let Demand { plugin, instances, limits } = demand;
        format!("`{plugin}` {instances} x ({} + {HOST_BYTES_PER_INSTANCE})", limits.memory_bytes_max)
    };
    demands.iter().map(term).collect::<Vec<_>>().join(" + ")
}

impl Available {
    /// Reads this machine: `MemAvailable`, what a control group leaves of it, and `vm.max_map_count`. What cannot be read does
    /// not limit.
    pub fn of_this_machine() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_available(&text)).unwrap_or(u64::MAX);
        let group_max = number("/sys/fs/cgroup/memory.max").unwrap_or(u64::MAX);
        let group_used = number("/sys/fs/cgroup/memory.current").unwrap_or(0);
        let memory_bytes = machine.min(group_max.saturating_sub(group_used));
        Self { memory_bytes, mappings_max: number("/proc/sys/vm/max_map_count").unwrap_or(u64::MAX) }
    }
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MI: u64 = 1 << 20;

    fn check(instances: u64, memory_bytes: u64, mappings_max: u64) -> Result<Arithmetic, String> {
        let limits = Limits::default();
        let demands = [("a", instances), ("b", 2)].map(|(plugin, instances)| Demand { plugin, instances, limits: &limits });
        admission(&demands, Available { memory_bytes, mappings_max }).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_fits_is_added_up() {
        let each = 64 * MI + 24 * 1_024;
        let want = Arithmetic { instances: 6, memory_bytes: 6 * each, mappings: 6 * 4 + 4_096 };
        assert_eq!(check(4, 6 * each, 4_120), Ok(want));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_arithmetic() {
        assert_eq!(
            check(4, 100 * MI, 65_530).unwrap_err(),
            "`a` 4 x (67108864 + 24576) + `b` 2 x (67108864 + 24576) need 402800640 bytes, but 104857600 are available: \
             lower `memory_bytes_max`, run fewer instances, or add memory"
        );
        assert_eq!(
            check(20_000, u64::MAX, 65_530).unwrap_err(),
            "20002 instances need 20002 x 4 + 4096 = 84104 memory mappings, but vm.max_map_count is 65530: \
             run fewer instances, or `sysctl -w vm.max_map_count=84104`"
        );
        assert!(check(u64::MAX, u64::MAX - 1, 65_530).is_err());
    }

    #[test]
    fn the_machine_is_read() {
        assert_eq!(mem_available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(2 * MI));
        assert_eq!(mem_available("MemTotal: 9 kB\n"), None);
        assert!(Available::of_this_machine().memory_bytes > 0);
    }
}
