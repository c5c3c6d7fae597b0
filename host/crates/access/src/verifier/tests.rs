use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};

use domain::RefuseAccessError;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use super::PasswordVerifier;
use crate::PasswordHash;
use crate::success_cache::SuccessCache;

/// One blocking thread, so that a test can hold it.
fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .unwrap()
}

fn verifier(runtime: &Runtime, waiting_max: usize) -> PasswordVerifier {
    PasswordVerifier::new(
        runtime.handle().clone(),
        SuccessCache::new(Instant::now()).unwrap(),
        NonZeroUsize::MIN,
        waiting_max,
    )
}

fn hash(password: &str) -> Arc<PasswordHash> {
    Arc::new(PasswordHash::of(password.as_bytes()).unwrap())
}

#[test]
fn a_right_password_is_hashed_once_and_a_wrong_one_always() {
    let runtime = runtime();
    let verifier = verifier(&runtime, 8);
    let hash = hash("secret");
    runtime.block_on(async {
        for _ in 0..100 {
            let is_right = verifier.verify("ann", b"secret", Arc::clone(&hash));
            assert_eq!(is_right.await, Ok(true));
        }
        assert_eq!((verifier.hashed(), verifier.remembered()), (1, 99));
        for _ in 0..3 {
            let is_right = verifier.verify("ann", b"Secret", Arc::clone(&hash));
            assert_eq!(is_right.await, Ok(false));
        }
        assert_eq!((verifier.hashed(), verifier.remembered()), (4, 99));
    });
}

#[test]
fn what_is_remembered_holds_for_that_user_that_password_and_that_hash() {
    let runtime = runtime();
    let verifier = verifier(&runtime, 8);
    let (old, new) = (hash("secret"), hash("changed"));
    runtime.block_on(async {
        let is_right = verifier.verify("ann", b"secret", Arc::clone(&old)).await;
        assert_eq!(is_right, Ok(true));
        // The password was changed: what was right is wrong now.
        let is_right = verifier.verify("ann", b"secret", Arc::clone(&new)).await;
        assert_eq!(is_right, Ok(false));
        // Parts do not flow into each other.
        let is_right = verifier.verify("anns", b"ecret", Arc::clone(&old)).await;
        assert_eq!(is_right, Ok(false));
        assert_eq!((verifier.hashed(), verifier.remembered()), (3, 0));
    });
}

#[test]
fn beyond_those_that_wait_everyone_is_refused_at_once() {
    let runtime = runtime();
    let verifier = verifier(&runtime, 2);
    let hash = hash("secret");
    let (release, held) = mpsc::channel::<()>();
    let holder = runtime.spawn_blocking(move || held.recv());
    let mut context = Context::from_waker(Waker::noop());
    // One runs (its thread is held), two wait.
    let mut under_way: Vec<_> = (0..3)
        .map(|_| Box::pin(verifier.verify("ann", b"secret", Arc::clone(&hash))))
        .collect();
    for one in &mut under_way {
        assert_eq!(one.as_mut().poll(&mut context), Poll::Pending);
    }
    assert_eq!(verifier.pending(), 3);
    let mut refused = Box::pin(verifier.verify("ann", b"secret", Arc::clone(&hash)));
    assert_eq!(
        refused.as_mut().poll(&mut context),
        Poll::Ready(Err(RefuseAccessError::Throttled))
    );
    release.send(()).unwrap();
    runtime.block_on(async {
        holder.await.unwrap().unwrap();
        for one in under_way {
            assert_eq!(one.await, Ok(true));
        }
        // Those that waited learnt from the first.
        assert_eq!((verifier.hashed(), verifier.remembered()), (1, 2));
        assert_eq!(verifier.pending(), 0);
        let again = verifier.verify("ann", b"secret", Arc::clone(&hash));
        assert_eq!(again.await, Ok(true));
    });
}

#[test]
fn who_goes_away_keeps_its_place_until_the_hash_is_done() {
    let runtime = runtime();
    let verifier = verifier(&runtime, 0);
    let hash = hash("secret");
    let (release, held) = mpsc::channel::<()>();
    let holder = runtime.spawn_blocking(move || held.recv());
    let mut context = Context::from_waker(Waker::noop());
    let mut gone = Box::pin(verifier.verify("ann", b"secret", Arc::clone(&hash)));
    assert_eq!(gone.as_mut().poll(&mut context), Poll::Pending);
    drop(gone);
    let next = verifier.verify("ann", b"secret", Arc::clone(&hash));
    let refused = runtime.block_on(next);
    assert_eq!(refused, Err(RefuseAccessError::Throttled));
    assert_eq!(verifier.pending(), 1);
    release.send(()).unwrap();
    runtime.block_on(async {
        holder.await.unwrap().unwrap();
        // The one thread does its jobs in order.
        runtime.spawn_blocking(|| ()).await.unwrap();
        assert_eq!(verifier.pending(), 0);
    });
}
