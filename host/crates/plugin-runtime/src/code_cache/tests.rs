use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use domain::PluginDigest;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use wasmtime::Engine;

use super::{CodeCache, CodeCacheConfig};

const DIGEST: PluginDigest = PluginDigest([7; 32]);

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn cache(&self, bytes_max: u64) -> CodeCache {
        let config = CodeCacheConfig {
            folder: self.0.path().join("compiled"),
            key_file: self.0.path().join("key"),
            bytes_max,
        };
        CodeCache::open(config, &Engine::default()).unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.0.path().join("compiled"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }
}

#[test]
fn code_survives_a_restart() {
    let folder = Folder::new();
    folder.cache(1000).put(&DIGEST, b"code");
    let cache = folder.cache(1000);
    assert_eq!(cache.get(&DIGEST).unwrap(), b"code");
    assert_eq!(cache.stats().hits, 1);
}

#[test]
fn a_file_that_this_host_did_not_write_is_never_loaded() {
    let folder = Folder::new();
    let cache = folder.cache(1000);
    cache.put(&DIGEST, b"code");
    let path = folder.files().remove(0);
    let good = fs::read(&path).unwrap();
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&path, bad).unwrap();
        assert!(cache.get(&DIGEST).is_none(), "byte {place}");
    }
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert!(cache.get(&DIGEST).is_none(), "cut to {length}");
    }
    // The right file under another plugin's name.
    fs::write(&path, &good).unwrap();
    let other = PluginDigest([8; 32]);
    fs::copy(&path, cache.path(&other)).unwrap();
    assert!(cache.get(&other).is_none());
    assert_eq!(cache.get(&DIGEST).unwrap(), b"code");
    // Another host's file.
    fs::write(folder.0.path().join("key"), [9; 32]).unwrap();
    assert!(folder.cache(1000).get(&DIGEST).is_none());
}

#[test]
fn a_full_cache_drops_what_was_used_longest_ago() {
    let folder = Folder::new();
    let cache = folder.cache(3 * 132);
    let digests: Vec<_> = (0..4).map(|number| PluginDigest([number; 32])).collect();
    let age = |digest: &PluginDigest, seconds: u64| {
        let file = fs::File::options()
            .append(true)
            .open(cache.path(digest))
            .unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
    };
    for (seconds, digest) in (1..).zip(&digests[..3]) {
        cache.put(digest, &[0; 100]);
        age(digest, seconds);
    }
    // The oldest is used again.
    assert!(cache.get(&digests[0]).is_some());
    cache.put(&digests[3], &[0; 100]);
    assert_eq!(folder.files().len(), 3);
    assert!(cache.get(&digests[0]).is_some());
    assert!(cache.get(&digests[1]).is_none());
    // What is larger than the cache is not kept, and drops nothing.
    cache.put(&digests[1], &[0; 400]);
    assert_eq!(folder.files().len(), 3);
}

#[test]
fn files_are_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.cache(1000).put(&DIGEST, b"code");
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.0.path().join("key")), 0o600);
    assert_eq!(mode(folder.0.path().join("compiled")), 0o700);
    assert_eq!(mode(folder.files().remove(0)), 0o600);
}

#[test]
fn what_is_no_plain_file_is_a_miss_and_nothing_is_waited_for() {
    let folder = Folder::new();
    let cache = folder.cache(1000);
    cache.put(&DIGEST, b"code");
    let path = folder.files().remove(0);
    let elsewhere = folder.0.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    let pipe = |path: &PathBuf| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
    let (done, end) = mpsc::channel();
    thread::spawn(move || {
        pipe(&path).unwrap();
        assert!(cache.get(&DIGEST).is_none(), "a pipe");
        fs::remove_file(&path).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(cache.get(&DIGEST).is_none(), "a link to the right file");
        // Both make way for what is compiled anew.
        cache.put(&DIGEST, b"code");
        assert_eq!(cache.get(&DIGEST).unwrap(), b"code");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(cache.get(&DIGEST).is_none(), "a folder");
        fs::remove_dir(&path).unwrap();
        pipe(&path.with_extension("unfinished")).unwrap();
        cache.put(&DIGEST, b"code");
        assert!(cache.get(&DIGEST).is_none(), "it could not be written");
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.rejected), (1, 4, 0));
        assert_eq!(stats.write_failures, 1);
        done.send(()).unwrap();
    });
    end.recv_timeout(Duration::from_secs(10))
        .expect("it waits for a pipe, or failed above");
}

#[test]
fn a_file_longer_than_it_may_be_is_not_read() {
    let folder = Folder::new();
    let cache = folder.cache(1000);
    cache.put(&DIGEST, b"code");
    let path = folder.files().remove(0);
    let file = fs::File::options().append(true).open(&path).unwrap();
    // It takes no room on the disk.
    file.set_len(super::FILE_BYTES_MAX + 1).unwrap();
    assert!(cache.get(&DIGEST).is_none());
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.rejected), (1, 0));
}
