//! Walks the trees of a file: every page that a commit reaches, every row, and what is wrong where.
//!
//! A damaged branch costs only children whose entry was hit: a child that fits the checksum in the
//! damaged entry is provably the right one. A damaged leaf's rows are handed over as doubtful, for
//! whoever can tell by other means which of them are whole.

use std::io;

use super::header::{Patch, Slot};
use super::image::{Image, Loaded};
use super::page::{Link, Node, PageNumber, Row, Widths, read_u32, read_u64, read_u128};

/// No tree of ours comes near it: 4 KiB branches of at least two children.
const DEPTH_MAX: usize = 64;

/// Something wrong on a page.
#[derive(Clone, Debug)]
pub(super) struct PageDamage {
    pub(super) page: PageNumber,
    pub(super) is_missing: bool,
    /// What makes it whole.
    pub(super) patch: Option<Patch>,
}

/// Keys above `above` up to `up_to`; `None`: no bound.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyRange {
    pub(super) above: Option<Vec<u8>>,
    pub(super) up_to: Option<Vec<u8>>,
}

/// What a walk tells.
pub(super) trait Visitor {
    /// A row of a page that is whole, or was made whole.
    fn row(&mut self, row: Row<'_>);
    /// A row of a damaged page; without a value if only its key can be made out.
    fn doubtful_row(&mut self, row: Row<'_>);
    /// A page is damaged.
    fn damage(&mut self, damage: PageDamage);
    /// Rows of this range may be missing: the page that has them is damaged and was not mended.
    fn lost(&mut self, range: KeyRange);
}

/// A table, as the tree of tables has it.
#[derive(Clone, Debug)]
pub(super) struct TableEntry {
    pub(super) name: String,
    pub(super) root: Option<Link>,
    pub(super) rows: u64,
    pub(super) widths: Widths,
}

/// Widths of the tree of tables: names to definitions.
pub(super) const TABLE_TREE: Widths = Widths {
    key: None,
    value: None,
};

impl TableEntry {
    pub(super) fn read((name, definition): Row<'_>) -> Option<Self> {
        const NORMAL: u8 = 3;
        if *definition.first()? != NORMAL {
            return None;
        }
        let width = |offset: usize| {
            let width = usize::try_from(read_u32(definition, offset + 1)?).ok()?;
            Some((*definition.get(offset)? != 0).then_some(width))
        };
        let has_root = *definition.get(9)? != 0;
        let link = Link {
            page: PageNumber(read_u64(definition, 10)?),
            checksum: read_u128(definition, 18)?,
        };
        Some(Self {
            name: String::from_utf8(name.to_vec()).ok()?,
            root: has_root.then_some(link),
            rows: read_u64(definition, 1)?,
            widths: Widths {
                key: width(42)?,
                value: width(47)?,
            },
        })
    }
}

/// Walks one tree.
pub(super) fn walk(
    image: &Image,
    root: Link,
    widths: Widths,
    visitor: &mut dyn Visitor,
) -> io::Result<()> {
    let mut walk = Walk {
        image,
        widths,
        visitor,
    };
    walk.node(root, KeyRange::default(), 0)
}

struct Walk<'a> {
    image: &'a Image,
    widths: Widths,
    visitor: &'a mut dyn Visitor,
}

impl Walk<'_> {
    fn node(&mut self, link: Link, range: KeyRange, depth: usize) -> io::Result<()> {
        let loaded = if depth > DEPTH_MAX {
            Loaded::Missing
        } else {
            self.image.load(link, self.widths)?
        };
        let damage = |patch| PageDamage {
            page: link.page,
            is_missing: false,
            patch,
        };
        let page = match loaded {
            Loaded::Whole(page) => return self.whole(&page, &range, depth),
            Loaded::Mended(page, patch) => {
                self.visitor.damage(damage(Some(patch)));
                return self.whole(&page, &range, depth);
            }
            Loaded::Missing => {
                self.visitor.damage(PageDamage {
                    is_missing: true,
                    ..damage(None)
                });
                self.visitor.lost(range);
                return Ok(());
            }
            Loaded::Damaged(page) => page,
        };
        self.visitor.damage(damage(None));
        // Before the children: they may give back a part of it.
        self.visitor.lost(range);
        self.damaged(&page, depth)
    }

