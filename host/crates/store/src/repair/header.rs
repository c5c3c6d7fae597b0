//! The first page of a file: how it is laid out, and the roots of its last two commits.
//!
//! Of these 320 bytes only the commit slots have checksums. The rest has values that are known,
//! follow from the file's length, or decide nothing, so a wrong bit is found or does no harm.

use super::page::{Link, PageNumber, read_u32, read_u64, read_u128, turn};
use super::xxh3::{self, Flips};

const MAGIC: [u8; 9] = *b"redb\x1A\x0A\xA9\x0D\x0A";
const GOD_BYTE: usize = 9;
const PAGE_SIZE: usize = 12;
const REGION_HEADER_PAGES: usize = 16;
const REGION_PAGES: usize = 20;
const FULL_REGIONS: usize = 24;
const TRAILING_PAGES: usize = 28;
const SLOTS: [usize; 2] = [64, 192];
const SLOT_BYTES: usize = 128;
const SLOT_CHECKSUM: usize = 112;
const USER_ROOT: usize = 8;
const SYSTEM_ROOT: usize = 40;
const TRANSACTION: usize = 104;
const FILE_FORMAT: u8 = 3;

const PRIMARY: u8 = 1;
const RECOVERY: u8 = 2;
const TWO_PHASE: u8 = 4;

/// Data pages of a region, as the engine lays out every file of ours.
const REGION_PAGES_OURS: u32 = 1 << 20;
const REGION_HEADER_PAGES_OURS: u32 = 0;
const PAGE_SIZE_OURS: u32 = 4096;

/// Bits of the magic number that may be wrong in a file that is ours.
const MAGIC_BITS_MAX: u32 = 4;

/// A byte that is to be written to make the file whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) offset: u64,
    pub(super) byte: u8,
}

/// Something wrong in the first page.
#[derive(Debug)]
pub(super) struct HeaderDamage {
    pub(super) offset: usize,
    pub(super) detail: String,
    /// What mends it; none if nothing short of a new file does.
    pub(super) patches: Vec<Patch>,
}

/// One of the two commits that the file knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) user: Option<Link>,
    pub(super) system: Option<Link>,
    pub(super) transaction: u64,
}

/// The first page.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts that are read off one page"
)]
pub(super) struct Header {
    /// The slot that the engine would start from, then the other; `None` where it is not readable.
    pub(super) newest: Option<Slot>,
    pub(super) other: Option<Slot>,
    /// The last process that had the file open did not close it.
    pub(super) is_open: bool,
    /// The last commit was flushed before it took effect: it cannot be torn.
    is_two_phase: bool,
    /// The last commit that is known to be on the disk; `None` if none is.
    flushed: Option<u64>,
    /// The slot of the last commit, which is known to have been on the disk, is not readable: `newest` is the one before.
    pub(super) is_last_lost: bool,
    /// The flags name the slot that is not readable, and no mark says that `newest` was the last commit all the same.
    pub(super) is_before_flagged: bool,
    /// What is wrong is, at least in part, not a commit but the layout of the file: going back by a commit mends nothing.
    pub(super) is_layout_damaged: bool,
    pub(super) damages: Vec<HeaderDamage>,
    pub(super) notes: Vec<&'static str>,
    /// Neither magic number nor a commit: not a file of ours, or none any more.
    pub(super) is_foreign: bool,
}

