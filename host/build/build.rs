//! The SDK and the templates are embedded; a file that is added to them must rebuild this crate.
fn main() {
    println!("cargo:rerun-if-changed=../../guest-sdk/rust");
    println!("cargo:rerun-if-changed=templates");
}
