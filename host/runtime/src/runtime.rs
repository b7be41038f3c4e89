//! Loading plugins: size and form, compilation with its cache, imports and kind.

use std::io;
use std::path::PathBuf;

use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::cache::Cache;
use crate::engine;
use crate::imports;
use crate::plugin::Plugin;
use crate::store::HostState;

/// Largest component. 64 MiB: CPython with its library is 18 MB.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// How a [`Runtime`] is set up.
#[derive(Debug, Clone, Default)]
pub struct RuntimeOptions {
    /// Folder for compiled components; made with mode 0700. None: compile at every load.
    pub cache_dir: Option<PathBuf>,
}

/// Loads plugins. Cheap to make again: all runtimes of a process share one engine.
pub struct Runtime {
    engine: Engine,
    linker: Linker<HostState>,
    cache: Option<Cache>,
}

/// Why a plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The engine or its imports could not be set up.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// The folder of compiled components is unusable.
    #[error("cache folder {folder}: {source}", folder = folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The component is too large.
    #[error("plugin `{plugin}`: the component has {bytes} bytes, more than {COMPONENT_BYTES_MAX}: leave out what it does not need")]
    TooLarge {
        /// The plugin.
        plugin: String,
        /// Its size.
        bytes: usize,
    },
    /// The bytes are no component.
    #[error("plugin `{plugin}`: {what}")]
    NotAComponent {
        /// The plugin.
        plugin: String,
        /// What they are and what to do.
        what: &'static str,
    },
    /// The component is invalid or uses a refused feature.
    #[error("plugin `{plugin}`: the component does not compile: {reason}")]
    Compile {
        /// The plugin.
        plugin: String,
        /// wasmtime's own words.
        reason: String,
    },
    /// It imports what a plugin may not import.
    #[error("plugin `{plugin}` imports `{import}`: {hint}")]
    Import {
        /// The plugin.
        plugin: String,
        /// The import.
        import: String,
        /// What to do.
        hint: &'static str,
    },
    /// It exports no kind, or several.
    #[error("plugin `{plugin}` exports {found}: export exactly one of `decoder`, `analysis` and `output` of tidemill:plugin@0.1.0")]
    Kind {
        /// The plugin.
        plugin: String,
        /// What it exports.
        found: String,
    },
    /// Its types are not those of the contract.
    #[error("plugin `{plugin}` does not fit tidemill:plugin@0.1.0: {reason}")]
    Types {
        /// The plugin.
        plugin: String,
        /// wasmtime's own words.
        reason: String,
    },
}

impl Runtime {
    /// A runtime with the process's engine.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let engine = engine::shared().map_err(RuntimeError::Engine)?;
        Self::with_engine(engine.clone(), options)
    }

    pub(crate) fn with_engine(engine: Engine, options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let RuntimeOptions { cache_dir } = options;
        let linker = imports::linker(&engine).map_err(|error| RuntimeError::Engine(format!("{error:#}")))?;
        let open = |folder: PathBuf| Cache::open(&folder).map_err(|source| RuntimeError::Cache { folder, source });
        Ok(Self { engine, linker, cache: cache_dir.map(open).transpose()? })
    }

    /// Loads a component under the name of a plugin. Compiles it where the cache does not have it: seconds for an interpreter.
    pub fn load(&self, name: &str, component: &[u8]) -> Result<Plugin, RuntimeError> {
        check_form(name, component)?;
        let hash = blake3::hash(component);
        let compiled = self.compiled(name, component)?;
        Plugin::new(name, &hash, &compiled, &self.linker)
    }

    fn compiled(&self, name: &str, component: &[u8]) -> Result<Component, RuntimeError> {
        let key = cache_key(&self.engine, component);
        let cached = self.cache.as_ref().and_then(|cache| cache.get(&key));
        if let Some(found) = cached.and_then(|code| self.deserialize(&code).ok()) {
            return Ok(found);
        }
        let code = compile_with(&self.engine, name, component)?;
        if let Some(Err(error)) = self.cache.as_ref().map(|cache| cache.put(&key, &code)) {
            tracing::warn!(plugin = name, %error, "the compiled plugin was not cached");
        }
        self.deserialize(&code).map_err(|error| uncompiled(name, &error))
    }

    fn deserialize(&self, code: &[u8]) -> wasmtime::Result<Component> {
        #[expect(unsafe_code, reason = "wasmtime cannot check compiled code; the safety argument is below")]
        // SAFETY: `code` was made by wasmtime's compiler from a component: either by `precompile_component` a moment ago, or
        // earlier by this same version, policy and CPU (all part of the file's name). A file lies in a folder that only our
        // user can read or write, and its hash was checked, so it is what we wrote.
        unsafe {
            Component::deserialize(&self.engine, code)
        }
    }
}

