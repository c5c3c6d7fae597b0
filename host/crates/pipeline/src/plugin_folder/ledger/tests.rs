use std::time::Duration;

use tokio::time::Instant;

use super::{Ended, Ledger, Looked, RETRY_AFTER, Ready, SETTLE, UNFINISHED_AFTER};
use crate::control_error::{ControlCode, ControlError};
use crate::plugin_folder::FolderOutcome;
use crate::plugin_folder::glance::{Kind, Sighting, Stamp};

const BYTES_MAX: u64 = 1000;

/// A ledger and a time that tests move.
struct Story {
    ledger: Ledger,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        Self {
            ledger: Ledger::new(BYTES_MAX),
            now: Instant::now(),
        }
    }

    fn look(&mut self, seen: &[(&str, Kind)]) -> Looked {
        let seen = seen.iter().map(|(name, kind)| Sighting {
            name: (*name).to_owned(),
            kind: *kind,
        });
        self.ledger.look(seen.collect(), false, self.now)
    }

    fn look_after(&mut self, time: Duration, seen: &[(&str, Kind)]) -> Looked {
        self.now += time;
        self.look(seen)
    }

    fn ended(&mut self, ready: &Ready, ended: Ended) -> Option<FolderOutcome> {
        let finding = self.ledger.ended(ready, ended, self.now);
        finding.map(|finding| finding.outcome)
    }
}

fn file(size: u64, modified: i64) -> Kind {
    Kind::File(Stamp::made_up(size, modified))
}

fn names(looked: &Looked) -> Vec<&str> {
    looked.ready.iter().map(|it| it.file.as_str()).collect()
}

fn outcomes(looked: &Looked) -> Vec<FolderOutcome> {
    looked.told.iter().map(|it| it.outcome).collect()
}

fn new_version() -> Ended {
    Ended::Pushed {
        version: 1,
        is_new: true,
    }
}

fn refused(code: ControlCode) -> Ended {
    Ended::Refused(ControlError::new(code, "why"))
}

#[test]
fn a_file_is_read_once_it_is_still_and_not_again_until_it_changes() {
    let mut story = Story::new();
    let seen = [("a.wasm", file(1, 1))];
    assert!(story.look(&seen).ready.is_empty());
    let just_before = SETTLE - Duration::from_millis(1);
    assert!(story.look_after(just_before, &seen).ready.is_empty());
    let looked = story.look_after(Duration::from_millis(1), &seen);
    assert_eq!(names(&looked), ["a.wasm"]);
    assert_eq!(looked.ready[0].plugin.as_str(), "a");
    assert_eq!(
        story.ended(&looked.ready[0], new_version()),
        Some(FolderOutcome::NewVersion)
    );
    assert!(story.look_after(SETTLE * 100, &seen).ready.is_empty());
    let changed = [("a.wasm", file(1, 2))];
    assert!(story.look(&changed).ready.is_empty());
    assert_eq!(names(&story.look_after(SETTLE, &changed)), ["a.wasm"]);
}

#[test]
fn a_file_that_is_still_written_to_waits_and_is_told_after_a_while() {
    let mut story = Story::new();
    let step = Duration::from_millis(500);
    let mut told = Vec::new();
    for size in 0..100 {
        let looked = story.look_after(step, &[("a.wasm", file(size, 1))]);
        assert!(looked.ready.is_empty());
        told.extend(outcomes(&looked).into_iter().map(|it| (size, it)));
    }
    let first = u64::try_from(UNFINISHED_AFTER.as_millis() / step.as_millis()).unwrap();
    assert_eq!(told, [(first, FolderOutcome::Unfinished)]);
    let finished = [("a.wasm", file(99, 1))];
    let looked = story.look_after(SETTLE, &finished);
    assert_eq!(names(&looked), ["a.wasm"]);
    story.ended(&looked.ready[0], new_version());
    assert_eq!(story.ledger.told().count(), 1);
}

#[test]
fn a_rejected_file_is_told_once_and_tried_again_only_when_it_changes() {
    let mut story = Story::new();
    let seen = [("a.wasm", file(1, 1))];
    story.look(&seen);
    let looked = story.look_after(SETTLE, &seen);
    let rejected = || refused(ControlCode::NotAComponent);
    assert_eq!(
        story.ended(&looked.ready[0], rejected()),
        Some(FolderOutcome::Rejected)
    );
    assert!(story.look_after(RETRY_AFTER * 100, &seen).ready.is_empty());
    let changed = [("a.wasm", file(2, 2))];
    story.look(&changed);
    let looked = story.look_after(SETTLE, &changed);
    // It is another file, so the same answer is news.
    assert_eq!(
        story.ended(&looked.ready[0], rejected()),
        Some(FolderOutcome::Rejected)
    );
}

