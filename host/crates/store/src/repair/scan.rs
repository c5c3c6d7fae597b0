//! Finds rows of ours on any page of the file, whether a commit reaches it or not.
//!
//! The engine never clears a page that it frees, so copies of rows stay until the page is used
//! again. A row proves itself: its checksum covers its key and its body.

use std::cmp::Reverse;
use std::io;

use super::header::Slot;
use super::image::Image;
use super::page::{Link, Node, PAGE_BYTES, PageNumber, Row, Widths, is_whole};
use super::survey::Seal;
use super::walk::{TABLE_TREE, TableEntry};
use crate::record::decode_open_channel;
use domain::Sequence;

/// Bytes that are read at a time.
const WINDOW_BYTES: usize = 1 << 20;
/// A leaf with one row of ours takes no more.
const LEAF_BYTES_MAX: usize = 64 << 10;

/// The table that a found row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Event,
    OpenChannel,
    DeadLetter,
}

impl Found {
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Event => "events",
            Self::OpenChannel => "open_channels",
            Self::DeadLetter => "dead_letters",
        }
    }
}

/// Calls `each` for every place where a page may begin, with what follows.
fn pages(image: &Image, mut each: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let mut offset = 0;
    while offset < image.bytes {
        let window = image.read_at(offset, WINDOW_BYTES + LEAF_BYTES_MAX)?;
        for (index, place) in (0..WINDOW_BYTES).step_by(PAGE_BYTES).enumerate() {
            let end = window.len().min(place + LEAF_BYTES_MAX);
            let at = offset + u64::try_from(index * PAGE_BYTES).unwrap_or(0);
            if let Some(page) = window.get(place..end).filter(|page| !page.is_empty()) {
                each(at, page);
            }
        }
        offset += u64::try_from(WINDOW_BYTES).unwrap_or(u64::MAX);
    }
    Ok(())
}

/// Calls `each` for every row of ours in the file; one that was copied often comes as often.
pub(super) fn rows(image: &Image, mut each: impl FnMut(Found, Row<'_>)) -> io::Result<()> {
    pages(image, |_, page| {
        for (key, seal) in [(13, Seal::Event), (8, Seal::Number)] {
            let widths = Widths {
                key: Some(key),
                value: None,
            };
            let Some(Node::Leaf(leaf)) = Node::read(page, widths) else {
                continue;
            };
            let rows = (0..leaf.rows).filter_map(|row| leaf.row(row));
            for row in rows.filter(|row| seal.holds(*row)) {
                each(sort(seal, row), row);
            }
        }
    })
}

/// Open channels and dead letters have keys of the same form; what does not read as one is the other.
fn sort(seal: Seal, (key, value): Row<'_>) -> Found {
    match (seal, seal.key(key)) {
        (Seal::Number, Some((_, _, number))) => {
            match decode_open_channel(Sequence(number), value) {
                Ok(_) => Found::OpenChannel,
                Err(_) => Found::DeadLetter,
            }
        }
        _ => Found::Event,
    }
}

/// Trees of tables of ours, whether a slot leads to them or not, with the numbers of their commits; newest first.
pub(super) fn roots(image: &Image) -> io::Result<Vec<(u64, Slot)>> {
    let mut found: Vec<(u64, Slot)> = Vec::new();
    pages(image, |offset, page| {
        let Some(page) = page.get(..PAGE_BYTES) else {
            return;
        };
        let Some(Node::Leaf(leaf)) = Node::read(page, TABLE_TREE) else {
            return;
        };
        let rows: Option<Vec<TableEntry>> = (0..leaf.rows)
            .map(|row| TableEntry::read(leaf.row(row)?))
            .collect();
        let Some(entries) = rows.filter(|entries| entries.iter().any(|e| e.name == "events"))
        else {
            return;
        };
        if let Some(commit) = commit_of(image, &entries) {
            found.push((commit, slot_of(offset, page)));
        }
    })?;
    found.sort_by_key(|(commit, _)| Reverse(*commit));
    Ok(found)
}

/// The number of the commit that wrote this tree of tables; `None` if its numbers are not whole.
pub(super) fn commit_of(image: &Image, entries: &[TableEntry]) -> Option<u64> {
    let numbers = entries.iter().find(|entry| entry.name == "numbers")?;
    let root = numbers.root?;
    let super::image::Loaded::Whole(page) = image.load(root, numbers.widths).ok()? else {
        return None;
    };
    let Some(Node::Leaf(leaf)) = Node::read(&page, numbers.widths) else {
        return None;
    };
    let commit = (0..leaf.rows)
        .filter_map(|row| leaf.row(row))
        .find(|(key, _)| *key == b"commit")
        .and_then(|(_, value)| super::page::read_u64(value, 0));
    Some(commit.unwrap_or(0))
}

/// A slot that leads to this page, with the checksum that it has now.
fn slot_of(offset: u64, page: &[u8]) -> Slot {
    let index = (offset - 4096) / 4096;
    let number = PageNumber((index >> 20) << 20 | (index & 0xF_FFFF));
    let checksum = super::page::checksum(page, TABLE_TREE).unwrap_or(0);
    debug_assert!(is_whole(page, TABLE_TREE, checksum));
    Slot {
        user: Some(Link {
            page: number,
            checksum,
        }),
        system: None,
        transaction: 0,
    }
}
