//! Small file systems of their own, which can be filled or break, for the host's data folder. Mounting needs root.
//!
//! The kernel refuses to make a file system read-only while a file on it is open for writing. What
//! happens to real disks is different: ext4 stops all writing at its first error. That is what
//! [`BreakableDisk`] brings about.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::cli;

const FILL: &str = "filler";
const FILL_STEP: usize = 4096;

/// A mounted file system; unmounted when it is dropped.
#[derive(Debug)]
struct Mount {
    folder: TempDir,
}

impl Mount {
    fn new(args: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("rulemill-disk-")
            .tempdir()?;
        let at = folder.path().to_string_lossy().into_owned();
        run("mount", &[args, &[&at]].concat())?;
        Ok(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let at = self.folder.path().to_string_lossy().into_owned();
        // Lazily: a host that is still ending may hold a file. A failure leaves an empty mount behind, no harm.
        drop(run("umount", &["--lazy", &at]));
    }
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    cli::run_command(Command::new(program).args(args))?
        .expect(0)
        .with_context(|| format!("{program} {}", args.join(" ")))?;
    Ok(())
}

/// A file system in memory, small enough to be filled.
#[derive(Debug)]
pub struct SmallDisk {
    mount: Mount,
}

impl SmallDisk {
    /// Mounts one with room for `mib` MiB.
    ///
    /// # Errors
    ///
    /// When this process may not mount.
    pub fn new(mib: u32) -> Result<Self> {
        let size = format!("size={mib}m,mode=0700");
        let mount = Mount::new(&["-t", "tmpfs", "-o", &size, "tmpfs"])?;
        Ok(Self { mount })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.mount.path().to_owned()
    }

    /// Takes all room that is left, but for `spare_bytes`.
    ///
    /// # Errors
    ///
    /// When writing fails for another reason.
    pub fn fill(&self, spare_bytes: u64) -> Result<()> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.mount.path().join(FILL))?;
        loop {
            match file.write_all(&[0; FILL_STEP]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => return Err(error).context("failed to fill the disk"),
            }
        }
        let size = file.metadata()?.len();
        file.set_len(size.saturating_sub(spare_bytes))?;
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    ///
    /// When it was not filled.
    pub fn make_room(&self) -> Result<()> {
        fs::remove_file(self.mount.path().join(FILL)).context("the disk was not filled")
    }
}

/// An ext4 in a file, which can fail as a real disk does.
#[derive(Debug)]
pub struct BreakableDisk {
    mount: Option<Mount>,
    folder: TempDir,
}

impl BreakableDisk {
    /// Makes and mounts one with room for `mib` MiB.
    ///
    /// # Errors
    ///
    /// When this process may not mount, or there is no `mkfs.ext4`.
    pub fn new(mib: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("image");
        File::create(&image)?.set_len(mib << 20)?;
        let mut disk = Self {
            mount: None,
            folder,
        };
        let image = image.to_string_lossy().into_owned();
        // Without a journal, which would take a part of a small disk.
        run(
            "mkfs.ext4",
            &["-q", "-F", "-O", "^has_journal", "-m", "0", &image],
        )?;
        disk.mount = Some(Self::mount(&image)?);
        Ok(disk)
    }

    fn mount(image: &str) -> Result<Mount> {
        Mount::new(&["-o", "loop,errors=remount-ro", image])
    }

    /// Where it is.
    ///
    /// # Errors
    ///
    /// When it is not mounted.
    pub fn path(&self) -> Result<PathBuf> {
        let mount = self.mount.as_ref().context("the disk is not mounted")?;
        Ok(mount.path().to_owned())
    }

    /// The kernel finds an error of the file system: from now on it is read-only, also for who has files open.
    ///
    /// # Errors
    ///
    /// When the kernel has no such switch.
    pub fn turn_read_only(&self) -> Result<()> {
        let at = self.path()?.to_string_lossy().into_owned();
        let source = cli::run_command(Command::new("findmnt").args(["-n", "-o", "SOURCE", &at]))?
            .expect(0)?
            .stdout;
        let Some(device) = source.trim().strip_prefix("/dev/") else {
            bail!("not a device: {source}");
        };
        let switch = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        fs::write(&switch, "test").with_context(|| format!("failed to write {switch}"))
    }

    /// What an operator does: unmount, check, mount again at the same place. No file on it may be open.
    ///
    /// # Errors
    ///
    /// When the check finds more than the error that was made.
    pub fn repair(&mut self) -> Result<()> {
        let image = self.folder.path().join("image");
        let image = image.to_string_lossy().into_owned();
        let at = self.path()?.to_string_lossy().into_owned();
        run("umount", &[&at])?;
        // Exit code 1: something was mended.
        let checked = cli::run_command(Command::new("e2fsck").args(["-f", "-y", &image]))?;
        if !matches!(checked.code, Some(0 | 1)) {
            bail!("e2fsck found too much: {checked:?}");
        }
        run("mount", &["-o", "loop,errors=remount-ro", &image, &at])
    }
}

/// Makes a file unwritable, also for who has it open, or writable again. Needs ext4 and root.
///
/// # Errors
///
/// When the file system or the system refuses.
pub fn set_immutable(path: &Path, immutable: bool) -> Result<()> {
    let flag = if immutable { "+i" } else { "-i" };
    run("chattr", &[flag, &path.to_string_lossy()])
}