    fn whole(&mut self, page: &[u8], range: &KeyRange, depth: usize) -> io::Result<()> {
        match Node::read(page, self.widths) {
            Some(Node::Leaf(leaf)) => {
                for row in (0..leaf.rows).filter_map(|row| leaf.row(row)) {
                    self.visitor.row(row);
                }
            }
            Some(Node::Branch(branch)) => {
                let key = |index: Option<usize>| Some(branch.key(index?)?.to_vec());
                for child in 0..branch.children() {
                    let Some(link) = branch.child(child) else {
                        continue;
                    };
                    let of_child = KeyRange {
                        above: key(child.checked_sub(1)).or_else(|| range.above.clone()),
                        up_to: key(Some(child)).or_else(|| range.up_to.clone()),
                    };
                    self.node(link, of_child, depth + 1)?;
                }
            }
            None => {}
        }
        Ok(())
    }

    /// The range is already told as lost: children say only which pages and rows are there.
    fn damaged(&mut self, page: &[u8], depth: usize) -> io::Result<()> {
        match Node::read(page, self.widths) {
            Some(Node::Leaf(leaf)) => {
                for row in 0..leaf.rows {
                    let key_alone = || Some((leaf.key(row)?, [].as_slice()));
                    if let Some(row) = leaf.row(row).or_else(key_alone) {
                        self.visitor.doubtful_row(row);
                    }
                }
            }
            Some(Node::Branch(branch)) => {
                for link in (0..branch.children()).filter_map(|child| branch.child(child)) {
                    let loaded = if depth > DEPTH_MAX {
                        Loaded::Missing
                    } else {
                        self.image.load(link, self.widths)?
                    };
                    if let Loaded::Whole(page) | Loaded::Mended(page, _) = loaded {
                        // Whatever else the branch says, this is what was written.
                        self.whole(&page, &KeyRange::default(), depth + 1)?;
                    }
                }
            }
            None => {}
        }
        Ok(())
    }
}

/// The tables of one commit, by tree.
#[derive(Debug, Default)]
pub(super) struct Commit {
    pub(super) user: Vec<TableEntry>,
    pub(super) system: Vec<TableEntry>,
    /// Damaged pages of the trees of tables.
    pub(super) damages: Vec<PageDamage>,
    /// The tree of the tables of ours is not complete.
    pub(super) is_user_lost: bool,
}

/// Reads which tables a commit has.
pub(super) fn tables(image: &Image, slot: Slot) -> io::Result<Commit> {
    let mut commit = Commit::default();
    if let Some(root) = slot.user {
        let mut names = Names::default();
        walk(image, root, TABLE_TREE, &mut names)?;
        commit.user = names.entries;
        commit.is_user_lost = names.is_lost;
        commit.damages.extend(names.damages);
    }
    if let Some(root) = slot.system {
        let mut names = Names::default();
        walk(image, root, TABLE_TREE, &mut names)?;
        commit.system = names.entries;
        commit.damages.extend(names.damages);
    }
    Ok(commit)
}

#[derive(Default)]
struct Names {
    entries: Vec<TableEntry>,
    damages: Vec<PageDamage>,
    is_lost: bool,
}

impl Visitor for Names {
    fn row(&mut self, row: Row<'_>) {
        match TableEntry::read(row) {
            Some(entry) => self.entries.push(entry),
            None => self.is_lost = true,
        }
    }

    /// A definition has the checksum of its root, so a wrong one leads to nothing.
    fn doubtful_row(&mut self, row: Row<'_>) {
        self.entries.extend(TableEntry::read(row));
    }

    fn damage(&mut self, damage: PageDamage) {
        self.damages.push(damage);
    }

    fn lost(&mut self, _range: KeyRange) {
        self.is_lost = true;
    }
}
