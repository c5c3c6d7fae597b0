//! Which sessions a message goes to: a trie of filter levels.
//!
//! It never takes a session's lock; sessions change it while they hold their own. Depth is bounded by
//! the limit on levels, so recursion is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::message::SubscriptionOptions;
use crate::session::Session;
use crate::topic::Filter;

#[derive(Clone, Debug)]
pub(crate) struct Subscriber {
    pub(crate) session: Arc<Session>,
    pub(crate) options: SubscriptionOptions,
}

/// Whether the wildcards of a node are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wildcards {
    Take,
    Skip,
}

#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Self>,
    /// By session number.
    subscribers: BTreeMap<u64, Subscriber>,
    /// By share group.
    shared: BTreeMap<Box<str>, Vec<Subscriber>>,
}

#[derive(Debug, Default)]
pub(crate) struct Router {
    root: Node,
    /// Whose turn it is in shared subscriptions.
    turn: AtomicUsize,
}

impl Router {
    pub(crate) fn add(&mut self, filter: Filter<'_>, subscriber: Subscriber) {
        let mut node = &mut self.root;
        for level in filter.pattern.split('/') {
            node = node.children.entry(level.into()).or_default();
        }
        let number = subscriber.session.number();
        match filter.share {
            None => {
                node.subscribers.insert(number, subscriber);
            }
            Some(group) => {
                let members = node.shared.entry(group.into()).or_default();
                members.retain(|member| member.session.number() != number);
                members.push(subscriber);
            }
        }
    }

    pub(crate) fn remove(&mut self, filter: Filter<'_>, number: u64) {
        self.root
            .remove(filter.pattern.split('/'), filter.share, number);
    }

    /// Everyone who gets a message on `name`, at most once per matching filter.
    pub(crate) fn matching(&self, name: &str) -> Vec<Subscriber> {
        let levels: Vec<&str> = name.split('/').collect();
        let mut found = Vec::new();
        // Wildcards at the front do not match names that start with `$` [MQTT-4.7.2-1].
        let wildcards = if name.starts_with('$') {
            Wildcards::Skip
        } else {
            Wildcards::Take
        };
        self.root
            .visit(&levels, wildcards, &mut |node| self.take(node, &mut found));
        found
    }

    fn take(&self, node: &Node, found: &mut Vec<Subscriber>) {
        found.extend(node.subscribers.values().cloned());
        for members in node.shared.values() {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            // The first one online from the turn on; nobody online: whose turn it is keeps it.
            let from_turn = || {
                members
                    .iter()
                    .cycle()
                    .skip(turn % members.len().max(1))
                    .take(members.len())
            };
            let chosen = from_turn()
                .find(|member| member.session.is_online())
                .or_else(|| from_turn().next());
            found.extend(chosen.cloned());
        }
    }
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.subscribers.is_empty() && self.shared.is_empty()
    }

    fn remove(&mut self, mut levels: std::str::Split<'_, char>, share: Option<&str>, number: u64) {
        match (levels.next(), share) {
            (Some(level), _) => {
                if let Some(child) = self.children.get_mut(level) {
                    child.remove(levels, share, number);
                    if child.is_empty() {
                        self.children.remove(level);
                    }
                }
            }
            (None, None) => {
                self.subscribers.remove(&number);
            }
            (None, Some(group)) => {
                if let Some(members) = self.shared.get_mut(group) {
                    members.retain(|member| member.session.number() != number);
                    if members.is_empty() {
                        self.shared.remove(group);
                    }
                }
            }
        }
    }

    fn visit<'a>(&'a self, levels: &[&str], wildcards: Wildcards, take: &mut impl FnMut(&'a Self)) {
        if wildcards == Wildcards::Take
            && let Some(rest) = self.children.get("#")
        {
            take(rest);
        }
        let Some((level, deeper)) = levels.split_first() else {
            take(self);
            return;
        };
        if let Some(child) = self.children.get(*level) {
            child.visit(deeper, Wildcards::Take, take);
        }
        if wildcards == Wildcards::Take
            && let Some(child) = self.children.get("+")
        {
            child.visit(deeper, Wildcards::Take, take);
        }
    }
}
