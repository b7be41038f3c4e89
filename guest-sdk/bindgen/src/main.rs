//! Writes the Rust bindings of `wit/plugin.wit` into the guest SDK.
//!
//! Run `cargo run` in this folder after a change of the WIT. A test of the SDK fails while the two differ.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use wit_bindgen_core::{Files, WorldGenerator, wit_parser::Resolve};
use wit_bindgen_rust::{Opts, WithOption};

/// The shared types and the imports, generated once; the other worlds refer to them.
const SDK_WIT: &str = "package tidemill:sdk;
world imports { import tidemill:plugin/types@0.1.0; import tidemill:plugin/host@0.1.0; }";

/// A world of the WIT, the module that its bindings become, and the name of its export macro.
const WORLDS: [(&str, &str); 6] = [
    ("tidemill:plugin/decoder-plugin@0.1.0", "decoder_plugin"),
    ("tidemill:plugin/analysis-plugin@0.1.0", "analysis_plugin"),
    ("tidemill:plugin/output-plugin@0.1.0", "output_plugin"),
    ("tidemill:plugin/with-timers@0.1.0", "with_timers"),
    ("tidemill:plugin/with-state@0.1.0", "with_state"),
    ("tidemill:plugin/with-dictionary@0.1.0", "with_dictionary"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let sdk = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../rust");
    let wit = fs::read_to_string(sdk.join("../../wit/plugin.wit"))?;
    fs::create_dir_all(sdk.join("wit"))?;
    fs::write(sdk.join("wit/plugin.wit"), &wit)?;

    let folder = sdk.join("src/bindings");
    fs::create_dir_all(&folder)?;
    write(&folder, &wit, "imports", "tidemill:sdk/imports", Opts { generate_all: true, generate_unused_types: true, ..options() })?;
    for (world, module) in WORLDS {
        let shared = |name: &str| {
            (format!("tidemill:plugin/{name}@0.1.0"), WithOption::Path(format!("crate::bindings::imports::tidemill::plugin::{name}")))
        };
        let with = if world.contains("with-") { vec![shared("types")] } else { vec![shared("types"), shared("host")] };
        let opts = Opts {
            with,
            pub_export_macro: true,
            export_macro_name: Some(format!("export_{module}")),
            default_bindings_module: Some(format!("tidemill_guest::bindings::{module}")),
            type_section_suffix: Some(format!("-{module}")),
            ..options()
        };
        write(&folder, &wit, module, world, opts)?;
    }
    Ok(())
}

/// What all worlds share.
fn options() -> Opts {
    Opts { format: true, runtime_path: Some("wit_bindgen::rt".into()), ..Opts::default() }
}

/// Generates one world into `FOLDER/MODULE.rs`.
fn write(folder: &Path, wit: &str, module: &str, world: &str, opts: Opts) -> Result<(), Box<dyn Error>> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("plugin.wit", wit)?;
    let sdk = resolve.push_str("sdk.wit", SDK_WIT)?;
    let world = resolve.select_world(&[package, sdk], Some(world))?;
    let mut files = Files::default();
    opts.build().generate(&mut resolve, world, &mut files)?;
    let (_, contents) = files.iter().next().ok_or("the generator wrote nothing")?;
    let head = "// Written by guest-sdk/bindgen from wit/plugin.wit; do not edit.\n";
    fs::write(folder.join(format!("{module}.rs")), [head.as_bytes(), contents].concat())?;
    Ok(())
}