impl Header {
    /// Reads `page`, the begin of a file of `file_bytes` whose commit number `flushed` is known to be on the disk.
    pub(super) fn read(page: &[u8], file_bytes: u64, flushed: Option<u64>) -> Self {
        let god_byte = page.get(GOD_BYTE).copied().unwrap_or(0);
        let primary_index = usize::from(god_byte & PRIMARY != 0);
        let primary = ReadSlot::read(page, primary_index);
        let secondary = ReadSlot::read(page, 1 - primary_index);
        let mut is_open = god_byte & RECOVERY != 0;
        let mut is_two_phase = god_byte & TWO_PHASE != 0;
        let is_behind = match (primary.slot, secondary.slot) {
            (Some(primary), Some(secondary)) => primary.transaction < secondary.transaction,
            (primary, secondary) => primary.is_none() && secondary.is_some(),
        };
        let mut notes = Vec::new();
        let mut damages = Vec::new();
        let is_served = if is_two_phase && primary.slot.is_some() {
            // The engine takes the flags at their word.
            let is_wrong = is_behind && secondary.is_commit(flushed);
            if is_wrong {
                is_open = true;
                is_two_phase = false;
                damages.push(wrong_flags(1 - primary_index));
            } else if is_behind {
                notes.push("the file has a newer commit that was not finished");
            }
            !is_wrong
        } else {
            !is_behind
        };
        let (newest, other) = if is_served {
            (primary, secondary)
        } else {
            (secondary, primary)
        };
        let served = newest.slot.map(|slot| slot.transaction);
        let is_one_slot = served.is_some() && other.slot.is_none();
        let is_before_flagged = is_one_slot && !is_served && served != flushed;
        // A commit in two phases cannot be torn, nor can that of a file that was closed: the flags are enough.
        let cannot_be_torn = is_two_phase || !is_open;
        let is_last_lost = is_before_flagged && cannot_be_torn || is_one_slot && served < flushed;
        // The engine does not read a slot that it does not need, but for its version.
        let is_needed =
            newest.slot.is_none() || other.blocks_open || other.is_mended || is_last_lost;
        damages.extend(newest.damage);
        if is_needed || is_two_phase && !is_served {
            damages.extend(other.damage);
        } else if other.damage.is_some() {
            notes.push(if is_served {
                "the slot of the commit before the last is not readable"
            } else {
                "the slot that the flags name is not readable: a start uses the commit before it"
            });
        }
        let mut header = Self {
            newest: newest.slot,
            other: other.slot,
            is_open,
            is_two_phase,
            flushed,
            is_last_lost,
            is_before_flagged,
            is_layout_damaged: false,
            damages,
            notes,
            is_foreign: false,
        };
        let wrong_bits = wrong_magic_bits(page);
        header.is_foreign = header.newest.is_none() && wrong_bits > MAGIC_BITS_MAX;
        let of_commits = header.damages.len();
        header.check_magic(wrong_bits);
        header.check_geometry(page);
        header.check_length(page, file_bytes);
        header.is_layout_damaged = header.damages.len() > of_commits;
        header
    }

    /// Whether the engine checks the last commit when it opens the file, and goes back by one if it is not whole.
    pub(super) fn may_go_back(&self) -> bool {
        self.is_open && !self.is_two_phase
    }

    /// Whether the last commit may be in the file in part although nothing is damaged.
    pub(super) fn may_be_torn(&self) -> bool {
        let last = self.newest.map(|slot| slot.transaction);
        self.may_go_back() && !last.is_some_and(|last| self.flushed.is_some_and(|it| last <= it))
    }

    /// Whether the other slot, if there is one, or the mark beside the file says that `newest` is the last commit.
    pub(super) fn is_last_known(&self) -> bool {
        let last = self.newest.map(|slot| slot.transaction);
        last.is_some() && !self.is_last_lost && (self.other.is_some() || last == self.flushed)
    }

    /// Whether it is known that nobody was told of the last commit: the one before it was the last that was flushed.
    pub(super) fn is_untold(&self) -> bool {
        self.may_be_torn() && self.flushed.is_some() && {
            let other = self.other.map(|slot| slot.transaction);
            other == self.flushed
        }
    }

    fn check_magic(&mut self, wrong_bits: u32) {
        if wrong_bits > 0 {
            let patches = (0..).zip(MAGIC);
            self.damages.push(HeaderDamage {
                offset: 0,
                detail: "the magic number is wrong".to_owned(),
                patches: patches
                    .map(|(offset, byte)| Patch { offset, byte })
                    .collect(),
            });
        }
    }

    fn check_geometry(&mut self, page: &[u8]) {
        for (offset, ours) in [
            (PAGE_SIZE, PAGE_SIZE_OURS),
            (REGION_HEADER_PAGES, REGION_HEADER_PAGES_OURS),
            (REGION_PAGES, REGION_PAGES_OURS),
        ] {
            let found = read_u32(page, offset).unwrap_or(0);
            if found != ours {
                self.damages.push(HeaderDamage {
                    offset,
                    detail: format!("the layout says {found} where it must say {ours}"),
                    patches: patches(offset, &ours.to_le_bytes()),
                });
            }
        }
    }

    /// The counts of pages say how long the file is, unless it was not closed: then its length
    /// says what the counts are.
    fn check_length(&mut self, page: &[u8], file_bytes: u64) {
        let page_bytes = u64::from(PAGE_SIZE_OURS);
        let pages = (file_bytes / page_bytes).saturating_sub(1);
        if pages == 0 || !file_bytes.is_multiple_of(page_bytes) {
            self.damages.push(HeaderDamage {
                offset: 0,
                detail: format!("the file ends after {file_bytes} bytes, in the middle of a page"),
                patches: Vec::new(),
            });
            return;
        }
        let full = pages / u64::from(REGION_PAGES_OURS);
        let trailing = pages % u64::from(REGION_PAGES_OURS);
        let fitting = [full, trailing].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let stored = [FULL_REGIONS, TRAILING_PAGES].map(|offset| read_u32(page, offset));
        let wrong_bits: u32 = fitting
            .iter()
            .zip(stored)
            .map(|(fitting, stored)| (fitting ^ stored.unwrap_or(0)).count_ones())
            .sum();
        if self.is_open || wrong_bits == 0 {
            return;
        }
        let [full, trailing] = fitting.map(u32::to_le_bytes);
        let mut mending = patches(FULL_REGIONS, &full);
        mending.extend(patches(TRAILING_PAGES, &trailing));
        self.damages.push(HeaderDamage {
            offset: FULL_REGIONS,
            detail: format!("the file has {pages} pages, which is not what it says of itself"),
            // More than one wrong bit: more likely the file was cut or grew.
            patches: if wrong_bits == 1 { mending } else { Vec::new() },
        });
    }
}

