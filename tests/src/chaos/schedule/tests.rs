use super::{Action, Schedule};

#[test]
fn a_seed_is_a_schedule() {
    for seed in 0..50 {
        let once = Schedule::new(seed).to_string();
        assert_eq!(once, Schedule::new(seed).to_string());
        assert_ne!(once, Schedule::new(seed + 1).to_string());
    }
}

fn is_kill(action: &Action) -> bool {
    matches!(action, Action::Kill | Action::KillAt { .. })
}

#[test]
fn schedules_differ_in_their_troubles() {
    let all: Vec<Schedule> = (0..100).map(Schedule::new).collect();
    let having = |wanted: fn(&Action) -> bool| {
        let has = |schedule: &&Schedule| schedule.actions.iter().any(|(_, it)| wanted(it));
        all.iter().filter(has).count()
    };
    assert!((30..100).contains(&having(is_kill)));
    assert!((30..100).contains(&having(Action::is_network)));
    let harmless = |it: &Action| is_kill(it) || it.is_network();
    assert!((1..60).contains(&(100 - having(harmless))));
    assert_eq!(all.iter().filter(|it| it.is_after_commit).count(), 50);
}
