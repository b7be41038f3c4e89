//! The broker's libraries: fetched by Maven once into `.deps/kafka/libs` of the repository.

use crate::{Failure, answers};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const POM: &str = include_str!("../pom.xml");

/// The folder with the libraries. Test processes that run at the same time wait for the one that fetches them.
pub(crate) fn resolve() -> Result<PathBuf, Failure> {
    let home = repository().join(".deps/kafka");
    let libs = home.join("libs");
    if is_complete(&home) {
        return Ok(libs);
    }
    fs::create_dir_all(&libs)?;
    let lock = fs::File::create(home.join("lock"))?;
    lock.lock()?;
    if !is_complete(&home) {
        fetch(&libs)?;
        fs::write(home.join("complete"), POM)?;
    }
    Ok(libs)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The mark holds the `pom.xml` that was fetched: another version is another set of libraries.
fn is_complete(home: &Path) -> bool {
    fs::read_to_string(home.join("complete")).is_ok_and(|done| done == POM)
}

fn fetch(libs: &Path) -> Result<(), Failure> {
    if !answers("mvn", "-v") {
        return Err(Failure::Missing("mvn"));
    }
    fs::remove_dir_all(libs)?;
    fs::create_dir_all(libs)?;
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join("pom.xml");
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-Dstyle.color=never", "-f"]).arg(pom).arg("dependency:copy-dependencies");
    maven.arg(format!("-DoutputDirectory={}", libs.display())).stdin(Stdio::null());
    let output = maven.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::Broken(format!("Maven cannot fetch Kafka: {}", String::from_utf8_lossy(&output.stdout))))
}
