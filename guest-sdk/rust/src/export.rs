//! The macros that make a crate a plugin.

use std::cell::RefCell;

use crate::{Failure, wire};

/// The one instance of a component; filled by `open`. Public for the macros only.
#[doc(hidden)]
pub struct Instance<D>(RefCell<Option<D>>);

impl<D> Instance<D> {
    #[doc(hidden)]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }

    /// Keeps the instance that a successful `open` made and hands its answer on.
    #[doc(hidden)]
    pub fn open<A>(&self, made: Result<(D, A), Failure>) -> Result<A, wire::Failure> {
        let (driver, answer) = made?;
        *self.0.borrow_mut() = Some(driver);
        Ok(answer)
    }

    #[doc(hidden)]
    pub fn call<A>(&self, call: impl FnOnce(&mut D) -> Result<A, Failure>) -> Result<A, wire::Failure> {
        match self.0.borrow_mut().as_mut() {
            Some(driver) => Ok(call(driver)?),
            None => Err(Failure::new("called before open").into()),
        }
    }
}

/// Calls in a function of its own. Inlined into what unpacks and packs the lists of a call, a plugin's loops would share its
/// registers and keep their variables in memory.
#[inline(never)]
pub(crate) fn apart<A>(call: impl FnOnce() -> A) -> A {
    call()
}

/// Makes the crate an analysis plugin: `export_analysis!(Type)`, and with what is optional `export_analysis!(Type, state,
/// timers)`, for which the type implements [`State`](crate::state::State) and [`Timers`](crate::analysis::Timers).
#[macro_export]
macro_rules! export_analysis {
    ($plugin:ty $(, $extra:ident)* $(,)?) => {
        $crate::__export! {
            [$plugin] [$crate::analysis::Driver<$plugin>] [dictionary $($extra)*]
            analysis, analysis_plugin, export_analysis_plugin, Subscription, process, Findings
        }
    };
}

/// Makes the crate a decoder: `export_decoder!(Type)`, or `export_decoder!(Type, state)`, for which the type implements
/// [`State`](crate::state::State).
#[macro_export]
macro_rules! export_decoder {
    ($plugin:ty $(, $extra:ident)* $(,)?) => {
        $crate::__export! {
            [$plugin] [$crate::decoder::Driver<$plugin>] [$($extra)*]
            decoder, decoder_plugin, export_decoder_plugin, DecoderPlan, decode, Decoded
        }
    };
}

/// Makes the crate an output plugin: `export_output!(Type)`, or `export_output!(Type, state)`, for which the type implements
/// [`State`](crate::state::State).
#[macro_export]
macro_rules! export_output {
    ($plugin:ty $(, $extra:ident)* $(,)?) => {
        $crate::__export! {
            [$plugin] [$crate::output::Driver<$plugin>] [$($extra)*]
            output, output_plugin, export_output_plugin, Subscription, write, Deliveries
        }
    };
}

/// The exports of one kind and of what is optional; natively only that the type fits.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ([$plugin:ty] [$driver:ty] [$($extra:ident)*]
     $kind:ident, $world:ident, $export:ident, $plan:ident, $call:ident, $answer:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::bindings::$world::exports::tidemill::plugin::$kind as kind;
            ::std::thread_local! {
                static INSTANCE: $crate::export::Instance<$driver> = const { $crate::export::Instance::new() };
            }

            struct Component;

            impl kind::Guest for Component {
                fn open(config: String) -> Result<kind::$plan, kind::Failure> {
                    INSTANCE.with(|instance| instance.open(<$driver>::open(&config)))
                }

                fn $call(input: kind::Batch) -> Result<$crate::export::answer::$answer, kind::Failure> {
                    INSTANCE.with(|instance| instance.call(|driver| driver.$call(&input)))
                }
            }

            $crate::bindings::$world::$export!(Component with_types_in $crate::bindings::$world);
            $($crate::__export_extra!($extra);)*
        };

        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            let _ = <$driver>::open;
            $($crate::__check_extra!($extra, $plugin);)*
        };
    };
}

/// An optional interface of a component.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_extra {
    (dictionary) => {
        impl $crate::bindings::with_dictionary::exports::tidemill::plugin::dictionary::Guest for Component {
            fn process(
                input: kind::Batch,
                dictionaries: $crate::bindings::with_dictionary::exports::tidemill::plugin::dictionary::Dictionaries,
            ) -> Result<$crate::export::answer::Findings, kind::Failure> {
                INSTANCE.with(|instance| instance.call(|driver| driver.process_with(&input, Some(&dictionaries))))
            }
        }
        $crate::bindings::with_dictionary::export_with_dictionary!(Component with_types_in $crate::bindings::with_dictionary);
    };
    (state) => {
        impl $crate::bindings::with_state::exports::tidemill::plugin::state::Guest for Component {
            fn snapshot() -> Vec<u8> {
                let bytes = INSTANCE.with(|instance| {
                    instance.call(|driver| Ok($crate::state::State::snapshot(driver.plugin())))
                });
                bytes.unwrap_or_default()
            }

            fn restore(bytes: Vec<u8>, from_version: String) -> Result<(), kind::Failure> {
                INSTANCE.with(|instance| {
                    instance.call(|driver| $crate::state::State::restore(driver.plugin(), &bytes, &from_version))
                })
            }
        }
        $crate::bindings::with_state::export_with_state!(Component with_types_in $crate::bindings::with_state);
    };
    (timers) => {
        impl $crate::bindings::with_timers::exports::tidemill::plugin::timers::Guest for Component {
            fn on_timer(now_ms: i64) -> Result<$crate::export::answer::Findings, kind::Failure> {
                INSTANCE.with(|instance| instance.call(|driver| driver.tick(now_ms)))
            }
        }
        $crate::bindings::with_timers::export_with_timers!(Component with_types_in $crate::bindings::with_timers);
    };
}

/// That a plugin implements what it exports, on targets where nothing is exported.
#[doc(hidden)]
#[macro_export]
macro_rules! __check_extra {
    (dictionary, $plugin:ty) => {};
    (state, $plugin:ty) => {
        let _ = <$plugin as $crate::state::State>::snapshot;
    };
    (timers, $plugin:ty) => {
        let _ = <$plugin as $crate::analysis::Timers>::tick;
    };
}

/// What the kinds' functions answer.
#[doc(hidden)]
pub mod answer {
    pub use crate::wire::{Decoded, Findings};
    /// What `output.write` answers.
    pub type Deliveries = Vec<crate::wire::Delivery>;
}