/// Compiles a component to native code. It needs nothing of a [`Runtime`], so that a child process with limits of its own can
/// do it; wasmtime does not bound the time or memory of a compilation.
pub fn compile(name: &str, component: &[u8]) -> Result<Vec<u8>, RuntimeError> {
    check_form(name, component)?;
    let engine = engine::shared().map_err(RuntimeError::Engine)?;
    compile_with(engine, name, component)
}

fn compile_with(engine: &Engine, name: &str, component: &[u8]) -> Result<Vec<u8>, RuntimeError> {
    engine.precompile_component(component).map_err(|error| uncompiled(name, &error))
}

fn uncompiled(plugin: &str, error: &wasmtime::Error) -> RuntimeError {
    RuntimeError::Compile { plugin: plugin.into(), reason: format!("{error:#}") }
}

fn cache_key(engine: &Engine, component: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(blake3::hash(component).as_bytes());
    engine::feed_identity(engine, &mut hasher);
    hasher.finalize()
}

fn check_form(plugin: &str, component: &[u8]) -> Result<(), RuntimeError> {
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(RuntimeError::TooLarge { plugin: plugin.into(), bytes: component.len() });
    }
    let what = match component {
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => return Ok(()),
        [b'\0', b'a', b's', b'm', ..] => "this is a core module, not a component: build it with `tidemill plugin build`",
        _ => "these bytes are not WebAssembly",
    };
    Err(RuntimeError::NotAComponent { plugin: plugin.into(), what })
}

#[cfg(test)]
#[path = "../tests/guests/support.rs"]
#[expect(dead_code, reason = "shared with the integration tests")]
mod support;

#[cfg(test)]
mod tests {
    use super::support::Guest;
    use super::*;
    use crate::{Batch, Limits};
    use wasmtime::{Config, OptLevel};

    /// Fuel of two calls of a guest that computes (integers, floats, SIMD, bulk memory), with an engine of its own.
    fn fuel(opt_level: OptLevel, limit_cpu: fn(&mut Config)) -> [u64; 2] {
        let mut guest = Guest::new("analysis");
        let (opened, answer) = (guest.subscription("TRUE", &[]), guest.findings(&[]));
        let body = format!(
            "(loop (local.set $i (i32.add (local.get $i) (i32.const 3)))
                   (drop (f64.floor (f64.sqrt (f64.convert_i32_u (local.get $i)))))
                   (drop (i32.popcnt (i32.ctz (local.get $i))))
                   (drop (i64x2.extract_lane 0 (i64x2.mul (i64x2.splat (i64.const 5)) (i64x2.splat (i64.extend_i32_u (local.get $i))))))
                   (drop (i8x16.extract_lane_s 3 (i8x16.swizzle (i8x16.splat (local.get $i)) (i8x16.splat (i32.const 7)))))
                   (memory.fill (i32.const 70000) (i32.const 1) (i32.and (local.get $i) (i32.const 255)))
                   (br_if 0 (i32.lt_u (local.get $i) (i32.mul (local.get 1) (i32.const 1000)))))
             i32.const {answer}"
        );
        let component = guest.open("analysis", &format!("i32.const {opened}")).process(&body).build();
        let engine = engine::new(opt_level, limit_cpu).expect("an engine");
        let runtime = Runtime::with_engine(engine, RuntimeOptions::default()).expect("a runtime");
        let mut instance = runtime.load("p", &component).expect("a plugin").open("{}", &Limits::default()).expect("open");
        [3, 30].map(|rows| {
            instance.process(&Batch { rows, ..Batch::default() }).expect("sound");
            instance.report().fuel
        })
    }

    /// Code for a CPU that has only what every one of its architecture has: a named target gets no features of this machine.
    fn baseline(config: &mut Config) {
        let target = format!("{}-unknown-{}-gnu", std::env::consts::ARCH, std::env::consts::OS);
        config.target(&target).expect("this machine's own target");
    }

    #[test]
    fn fuel_depends_on_guest_and_input_alone() {
        let want = fuel(OptLevel::Speed, |_| {});
        assert!(want[0] > 10_000 && want[1] > 9 * want[0], "{want:?}");
        for opt_level in [OptLevel::Speed, OptLevel::None, OptLevel::SpeedAndSize] {
            assert_eq!(fuel(opt_level, |_| {}), want, "{opt_level:?}");
            assert_eq!(fuel(opt_level, baseline), want, "{opt_level:?} on the baseline instruction set");
        }
    }
}
