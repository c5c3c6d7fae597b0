//! What is given back comes first, once, in order; the rest as it was.

use std::sync::Arc;

use domain::{ClientId, IncarnationId, Slot};

use super::*;
use crate::courier::rig::{Rig, Setting, client, eventually};

const COUNT: usize = 10;

async fn positions(feed: &Feed, slot: Slot, count_max: usize) -> Vec<u64> {
    let taken = feed.take(slot, count_max).await.unwrap();
    taken.iter().map(|event| event.position.0).collect()
}

/// A feed with ten events of one client in its lane.
async fn rig() -> (Rig, Arc<Feed>, Slot, Vec<u64>) {
    let rig = Rig::new(Setting::default(), &[]);
    let feed = Arc::clone(&rig.context(1, &[]).feed);
    let sequences = (0..COUNT).map(|_| rig.connect(1, &client(1))).collect();
    eventually("they are handed on", || {
        feed.in_memory.load(Ordering::Relaxed) == COUNT
    })
    .await;
    let slot = Slot::of(&ClientId::parse(&client(1)).unwrap());
    (rig, feed, slot, sequences)
}

#[tokio::test]
async fn what_is_given_back_comes_first_and_in_order() {
    for is_restarted in [false, true] {
        let (rig, feed, slot, all) = rig().await;
        if is_restarted {
            // Then the lane is read from disk.
            feed.restart();
        }
        let mut taken = feed.take(slot, 6).await.unwrap();
        let kept = taken.remove(2);
        taken.reverse();
        feed.give_back(slot, taken);
        let rest: Vec<_> = all
            .iter()
            .copied()
            .filter(|it| *it != kept.position.0)
            .collect();
        let mut again = positions(&feed, slot, 3).await;
        while again.len() < rest.len() {
            let more = positions(&feed, slot, 3).await;
            assert!(!more.is_empty(), "{again:?} of {rest:?}");
            again.extend(more);
        }
        assert_eq!(again, rest);
        assert_eq!(positions(&feed, slot, 3).await, [0_u64; 0]);
        rig.end().await;
    }
}

#[tokio::test]
async fn nothing_is_taken_twice_although_it_is_handed_on_twice() {
    let (rig, feed, slot, all) = rig().await;
    let taken = feed.take(slot, COUNT).await.unwrap();
    assert_eq!(taken.len(), all.len());
    for event in &taken {
        feed.push(event);
    }
    assert_eq!(positions(&feed, slot, COUNT).await, [0_u64; 0]);
    rig.end().await;
}

#[tokio::test]
async fn a_full_memory_leaves_the_rest_on_disk() {
    let (rig, feed, slot, all) = rig().await;
    feed.in_memory
        .store(EVENTS_IN_MEMORY_MAX, Ordering::Relaxed);
    let later = rig.connect(1, &client(1));
    let lane = feed.lane(slot).unwrap();
    eventually("it is left on disk", || lane.lock().is_behind).await;
    feed.in_memory.store(all.len(), Ordering::Relaxed);
    let mut taken = positions(&feed, slot, 100).await;
    taken.extend(positions(&feed, slot, 100).await);
    assert_eq!(taken.last(), Some(&later));
    assert_eq!(taken.len(), all.len() + 1);
    rig.end().await;
}

#[tokio::test]
async fn a_removed_feed_is_made_anew() {
    let (rig, feed, ..) = rig().await;
    let feeds = Feeds::default();
    let one = feeds.feed(IncarnationId(1), &feed.outbox);
    feeds.remove(IncarnationId(1));
    assert!(!Arc::ptr_eq(
        &one,
        &feeds.feed(IncarnationId(1), &feed.outbox)
    ));
    rig.end().await;
}
