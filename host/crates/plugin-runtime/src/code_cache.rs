//! Compiled code on disk, so that a start and a rollback need no compiler.
//!
//! A file is machine code that runs with the host's rights, so it is only ever loaded if this host
//! wrote it: its tag is an HMAC over digest, engine and code with a key that lies outside of the
//! cache folder. Everything else (a torn file, one of another engine, a forged one, a link, a pipe)
//! is a miss and is compiled anew. A cache that cannot be opened or written costs time only.

use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use domain::PluginDigest;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

const TAG_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
/// The compiled form of a component of 32 MiB in Python takes about 60 MiB.
const FILE_BYTES_MAX: u64 = 512 << 20;
const EXTENSION: &str = "code";

/// Where compiled code is kept.
#[derive(Clone, Debug)]
pub struct CodeCacheConfig {
    /// The folder; made with mode 0700 if it is not there.
    pub folder: PathBuf,
    /// The file with the key; made with mode 0600 if it is not there. Not inside `folder`.
    pub key_file: PathBuf,
    /// All files together, bytes; those used longest ago go first.
    pub bytes_max: u64,
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenCodeCacheError {
    /// Its folder.
    #[error(
        "the folder {} of compiled plugins cannot be made; move away what is in its place, or let the host write \
         there, then start it again",
        path.display()
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Its key.
    #[error(
        "the key of compiled plugins {} cannot be read or made; move away what is in its place, or let the host read \
         and write it, then start it again",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What the cache did since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeCacheStats {
    /// Plugins that needed no compiler.
    pub hits: u64,
    /// Plugins that were not there.
    pub misses: u64,
    /// Files that were there and were not what this host wrote.
    pub rejected: u64,
    /// Files that could not be written.
    pub write_failures: u64,
}

/// The cache of one engine.
pub(crate) struct CodeCache {
    config: CodeCacheConfig,
    key: [u8; KEY_BYTES],
    /// Identifies version and settings of the engine: other code would not run.
    engine: [u8; 32],
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    write_failures: AtomicU64,
}

impl CodeCache {
    /// The cache, or none if it cannot be used: the log says why, and each start compiles anew.
    pub(crate) fn open_or_go_without(config: CodeCacheConfig, engine: &Engine) -> Option<Self> {
        Self::open(config, engine)
            .inspect_err(|error| {
                let error = domain::ErrorChain(error).to_string();
                tracing::warn!(%error, "no compiled plugin is kept, each start compiles all of them anew");
            })
            .ok()
    }

    fn open(config: CodeCacheConfig, engine: &Engine) -> Result<Self, OpenCodeCacheError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.folder)
            .map_err(|source| OpenCodeCacheError::Folder {
                path: config.folder.clone(),
                source,
            })?;
        let key = key(&config.key_file).map_err(|source| OpenCodeCacheError::Key {
            path: config.key_file.clone(),
            source,
        })?;
        let mut hasher = Sha256Hasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            config,
            key,
            engine: hasher.0.finalize().into(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            write_failures: AtomicU64::new(0),
        })
    }

    /// The code of the component with this digest, if this host compiled it with this engine.
    pub(crate) fn get(&self, digest: &PluginDigest) -> Option<Vec<u8>> {
        let path = self.path(digest);
        // In the folder lies what this host wrote there, never a link to elsewhere.
        let (file, found) = match read(&path, OFlags::NOFOLLOW, FILE_BYTES_MAX) {
            Ok(found) => found,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "compiled plugin cannot be read and is compiled anew");
                }
                self.misses.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        let Some(code) = self.open_sealed(digest, found) else {
            tracing::warn!(path = %path.display(), "a compiled plugin is not as this host wrote it and is compiled anew: the machine failed while it was written, compiled-plugins.key was replaced, or somebody else wrote the file; if neither the machine failed nor the key was replaced, see who may write into the data folder");
            self.rejected.fetch_add(1, Ordering::Relaxed);
            self.misses.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        self.hits.fetch_add(1, Ordering::Relaxed);
        // What is used last goes last. A failure only makes it go earlier.
        drop(file.set_modified(now()));
        Some(code)
    }

    /// Keeps `code`; makes room for it first. A failure is counted and logged.
    pub(crate) fn put(&self, digest: &PluginDigest, code: &[u8]) {
        let path = self.path(digest);
        let size = u64::try_from(code.len() + TAG_BYTES).unwrap_or(u64::MAX);
        if size > self.config.bytes_max.min(FILE_BYTES_MAX) {
            return;
        }
        let written = self
            .make_room(size)
            .and_then(|()| write(&path, &[&self.tag(digest, code), code], Flush::Later));
        if let Err(error) = written {
            self.write_failures.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(path = %path.display(), %error, "compiled plugin cannot be kept");
        }
    }

    pub(crate) fn stats(&self) -> CodeCacheStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CodeCacheStats {
            hits: load(&self.hits),
            misses: load(&self.misses),
            rejected: load(&self.rejected),
            write_failures: load(&self.write_failures),
        }
    }

    fn path(&self, digest: &PluginDigest) -> PathBuf {
        let mut name = hex(&digest.0);
        name.push('-');
        // 16 bytes tell engines apart; the tag covers all of them.
        name.push_str(&hex(self.engine.get(..16).unwrap_or_default()));
        self.config.folder.join(name).with_extension(EXTENSION)
    }

    fn tag(&self, digest: &PluginDigest, code: &[u8]) -> [u8; TAG_BYTES] {
        self.mac(digest, code).finalize().into_bytes().into()
    }

    fn mac(&self, digest: &PluginDigest, code: &[u8]) -> Hmac<Sha256> {
        // Never fails: HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)
            .unwrap_or_else(|_| Hmac::<Sha256>::new(&[0; 64].into()));
        mac.update(&digest.0);
        mac.update(&self.engine);
        mac.update(code);
        mac
    }

    fn open_sealed(&self, digest: &PluginDigest, mut found: Vec<u8>) -> Option<Vec<u8>> {
        let (tag, code) = found.split_at_checked(TAG_BYTES)?;
        self.mac(digest, code).verify_slice(tag).ok()?;
        found.drain(..TAG_BYTES);
        Some(found)
    }

    /// Removes the files used longest ago until `size` more bytes fit.
    fn make_room(&self, size: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.config.folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, length, path) in files {
            if bytes.saturating_add(size) <= self.config.bytes_max {
                break;
            }
            fs::remove_file(&path)?;
            bytes -= length;
        }
        Ok(())
    }
}

