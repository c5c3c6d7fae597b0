//! Pages of the engine's file format 3: numbers, leaves and branches, read with every bound checked.
//!
//! A page's checksum is in its parent and covers the page up to its last value or key: what lies
//! behind is free and may be anything. The format is that of redb 4.6, `docs/design.md` there.

use super::xxh3::{self, Flips};

/// The engine's unit; larger pages are this times a power of two.
pub(super) const PAGE_BYTES: usize = 4096;

const LEAF: u8 = 1;
const BRANCH: u8 = 2;
/// In front of a leaf's and of a branch's contents.
const LEAF_HEADER: usize = 4;
const BRANCH_HEADER: usize = 8;
const CHECKSUM_BYTES: usize = 16;
const NUMBER_BYTES: usize = 8;
const OFFSET_BYTES: usize = 4;

/// Larger pages are not searched for the wrong bit: it would take minutes.
const MEND_BYTES_MAX: usize = 2 << 20;

/// Where a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PageNumber(pub(super) u64);

impl PageNumber {
    pub(super) fn order(self) -> u32 {
        u32::try_from(self.0 >> 59).unwrap_or(0)
    }

    pub(super) fn region(self) -> u64 {
        self.0 >> 20 & 0xF_FFFF
    }

    pub(super) fn index(self) -> u64 {
        self.0 & (0xF_FFFF >> self.order())
    }

    pub(super) fn bytes(self) -> u64 {
        4096 << self.order()
    }
}

/// A page and the checksum that its parent has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) page: PageNumber,
    pub(super) checksum: u128,
}

/// Widths of keys and values; `None`: each has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Widths {
    pub(super) key: Option<usize>,
    pub(super) value: Option<usize>,
}

/// Key and value.
pub(super) type Row<'a> = (&'a [u8], &'a [u8]);

/// A page's contents, as far as they can be made out.
pub(super) enum Node<'a> {
    Leaf(Leaf<'a>),
    Branch(Branch<'a>),
}

impl<'a> Node<'a> {
    pub(super) fn read(page: &'a [u8], widths: Widths) -> Option<Self> {
        match *page.first()? {
            LEAF => Leaf::read(page, widths).map(Self::Leaf),
            BRANCH => Branch::read(page, widths.key).map(Self::Branch),
            _ => None,
        }
    }

    /// How many bytes of the page the checksum covers.
    fn covered(&self) -> Option<usize> {
        match self {
            Self::Leaf(leaf) => leaf.end(),
            Self::Branch(branch) => branch.key_end(branch.keys.checked_sub(1)?),
        }
    }
}

/// Rows in key order.
pub(super) struct Leaf<'a> {
    page: &'a [u8],
    widths: Widths,
    pub(super) rows: usize,
    /// Where the keys begin, and the values.
    keys: usize,
    values: Option<usize>,
}

impl<'a> Leaf<'a> {
    fn read(page: &'a [u8], widths: Widths) -> Option<Self> {
        let rows = usize::from(read_u16(page, 2)?);
        let tables = usize::from(widths.key.is_none()) + usize::from(widths.value.is_none());
        let mut leaf = Self {
            page,
            widths,
            rows,
            keys: LEAF_HEADER + OFFSET_BYTES * tables * rows,
            values: None,
        };
        leaf.values = leaf.key_end(rows.checked_sub(1)?);
        Some(leaf)
    }

    fn key_end(&self, row: usize) -> Option<usize> {
        match self.widths.key {
            Some(width) => Some(self.keys + width * (row + 1)),
            None => read_offset(self.page, LEAF_HEADER + OFFSET_BYTES * row),
        }
    }

    fn value_end(&self, row: usize) -> Option<usize> {
        match self.widths.value {
            Some(width) => Some(self.values? + width * (row + 1)),
            None => {
                let skipped = if self.widths.key.is_none() {
                    self.rows
                } else {
                    0
                };
                read_offset(self.page, LEAF_HEADER + OFFSET_BYTES * (skipped + row))
            }
        }
    }

    fn end(&self) -> Option<usize> {
        self.value_end(self.rows.checked_sub(1)?)
    }

    /// The key of a row; `None` where the offsets lead nowhere.
    pub(super) fn key(&self, row: usize) -> Option<&'a [u8]> {
        if row >= self.rows {
            return None;
        }
        let start = match row.checked_sub(1) {
            None => self.keys,
            Some(before) => self.key_end(before)?,
        };
        self.page.get(start..self.key_end(row)?)
    }

    /// Key and value of a row; `None` where the offsets lead nowhere.
    pub(super) fn row(&self, row: usize) -> Option<Row<'a>> {
        let key = self.key(row)?;
        let start = match row.checked_sub(1) {
            None => self.values?,
            Some(before) => self.value_end(before)?,
        };
        let value = self.page.get(start..self.value_end(row)?)?;
        Some((key, value))
    }
}

/// Children, and between them keys: each at or above every key of the child before it.
pub(super) struct Branch<'a> {
    page: &'a [u8],
    key_width: Option<usize>,
    keys: usize,
}