/// The flags name an older commit than the last that was flushed.
fn wrong_flags(index: usize) -> HeaderDamage {
    let primary = if index == 0 { 0 } else { PRIMARY };
    HeaderDamage {
        offset: GOD_BYTE,
        detail: "the flags name an older commit than the last that was flushed".to_owned(),
        // As of a file that was not closed: the engine checks the commit.
        patches: patches(GOD_BYTE, &[RECOVERY | primary]),
    }
}

/// The number of the commit that a first page names as the last one; `None` if it is shorter than one.
pub(crate) fn served_commit(page: &[u8]) -> Option<u64> {
    let index = usize::from(page.get(GOD_BYTE)? & PRIMARY != 0);
    read_u64(page, SLOTS.get(index)? + TRANSACTION)
}

fn patches(offset: usize, bytes: &[u8]) -> Vec<Patch> {
    (u64::try_from(offset).unwrap_or(0)..)
        .zip(bytes)
        .map(|(offset, byte)| Patch {
            offset,
            byte: *byte,
        })
        .collect()
}

fn wrong_magic_bits(page: &[u8]) -> u32 {
    let found = page.iter().chain(std::iter::repeat(&0));
    MAGIC
        .iter()
        .zip(found)
        .map(|(ours, found)| (ours ^ found).count_ones())
        .sum()
}

/// A commit slot, and what is wrong with it.
struct ReadSlot {
    slot: Option<Slot>,
    damage: Option<HeaderDamage>,
    is_mended: bool,
    /// The engine opens no file with such a slot, even if it needs only the other one.
    blocks_open: bool,
}

impl ReadSlot {
    /// Whether it is readable and of the commit with this number.
    fn is_commit(&self, number: Option<u64>) -> bool {
        number.is_some() && self.slot.map(|slot| slot.transaction) == number
    }

    fn read(page: &[u8], index: usize) -> Self {
        let offset = SLOTS.get(index).copied().unwrap_or_default();
        let bytes = page.get(offset..offset + SLOT_BYTES).unwrap_or_default();
        if let Some(slot) = parse_slot(bytes) {
            return Self {
                slot: Some(slot),
                damage: None,
                is_mended: false,
                blocks_open: false,
            };
        }
        let mended = mend_slot(bytes);
        let damage = HeaderDamage {
            offset,
            detail: format!("commit slot {index} does not fit its checksum"),
            patches: mended
                .as_deref()
                .map(|bytes| patches(offset, bytes))
                .unwrap_or_default(),
        };
        Self {
            slot: mended.as_deref().and_then(parse_slot),
            damage: Some(damage),
            is_mended: mended.is_some(),
            blocks_open: bytes.first() != Some(&FILE_FORMAT),
        }
    }
}

/// Reads a slot whose checksum is right.
fn parse_slot(bytes: &[u8]) -> Option<Slot> {
    let covered = bytes.get(..SLOT_CHECKSUM)?;
    if xxh3::hash(covered) != read_u128(bytes, SLOT_CHECKSUM)? || *bytes.first()? != FILE_FORMAT {
        return None;
    }
    let root = |has_root: usize, offset: usize| {
        let link = Link {
            page: PageNumber(read_u64(bytes, offset)?),
            checksum: read_u128(bytes, offset + 8)?,
        };
        (*bytes.get(has_root)? != 0).then_some(link)
    };
    Some(Slot {
        user: root(1, USER_ROOT),
        system: root(2, SYSTEM_ROOT),
        transaction: read_u64(bytes, TRANSACTION)?,
    })
}

/// The slot with the one bit turned that is wrong, if it is one.
fn mend_slot(bytes: &[u8]) -> Option<Vec<u8>> {
    let covered = bytes.get(..SLOT_CHECKSUM)?;
    let checksum = read_u128(bytes, SLOT_CHECKSUM)?;
    let right = xxh3::hash(covered);
    let mut mended = bytes.to_vec();
    if (right ^ checksum).count_ones() == 1 {
        mended.truncate(SLOT_CHECKSUM);
        mended.extend(right.to_le_bytes());
        return Some(mended);
    }
    let flips = Flips::of(covered);
    let (byte, bit) = (0..covered.len())
        .flat_map(|byte| (0..8).map(move |bit| (byte, bit)))
        .find(|(byte, bit)| flips.hash(*byte, *bit) == checksum)?;
    turn(&mut mended, byte, bit);
    Some(mended)
}