/// The key: made at the first start.
fn key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match read(path, OFlags::empty(), FILE_BYTES_MAX) {
        Ok((_, bytes)) => <[u8; KEY_BYTES]>::try_from(bytes).or_else(|_| make_key(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(path),
        Err(error) => Err(error),
    }
}

fn make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    // Without its key all that is there is compiled anew.
    write(path, &[&key], Flush::Now)?;
    Ok(key)
}

/// A file, opened with `flags` as well, and its bytes, at most `bytes_max`.
fn read(path: &Path, flags: OFlags, bytes_max: u64) -> io::Result<(File, Vec<u8>)> {
    // A pipe that nobody writes to is not waited for.
    let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    let too_large = || io::Error::other(format!("it has more than {bytes_max} bytes"));
    if metadata.len() > bytes_max {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // It may grow meanwhile.
    (&file)
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(too_large());
    }
    Ok((file, bytes))
}

/// When what was written reaches the disk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    /// Before it has its name.
    Now,
    /// When the system likes: it is whole unless the machine fails in the next minute, and others need not wait for the
    /// disk, the outbox before all.
    Later,
}

/// Writes a file for this user alone; unless the machine fails, it is there completely or not at all.
fn write(path: &Path, parts: &[&[u8]], flush: Flush) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    // What is in its place is neither followed (a link) nor waited for (a pipe).
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::options()
        .custom_flags(flags.bits().cast_signed())
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    for part in parts {
        file.write_all(part)?;
    }
    if flush == Flush::Now {
        file.sync_all()?;
    }
    fs::rename(&unfinished, path)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of a file, which no test waits for"
)]
fn now() -> SystemTime {
    SystemTime::now()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string never fails.
        let _: std::fmt::Result = write!(text, "{byte:02x}");
    }
    text
}

/// Hashes whatever the engine says about itself, stable between processes of one build.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests;
