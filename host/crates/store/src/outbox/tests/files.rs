//! Files that another version wrote, or that are not what was written: never a panic, never silently less.

use std::fs;

use redb::{Database, ReadableTable};

use super::*;
use crate::database::{NUMBERS, OpenedFile, SCHEMA_NUMBER, check_schema};
use crate::outbox::tables::{
    DEAD_LETTER_BYTES, DEAD_LETTER_COUNT, DEAD_LETTER_NEXT, EVENTS, FORGOTTEN, SCHEMA, SLOTS,
};

/// Some numbers that look random and are the same in every run.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

/// A closed file with events of two rules, dead letters and open channels; how many events there are.
fn filled(bench: &Bench) -> u64 {
    let (outbox, _) = bench.open();
    for number in 0..400 {
        let incarnation = if number % 3 == 0 { OTHER } else { RULE };
        let ticket = connect(&outbox, incarnation, &channel(number));
        if number % 2 == 0 {
            leave(&outbox, ticket, &channel(number));
        }
        if number % 100 == 0 {
            wait_committed(&outbox);
        }
    }
    wait_committed(&outbox);
    let bury = |event: &Arc<PendingEvent>| settlement(event, Outcome::Buried(burial("no")));
    let some = pending(&outbox, RULE);
    settle_now(&outbox, some[..20].iter().map(bury).collect());
    outbox.forget(IncarnationId(7), None);
    drop(outbox);
    // The open channels are closed by another start.
    let (outbox, recovered) = bench.open();
    outbox.close();
    recovered.pending_events
}

fn all_pending(outbox: &Outbox) -> Result<usize, TakeEventsError> {
    let mut count = 0;
    for incarnation in [RULE, OTHER] {
        for slot in Slot::all() {
            count += outbox
                .take(incarnation, slot, Sequence(0), usize::MAX)?
                .len();
        }
    }
    Ok(count)
}

#[test]
fn a_file_of_schema_1_is_brought_to_this_one() {
    let bench = Bench::new();
    let events = filled(&bench);
    let (before, letters) = {
        let (outbox, _) = bench.open();
        (outbox.all_counts(), outbox.stats().dead_letters)
    };
    let database = Database::create(&bench.config.path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.delete_table(SLOTS).unwrap();
    transaction.delete_table(FORGOTTEN).unwrap();
    {
        let mut numbers = transaction.open_table(NUMBERS).unwrap();
        for name in [DEAD_LETTER_NEXT, DEAD_LETTER_COUNT, DEAD_LETTER_BYTES] {
            numbers.remove(name).unwrap();
        }
        numbers.insert(SCHEMA_NUMBER, 1).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let (outbox, recovered) = bench.open();
        assert_eq!(recovered.pending_events, events);
        assert_eq!(outbox.all_counts().incarnations, before.incarnations);
        assert_eq!(outbox.stats().dead_letters, letters);
        assert_eq!(all_letters(&outbox).len(), 20);
        assert_eq!(
            u64::try_from(all_pending(&outbox).unwrap()).unwrap(),
            events
        );
    }
    let database = Database::create(&bench.config.path).unwrap();
    let table = database.begin_write().unwrap();
    let numbers = table.open_table(NUMBERS).unwrap();
    assert_eq!(numbers.get(SCHEMA_NUMBER).unwrap().unwrap().value(), SCHEMA);
    assert_eq!(numbers.get(DEAD_LETTER_NEXT).unwrap().unwrap().value(), 20);
}

#[test]
fn an_empty_file_is_not_taken_for_a_new_one() {
    let bench = Bench::new();
    fs::write(&bench.config.path, []).unwrap();
    let error = try_open(&bench, None).err().unwrap();
    assert!(error.to_string().contains("it has no bytes"), "{error}");
    assert!(
        error
            .to_string()
            .contains("rulemill outbox check --data-dir /"),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("rulemill outbox repair --data-dir /"),
        "{error}"
    );
}

/// Opens with the usual checks, or as a file is opened that is too large for them.
fn try_open(bench: &Bench, open: Option<OpenFile>) -> Result<Arc<Outbox>, OpenStoreError> {
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&bench.clock);
    let config = bench.config.clone();
    let opened = match open {
        Some(open) => Outbox::open_file(config, clock, bench.listener(), open),
        None => Outbox::open(config, clock, bench.listener()),
    };
    opened.map(|(outbox, _)| outbox)
}

fn unverified() -> OpenFile {
    Box::new(|path| {
        let opened = std::panic::catch_unwind(|| {
            let database =
                Database::create(path).map_err(|error| OpenStoreError::of(path, error))?;
            check_schema(&database, path, SCHEMA)?;
            Ok(OpenedFile {
                database,
                repaired: false,
            })
        });
        opened.unwrap_or_else(|_| {
            Err(OpenStoreError::Damaged {
                path: path.to_owned(),
                detail: "its pages are inconsistent".to_owned(),
            })
        })
    })
}

