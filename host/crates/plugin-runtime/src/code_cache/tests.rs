use std::fs;
use std::path::PathBuf;

use domain::PluginDigest;
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
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
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