#[test]
fn what_is_not_the_file_s_fault_is_tried_again_by_itself_and_told_once() {
    for ended in [
        || refused(ControlCode::StoreFailed),
        || refused(ControlCode::HostBusy),
        || Ended::Unreadable("no permission".to_owned()),
    ] {
        let mut story = Story::new();
        let seen = [("a.wasm", file(1, 1))];
        story.look(&seen);
        let looked = story.look_after(SETTLE, &seen);
        assert!(story.ended(&looked.ready[0], ended()).is_some());
        assert!(story.look_after(SETTLE, &seen).ready.is_empty());
        let looked = story.look_after(RETRY_AFTER, &seen);
        assert_eq!(names(&looked), ["a.wasm"]);
        assert_eq!(story.ended(&looked.ready[0], ended()), None);
        assert!(story.look(&seen).ready.is_empty());
    }
}

#[test]
fn what_is_no_component_is_named_once_while_it_is_there() {
    let mut story = Story::new();
    let seen = [
        (".a.wasm", file(1, 1)),
        ("a.wasm.tmp", file(1, 1)),
        ("README.md", file(1, 1)),
        ("My_Plugin.wasm", file(1, 1)),
        (".wasm", file(1, 1)),
        ("large.wasm", file(BYTES_MAX + 1, 1)),
        ("link.wasm", Kind::Symlink),
        ("pipe.wasm", Kind::Other),
        ("sub", Kind::Folder),
    ];
    let looked = story.look(&seen);
    assert_eq!(
        outcomes(&looked),
        [
            FolderOutcome::Temporary,
            FolderOutcome::Temporary,
            FolderOutcome::WrongName,
            FolderOutcome::WrongName,
            FolderOutcome::Temporary,
            FolderOutcome::TooLarge,
            FolderOutcome::Symlink,
            FolderOutcome::NotAFile,
            FolderOutcome::SubFolder,
        ]
    );
    assert!(looked.told[3].detail.contains("my-plugin.wasm"));
    let again = story.look_after(SETTLE, &seen);
    assert!(again.told.is_empty() && again.ready.is_empty());
    // Gone and come again is news.
    assert!(story.look(&[]).told.is_empty());
    assert_eq!(story.look(&seen).told.len(), seen.len());
}

#[test]
fn the_largest_component_is_read_and_a_large_one_that_shrinks_too() {
    let mut story = Story::new();
    let large = [("a.wasm", file(BYTES_MAX + 1, 1))];
    assert_eq!(outcomes(&story.look(&large)), [FolderOutcome::TooLarge]);
    let right = [("a.wasm", file(BYTES_MAX, 2))];
    story.look(&right);
    assert_eq!(names(&story.look_after(SETTLE, &right)), ["a.wasm"]);
}

#[test]
fn a_file_that_vanishes_before_it_is_read_is_told_and_a_known_one_is_not() {
    let mut story = Story::new();
    let seen = [("a.wasm", file(1, 1)), ("b.wasm", file(1, 1))];
    story.look(&seen);
    assert_eq!(outcomes(&story.look(&seen[..1])), [FolderOutcome::Vanished]);
    let looked = story.look_after(SETTLE, &seen[..1]);
    story.ended(&looked.ready[0], new_version());
    assert!(story.look(&[]).told.is_empty());
    assert_eq!(story.ledger.len(), 0);
}

#[test]
fn one_that_vanishes_or_changes_while_it_is_read_is_looked_at_anew() {
    let mut story = Story::new();
    let seen = [("a.wasm", file(1, 1))];
    story.look(&seen);
    let looked = story.look_after(SETTLE, &seen);
    assert_eq!(story.ended(&looked.ready[0], Ended::Changed), None);
    let looked = story.look(&seen);
    assert_eq!(names(&looked), ["a.wasm"]);
    assert_eq!(
        story.ended(&looked.ready[0], Ended::Vanished),
        Some(FolderOutcome::Vanished)
    );
    assert!(story.look(&seen).ready.is_empty());
}

#[test]
fn all_files_of_one_look_are_read_in_the_order_of_the_look() {
    let mut story = Story::new();
    let names_in: Vec<String> = (0..300)
        .map(|number| format!("p{number:03}.wasm"))
        .collect();
    let seen: Vec<(&str, Kind)> = names_in
        .iter()
        .map(|it| (it.as_str(), file(1, 1)))
        .collect();
    story.look(&seen);
    let looked = story.look_after(SETTLE, &seen);
    assert_eq!(names(&looked), names_in);
}

#[test]
fn too_many_entries_are_told_once_until_there_are_fewer() {
    let mut ledger = Ledger::new(BYTES_MAX);
    let now = Instant::now();
    let told = |ledger: &mut Ledger, is_cut| outcomes(&ledger.look(Vec::new(), is_cut, now));
    assert_eq!(told(&mut ledger, true), [FolderOutcome::TooMany]);
    assert_eq!(told(&mut ledger, true), []);
    assert_eq!(told(&mut ledger, false), []);
    assert_eq!(told(&mut ledger, true), [FolderOutcome::TooMany]);
}
