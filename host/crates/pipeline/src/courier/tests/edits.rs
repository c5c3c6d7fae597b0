//! Several incarnations of a rule: the earlier one's events first, per client.

use domain::IncarnationId;

use crate::courier::rig::instance::queue;
use crate::courier::rig::plugin::{RETRIES, client_of_length};
use crate::courier::rig::{Rig, Setting, client, eventually};

#[tokio::test]
async fn events_of_a_client_keep_their_order_across_an_edit() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0), queue("a", 1)]);
    let channels: Vec<_> = (0..50).map(|number| rig.open(1, &client(number))).collect();
    // The edit: clients that come again are closed for the old incarnation and opened for the new.
    rig.start(2, &[1]);
    for (number, channel) in channels.iter().enumerate() {
        rig.close(channel);
        rig.connect(2, &client(number));
    }
    rig.committed().await;
    eventually("the new courier runs", || rig.slot_map(2).len() == 256).await;
    assert!(
        rig.fake.firsts().is_empty(),
        "all of them wait for older events"
    );
    rig.start(1, &[]);
    rig.drained(1).await;
    rig.drained(2).await;
    rig.assert_in_order();
    rig.end().await;
}

#[tokio::test]
async fn a_waiting_client_holds_up_its_own_slot_only() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    rig.start(1, &[]);
    rig.connect(1, &client_of_length("parked", RETRIES));
    rig.committed().await;
    rig.start(2, &[1]);
    let parked = domain::ClientId::parse(&client_of_length("parked", RETRIES)).unwrap();
    let slot = domain::Slot::of(&parked);
    let (mut held, mut free) = (Vec::new(), Vec::new());
    for number in 0..2000 {
        let id = domain::ClientId::parse(&client(number)).unwrap();
        let sequence = rig.connect(2, &client(number));
        match domain::Slot::of(&id) == slot {
            true => held.push(sequence),
            false => free.push(sequence),
        }
    }
    assert!(!held.is_empty());
    rig.committed().await;
    let wanted = u64::try_from(held.len()).unwrap();
    eventually("all others are stored", || rig.pending(2) == wanted).await;
    assert_eq!(rig.fake.firsts().len(), free.len());
    rig.outbox.discard(IncarnationId(1));
    rig.drained(2).await;
    rig.end().await;
}

#[tokio::test]
async fn what_is_older_than_the_waiting_event_may_go() {
    let rig = Rig::new(Setting::default(), &[queue("a", 0)]);
    let first = rig.connect(2, &client(1));
    rig.connect(1, &client(1));
    let last = rig.connect(2, &client(1));
    rig.committed().await;
    rig.start(2, &[1]);
    eventually("the first is stored", || rig.fake.firsts() == [first]).await;
    rig.start(1, &[]);
    rig.drained(2).await;
    assert_eq!(rig.fake.firsts().last(), Some(&last));
    rig.end().await;
}
