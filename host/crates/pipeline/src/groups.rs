//! The groups that are known, in memory, so that a CONNECT never waits for the store.

use std::collections::HashMap;

use domain::GroupId;
use parking_lot::RwLock;
use tokio::sync::mpsc;

/// Newly seen groups that wait to be stored; when full, a group is simply seen again later.
const NEW_GROUPS_MAX: usize = 1024;
/// All groups together: a client could otherwise fill the memory with made-up group ids.
const GROUPS_MAX: usize = 100_000;

/// Whether a client of a group may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It may.
    Present,
    /// An operator deleted the group: refused until it is created again.
    Deleted,
}

/// The known groups.
#[derive(Debug)]
pub(crate) struct Groups {
    known: RwLock<HashMap<GroupId, Standing>>,
    is_auto_create: bool,
    new: mpsc::Sender<GroupId>,
}

impl Groups {
    /// Also returns the groups that appear from now on, to be stored.
    pub(crate) fn new(
        present: impl Iterator<Item = GroupId>,
        deleted: impl Iterator<Item = GroupId>,
        is_auto_create: bool,
    ) -> (Self, mpsc::Receiver<GroupId>) {
        let (new, receiver) = mpsc::channel(NEW_GROUPS_MAX);
        let known = present
            .map(|group| (group, Standing::Present))
            .chain(deleted.map(|group| (group, Standing::Deleted)))
            .collect();
        (
            Self {
                known: RwLock::new(known),
                is_auto_create,
                new,
            },
            receiver,
        )
    }

    /// Whether a client of `group` may connect; makes the group if that is allowed.
    pub(crate) fn admits(&self, group: &GroupId) -> bool {
        match self.known.read().get(group) {
            Some(Standing::Present) => return true,
            Some(Standing::Deleted) => return false,
            None if !self.is_auto_create => return false,
            None => {}
        }
        let mut known = self.known.write();
        if known.len() < GROUPS_MAX && self.new.try_send(group.clone()).is_ok() {
            known.insert(group.clone(), Standing::Present);
        }
        true
    }

    pub(crate) fn contains(&self, group: &GroupId) -> bool {
        self.known.read().get(group) == Some(&Standing::Present)
    }

    pub(crate) fn is_deleted(&self, group: &GroupId) -> bool {
        self.known.read().get(group) == Some(&Standing::Deleted)
    }

    pub(crate) fn is_auto_create(&self) -> bool {
        self.is_auto_create
    }

    pub(crate) fn put(&self, group: GroupId) {
        self.known.write().insert(group, Standing::Present);
    }

    pub(crate) fn delete(&self, group: GroupId) {
        self.known.write().insert(group, Standing::Deleted);
    }
}

#[cfg(test)]
mod tests {
    use super::Groups;
    use domain::GroupId;

    fn group(name: &str) -> GroupId {
        GroupId::parse(name).unwrap()
    }

    #[test]
    fn an_unknown_group_appears_by_itself_only_where_that_is_allowed() {
        let none = std::iter::empty;
        let (open, mut new) = Groups::new(none(), none(), true);
        assert!(open.admits(&group("GID_new")));
        assert_eq!(new.try_recv().unwrap(), group("GID_new"));
        let (closed, _new) = Groups::new(none(), none(), false);
        assert!(!closed.admits(&group("GID_new")));
    }

    #[test]
    fn a_deleted_group_is_refused_until_it_is_created_again() {
        let (groups, _new) = Groups::new([group("GID_old")].into_iter(), std::iter::empty(), true);
        groups.delete(group("GID_old"));
        assert!(!groups.admits(&group("GID_old")));
        groups.put(group("GID_old"));
        assert!(groups.admits(&group("GID_old")));
    }
}