#[test]
fn a_file_that_was_cut_opens_whole_or_not_at_all() {
    let bench = Bench::new();
    let events = filled(&bench);
    let whole = fs::read(&bench.config.path).unwrap();
    let length = u64::try_from(whole.len()).unwrap();
    let mut refused = 0;
    for number in numbers(0x5eed).take(30) {
        let cut = usize::try_from(number % length).unwrap();
        fs::write(&bench.config.path, &whole[..cut]).unwrap();
        match try_open(&bench, None) {
            Err(error) => {
                assert!(
                    matches!(error, OpenStoreError::Damaged { .. }),
                    "{cut}: {error}"
                );
                refused += 1;
            }
            Ok(outbox) => {
                let found = u64::try_from(all_pending(&outbox).unwrap()).unwrap();
                assert_eq!(found, events, "cut at {cut}");
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn flipped_bits_are_found_or_change_nothing() {
    let bench = Bench::new();
    let events = filled(&bench);
    let whole = fs::read(&bench.config.path).unwrap();
    let length = u64::try_from(whole.len()).unwrap();
    let mut refused = 0;
    for number in numbers(0xb17).take(30) {
        let place = usize::try_from((number >> 3) % length).unwrap();
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << (number % 8);
        fs::write(&bench.config.path, &damaged).unwrap();
        match try_open(&bench, None) {
            Err(error) => {
                assert!(
                    matches!(error, OpenStoreError::Damaged { .. }),
                    "{place}: {error}"
                );
                refused += 1;
            }
            Ok(outbox) => {
                let found = u64::try_from(all_pending(&outbox).unwrap()).unwrap();
                assert_eq!(found, events, "flipped at {place}");
            }
        }
    }
    assert!(refused > 0, "{refused}");
}

/// As in a file that is too large to be verified at every start.
#[test]
fn flipped_bits_met_while_running_are_errors_or_counted() {
    let bench = Bench::new();
    let events = filled(&bench);
    let whole = fs::read(&bench.config.path).unwrap();
    let length = u64::try_from(whole.len()).unwrap();
    let mut found_damage = 0;
    for number in numbers(0xf11b).take(60) {
        let place = usize::try_from((number >> 3) % length).unwrap();
        let mut damaged = whole.clone();
        damaged[place] ^= 1 << (number % 8);
        fs::write(&bench.config.path, &damaged).unwrap();
        let Ok(outbox) = try_open(&bench, Some(unverified())) else {
            found_damage += 1;
            continue;
        };
        let taken = all_pending(&outbox);
        let stats = outbox.stats();
        match taken {
            Err(_) => found_damage += 1,
            Ok(taken) => {
                let counted = u64::try_from(taken).unwrap() + stats.damaged_events;
                // Never silently less; a damaged branch may show a row to one reader only.
                assert!(counted >= events, "flipped at {place}: {stats:?}");
                found_damage += stats.damaged_events.min(1);
            }
        }
        // It goes on: connects are taken or refused, and it closes.
        if outbox.reserve(Some(RULE)).is_ok() {
            outbox.append_opened(Some(RULE), &channel(1));
        }
        outbox.close();
    }
    assert!(found_damage > 5, "{found_damage}");
}

#[test]
fn slots_that_do_not_fit_the_tally_are_counted_anew() {
    let bench = Bench::new();
    let events = filled(&bench);
    let database = Database::create(&bench.config.path).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let mut slots = transaction.open_table(SLOTS).unwrap();
        let first = slots.iter().unwrap().next().unwrap().unwrap().0.value();
        slots.insert(first, (1_000_000, 1, 0)).unwrap();
        let second = slots.iter().unwrap().nth(1).unwrap().unwrap().0.value();
        slots.remove(second).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let (outbox, recovered) = bench.open();
    assert_eq!(recovered.pending_events, events);
    assert_eq!(outbox.stats().damaged_events, 0);
    let counts = outbox.counts(RULE);
    assert_eq!(counts.recorded, counts.pending + counts.buried);
}

#[test]
fn events_that_vanished_count_as_discarded_and_damaged() {
    let bench = Bench::new();
    filled(&bench);
    let before = bench.open().0.counts(RULE);
    let database = Database::create(&bench.config.path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(EVENTS).unwrap().pop_first().unwrap();
    transaction.commit().unwrap();
    drop(database);
    for (start, damaged) in [(1, 1), (2, 0)] {
        let (outbox, _) = bench.open();
        let after = outbox.counts(RULE);
        assert_eq!(after.recorded, before.recorded, "start {start}");
        assert_eq!(after.discarded, before.discarded + 1);
        assert_eq!(after.pending, before.pending - 1);
        assert_eq!(outbox.stats().damaged_events, damaged);
    }
}
