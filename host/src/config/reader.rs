//! Takes typed values out of the tree and keeps every problem, so that all are shown at once.

use std::cell::RefCell;

use super::Problem;
use super::tree::{Entry, Leaf, Node, Origin, Table};

/// What being in the same section is worth in nearness.
const SAME_SECTION: f64 = 0.1;

/// What reading leaves behind. Shared by all sections of one configuration.
#[derive(Default)]
pub(super) struct Findings {
    problems: RefCell<Vec<Problem>>,
    /// Full names of all keys that were asked for.
    known: RefCell<Vec<String>>,
    unknown: RefCell<Vec<(Origin, String, bool)>>,
}

impl Findings {
    pub(super) fn problem(&self, text: String) {
        self.problems.borrow_mut().push(Problem::new(text));
    }

    /// All problems, unknown names with the nearest known one.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let known = self.known.into_inner();
        for (origin, name, is_section) in self.unknown.into_inner() {
            let what = if is_section { "section" } else { "key" };
            let hint = match nearest(&name, &known) {
                Some(near) => {
                    format!("did you mean {near}? `rulemill config print` lists all keys")
                }
                None => "`rulemill config print` lists all keys".to_owned(),
            };
            problems.push(Problem::new(format!(
                "{origin}: unknown {what} {name}; {hint}"
            )));
        }
        problems
    }
}

/// The known name most like `name`: one with the same last part first (right key, wrong section).
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    let section = |text: &str| text.rsplit_once('.').map(|(section, _)| section.to_owned());
    let score = |candidate: &str| {
        let same_section = if section(candidate) == section(name) {
            SAME_SECTION
        } else {
            0.0
        };
        let (theirs, ours) = (last(candidate), last(name));
        // The one forgives a wrong end, the other swapped letters; neither alone is a good judge.
        let likeness = f64::midpoint(
            strsim::jaro_winkler(&theirs, &ours),
            strsim::normalized_damerau_levenshtein(&theirs, &ours),
        );
        likeness + same_section
    };
    known
        .iter()
        .map(|candidate| (score(candidate), candidate))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate.as_str())
}

/// One table of the configuration. Whatever was not taken when it is finished is unknown.
pub(super) struct Section<'a> {
    path: String,
    entries: Table,
    findings: &'a Findings,
}

impl<'a> Section<'a> {
    pub(super) fn root(entries: Table, findings: &'a Findings) -> Self {
        Self {
            path: String::new(),
            entries,
            findings,
        }
    }

    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    pub(super) fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// The keys that are left.
    pub(super) fn keys(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    /// The table under `key`; an empty one if there is none.
    pub(super) fn section(&mut self, key: &str) -> Self {
        let path = self.name(key);
        self.findings.known.borrow_mut().push(path.clone());
        let entries = match self.entries.remove(key) {
            None => Table::new(),
            Some(Entry {
                node: Node::Table(table),
                ..
            }) => table,
            Some(Entry { origin, .. }) => {
                self.findings
                    .problem(format!("{origin}: {path} must be a section"));
                Table::new()
            }
        };
        Self {
            path,
            entries,
            findings: self.findings,
        }
    }

    /// The value of `key` and its place, if it is set and `parse` accepts it.
    pub(super) fn optional<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&Leaf) -> Result<T, String>,
    ) -> Option<T> {
        let name = self.name(key);
        self.findings.known.borrow_mut().push(name.clone());
        let Entry { node, origin } = self.entries.remove(key)?;
        let result = match node {
            Node::Leaf(leaf) => parse(&leaf),
            Node::Table(_) => Err("must be a value, not a section".to_owned()),
        };
        result
            .map_err(|problem| self.findings.problem(format!("{origin}: {name} {problem}")))
            .ok()
    }

    /// The value of `key`, or `default` if it is not set.
    pub(super) fn value<T>(
        &mut self,
        key: &str,
        default: T,
        parse: impl FnOnce(&Leaf) -> Result<T, String>,
    ) -> T {
        self.optional(key, parse).unwrap_or(default)
    }

    /// Whether `key` is set.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Everything not taken is unknown.
    pub(super) fn finish(self) {
        for (key, entry) in &self.entries {
            let is_section = matches!(entry.node, Node::Table(_));
            self.findings.unknown.borrow_mut().push((
                entry.origin.clone(),
                self.name(key),
                is_section,
            ));
        }
    }
}
