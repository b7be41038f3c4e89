//! The SDK speaks the WIT of this repository.

use std::path::Path;

#[test]
fn the_copy_of_the_wit_is_the_original() {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR"));
    let original = sdk.join("../../wit/plugin.wit");
    let Ok(original) = std::fs::read_to_string(&original) else {
        eprintln!("SKIPPED the_copy_of_the_wit_is_the_original: {} is not there, this is a copy of the SDK", original.display());
        return;
    };
    let copy = std::fs::read_to_string(sdk.join("wit/plugin.wit")).unwrap();
    assert!(copy == original, "wit/plugin.wit has changed: run `cargo run` in guest-sdk/bindgen");
}
