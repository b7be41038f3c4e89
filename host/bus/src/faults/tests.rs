//! The double itself.

use super::{FaultFiles, Operation, PowerCut};
use crate::Files;
use std::{collections::BTreeSet, io, path::Path};

fn written(files: &FaultFiles) -> Option<Vec<u8>> {
    files.content(Path::new("/a/b"))
}

#[test]
fn a_power_cut_keeps_what_was_synced_alone() {
    let files = FaultFiles::default();
    let file = files.open(Path::new("/a/b"), true).expect("opened");
    file.write_all_at(&[1; 700], 0).expect("written");
    assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), None, "its name was not synced");
    files.sync_dir(Path::new("/a")).expect("synced");
    assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), Some(vec![]));
    file.sync().expect("synced");
    file.write_all_at(&[2; 700], 700).expect("written");
    assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), Some(vec![1; 700]));
    assert_eq!(written(&files.power_cut(PowerCut::KeepsUnsynced)).map(|bytes| bytes.len()), Some(1400));
    let torn: BTreeSet<_> = (0..32).filter_map(|seed| written(&files.power_cut(PowerCut::Tears(seed)))).collect();
    assert_eq!(torn.len(), 4, "either of two sectors is there or not: 700..1024 and 1024..1400");
}

#[test]
fn a_folder_is_there_when_the_one_above_it_was_synced() {
    let files = FaultFiles::default();
    files.create_dir_all(Path::new("/a")).expect("made");
    let file = files.open(Path::new("/a/b"), true).expect("opened");
    file.write_all_at(b"x", 0).expect("written");
    file.sync().expect("synced");
    files.sync_dir(Path::new("/a")).expect("synced");
    assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), None, "the folder's own name was not synced");
    files.sync_dir(Path::new("/")).expect("synced");
    assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), Some(b"x".to_vec()));
}

#[test]
fn a_rename_is_durable_with_its_folder() {
    let files = FaultFiles::default();
    files.put(Path::new("/a/b"), b"old".to_vec());
    files.put(Path::new("/a/draft"), b"new".to_vec());
    files.rename(Path::new("/a/draft"), Path::new("/a/b")).expect("renamed");
    assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), Some(b"old".to_vec()));
    let kept = files.power_cut(PowerCut::KeepsUnsynced);
    assert_eq!((written(&kept), kept.content(Path::new("/a/draft"))), (Some(b"new".to_vec()), None));
    files.sync_dir(Path::new("/a")).expect("synced");
    assert_eq!(written(&files.power_cut(PowerCut::LosesUnsynced)), Some(b"new".to_vec()));
    assert_eq!(files.link(Path::new("/a/b"), Path::new("/a/b")).expect_err("it is there").kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn every_operation_fails_when_told_and_where_told() {
    let (files, b, c) = (FaultFiles::default(), Path::new("/a/b"), Path::new("/a/c"));
    let file = files.open(b, true).expect("opened");
    file.write_all_at(b"x", 0).expect("written");
    let tries: [(Operation, &dyn Fn() -> io::Result<()>); 14] = [
        (Operation::Open, &|| files.open(b, false).map(drop)),
        (Operation::Read, &|| file.read_exact_at(&mut [0], 0)),
        (Operation::Write, &|| file.write_all_at(b"x", 0)),
        (Operation::Sync, &|| file.sync()),
        (Operation::SyncDir, &|| files.sync_dir(Path::new("/a"))),
        (Operation::Rename, &|| files.link(b, c)),
        (Operation::Remove, &|| files.remove(c)),
        (Operation::SetLen, &|| file.set_len(1)),
        (Operation::Punch, &|| file.punch(0, 1)),
        (Operation::Metadata, &|| files.metadata(b).map(drop)),
        (Operation::List, &|| files.list(Path::new("/a")).map(drop)),
        (Operation::CreateDir, &|| files.create_dir_all(Path::new("/a/d"))),
        (Operation::Lock, &|| files.lock(c).map(drop)),
        (Operation::FreeBytes, &|| files.free_bytes(b).map(drop)),
    ];
    assert_eq!(tries.map(|(operation, _)| operation), Operation::ALL);
    for (operation, run) in tries {
        files.fail(operation, "elsewhere", 1);
        files.fail(operation, "", 1);
        assert_eq!(run().expect_err("it fails").to_string(), "input/output error", "{operation:?}");
        run().unwrap_or_else(|error| panic!("{operation:?} fails once: {error}"));
    }
    assert_eq!(files.failed(), 14);
    files.fail_after(1, Operation::Write, "", 9);
    file.write_all_at(b"x", 0).expect("the first is well");
    file.write_all_at(b"x", 0).expect_err("the second is not");
    files.heal();
    file.write_all_at(b"x", 0).expect("written");
}

#[test]
fn a_full_disk_takes_a_part() {
    let files = FaultFiles::default();
    files.set_free_bytes(3);
    let file = files.open(Path::new("/a/b"), true).expect("opened");
    let refused = file.write_all_at(b"12345", 0).expect_err("full");
    assert_eq!((refused.kind(), written(&files)), (io::ErrorKind::StorageFull, Some(b"123".to_vec())));
}
