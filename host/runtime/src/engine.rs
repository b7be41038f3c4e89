//! The one wasmtime engine of the process, and the policy it is configured with.

use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::OnceLock;

use wasmtime::{Config, Engine, ModuleVersionStrategy, OptLevel};

/// The full version of wasmtime. Its own check of compiled code compares the major version only, but miscompilations are
/// fixed in patch versions: code of another patch version must not run.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// The policy below in words. Fuel figures are comparable only where this and [`WASMTIME_VERSION`] are the same.
pub const CONFIG_LABEL: &str = "sync,fuel,nan-canonical,no-threads,no-memory64,no-multi-memory,no-relaxed-simd";

/// Frames of the guest kept of a trap.
const BACKTRACE_FRAMES_MAX: usize = 16;

/// The engine that every runtime of the process shares.
pub(crate) fn shared() -> Result<&'static Engine, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| new(OptLevel::Speed, |_| {}).map_err(|error| format!("{error:#}")));
    engine.as_ref().map_err(Clone::clone)
}

/// An engine of the policy. Only tests use another level than `Speed`, or limit the CPU.
pub(crate) fn new(opt_level: OptLevel, limit_cpu: impl FnOnce(&mut Config)) -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(opt_level)
        .memory_may_move(false)
        .wasm_backtrace_max_frames(NonZeroUsize::new(BACKTRACE_FRAMES_MAX))
        .module_version(ModuleVersionStrategy::Custom(format!("{WASMTIME_VERSION};{CONFIG_LABEL}")))?;
    limit_cpu(&mut config);
    Engine::new(&config)
}

/// Feeds everything that decides whether compiled code may run here: version, policy, compiler settings and CPU flags.
pub(crate) fn feed_identity(engine: &Engine, into: &mut blake3::Hasher) {
    struct Feed<'a>(&'a mut blake3::Hasher);
    impl Hasher for Feed<'_> {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    into.update(WASMTIME_VERSION.as_bytes()).update(b"\0").update(CONFIG_LABEL.as_bytes()).update(b"\0");
    engine.precompile_compatibility_hash().hash(&mut Feed(into));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_engine_follows_the_policy() {
        let engine = shared().expect("an engine");
        let config = engine;
        assert!(config.get_consume_fuel() && !config.get_epoch_interruption());
        assert!(!config.get_concurrency_support() && !config.get_memory_may_move());
        assert_eq!(config.get_cranelift_nan_canonicalization(), Some(true));
        assert_eq!(config.get_cranelift_opt_level(), Some(OptLevel::Speed));
        assert_eq!(config.get_wasm_backtrace_max_frames(), BACKTRACE_FRAMES_MAX);
        assert!(std::ptr::eq(engine, shared().expect("the same")));
    }

    #[test]
    fn refused_features_do_not_compile() {
        let engine = shared().expect("an engine");
        for (feature, module) in [
            ("memory64", "(core module (memory i64 1))"),
            ("threads", "(core module (memory 1 1 shared))"),
            ("multi-memory", "(core module (memory 1) (memory 1))"),
            ("relaxed SIMD", "(core module (func (param v128 v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 1)))))"),
        ] {
            let component = wat::parse_str(format!("(component {module})")).expect("text");
            assert!(engine.precompile_component(&component).is_err(), "{feature}");
        }
    }

    #[test]
    fn the_version_is_the_one_in_the_manifest() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        let manifest = std::fs::read_to_string(manifest).expect("the workspace's manifest");
        assert!(manifest.contains(&format!("wasmtime = {{ version = \"={WASMTIME_VERSION}\"")));
    }

    #[test]
    fn the_identity_tells_settings_apart() {
        let identity = |engine: &Engine| {
            let mut hasher = blake3::Hasher::new();
            feed_identity(engine, &mut hasher);
            hasher.finalize()
        };
        let speed = identity(&new(OptLevel::Speed, |_| {}).expect("speed"));
        assert_eq!(speed, identity(shared().expect("shared")));
        assert_ne!(speed, identity(&new(OptLevel::None, |_| {}).expect("none")));
    }
}