impl<'a> Branch<'a> {
    fn read(page: &'a [u8], key_width: Option<usize>) -> Option<Self> {
        let keys = usize::from(read_u16(page, 2)?);
        let branch = Self {
            page,
            key_width,
            keys,
        };
        (keys > 0 && branch.keys_start() <= page.len()).then_some(branch)
    }

    pub(super) fn children(&self) -> usize {
        self.keys + 1
    }

    pub(super) fn child(&self, child: usize) -> Option<Link> {
        if child > self.keys {
            return None;
        }
        let checksum = BRANCH_HEADER + CHECKSUM_BYTES * child;
        let number = BRANCH_HEADER + CHECKSUM_BYTES * self.children() + NUMBER_BYTES * child;
        Some(Link {
            page: PageNumber(read_u64(self.page, number)?),
            checksum: read_u128(self.page, checksum)?,
        })
    }

    /// The key after child `key`.
    pub(super) fn key(&self, key: usize) -> Option<&'a [u8]> {
        if key >= self.keys {
            return None;
        }
        let start = match key.checked_sub(1) {
            None => self.keys_start(),
            Some(before) => self.key_end(before)?,
        };
        self.page.get(start..self.key_end(key)?)
    }

    fn offsets_start(&self) -> usize {
        BRANCH_HEADER + (CHECKSUM_BYTES + NUMBER_BYTES) * self.children()
    }

    fn keys_start(&self) -> usize {
        let offsets = if self.key_width.is_none() {
            OFFSET_BYTES * self.keys
        } else {
            0
        };
        self.offsets_start() + offsets
    }

    fn key_end(&self, key: usize) -> Option<usize> {
        match self.key_width {
            Some(width) => Some(self.keys_start() + width * (key + 1)),
            None => read_offset(self.page, self.offsets_start() + OFFSET_BYTES * key),
        }
    }
}

/// Whether the page is what was written.
pub(super) fn is_whole(page: &[u8], widths: Widths, checksum: u128) -> bool {
    covered(page, widths).is_some_and(|data| xxh3::hash(data) == checksum)
}

/// The checksum of the page as it is.
pub(super) fn checksum(page: &[u8], widths: Widths) -> Option<u128> {
    covered(page, widths).map(xxh3::hash)
}

fn covered(page: &[u8], widths: Widths) -> Option<&[u8]> {
    page.get(..Node::read(page, widths)?.covered()?)
}

/// The byte and bit whose turning makes the page whole again, if one bit is all that is wrong.
pub(super) fn wrong_bit(page: &[u8], widths: Widths, checksum: u128) -> Option<(usize, u8)> {
    if page.len() > MEND_BYTES_MAX {
        return None;
    }
    wrong_bit_of_form(page, widths, checksum).or_else(|| {
        let data = covered(page, widths)?;
        let flips = Flips::of(data);
        (0..data.len())
            .flat_map(|byte| (0..8).map(move |bit| (byte, bit)))
            .find(|(byte, bit)| flips.hash(*byte, *bit) == checksum)
    })
}

/// The same among the bits that say how much the checksum covers: the header and the last offset.
fn wrong_bit_of_form(page: &[u8], widths: Widths, checksum: u128) -> Option<(usize, u8)> {
    let mut places: Vec<usize> = (0..LEAF_HEADER).collect();
    let rows = usize::from(read_u16(page, 2)?);
    if let Some(last) = rows.checked_sub(1) {
        let key_table = if widths.key.is_none() { rows } else { 0 };
        let of_leaf = LEAF_HEADER + OFFSET_BYTES * (key_table + last);
        let of_branch =
            BRANCH_HEADER + (CHECKSUM_BYTES + NUMBER_BYTES) * (rows + 1) + OFFSET_BYTES * last;
        for start in [of_leaf, of_branch] {
            places.extend(start..start + OFFSET_BYTES);
        }
        // Values of one width begin where the last key ends.
        let last_key = LEAF_HEADER + OFFSET_BYTES * last;
        places.extend(last_key..last_key + OFFSET_BYTES);
    }
    let mut turned = page.to_vec();
    for byte in places {
        for bit in 0..8 {
            turn(&mut turned, byte, bit);
            if is_whole(&turned, widths, checksum) {
                return Some((byte, bit));
            }
            turn(&mut turned, byte, bit);
        }
    }
    None
}

/// Turns a bit over; nothing if the byte is not there.
pub(super) fn turn(bytes: &mut [u8], byte: usize, bit: u8) {
    if let Some(byte) = bytes.get_mut(byte) {
        *byte ^= 1 << bit;
    }
}

pub(super) fn read_u16(bytes: &[u8], offset: usize) -> Option<u16> {
    let chunk = bytes.get(offset..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*chunk))
}

pub(super) fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    let chunk = bytes.get(offset..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*chunk))
}

pub(super) fn read_u64(bytes: &[u8], offset: usize) -> Option<u64> {
    let chunk = bytes.get(offset..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*chunk))
}

pub(super) fn read_u128(bytes: &[u8], offset: usize) -> Option<u128> {
    let chunk = bytes.get(offset..)?.first_chunk::<16>()?;
    Some(u128::from_le_bytes(*chunk))
}

fn read_offset(bytes: &[u8], offset: usize) -> Option<usize> {
    usize::try_from(read_u32(bytes, offset)?).ok()
}
