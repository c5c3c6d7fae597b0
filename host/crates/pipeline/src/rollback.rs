//! Requests of couriers to go back to an earlier version of a plugin, and the one task that does so.

use std::sync::Arc;
use std::time::Duration;

use domain::{ErrorChain, RuleId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::control::Control;
use crate::track_record::TrackRecord;

/// Requests that wait; a courier that finds no room asks again with its next failure.
pub(crate) const REQUESTS_MAX: usize = 128;

/// A rule's plugin is worse than an earlier version of it. Until it is carried out, the earlier one
/// maps in its place.
#[derive(Debug)]
pub(crate) struct RollbackRequest {
    pub(crate) rule_id: RuleId,
    /// Of the generation that fails: it must still be the present one.
    pub(crate) track: Arc<TrackRecord>,
    /// The version to go back to.
    pub(crate) version: u32,
    /// What happened, for people.
    pub(crate) reason: String,
}

/// Carries out requests until `shutdown`.
pub(crate) async fn serve(
    control: Arc<Control>,
    mut requests: mpsc::Receiver<RollbackRequest>,
    shutdown: CancellationToken,
) {
    let work = async {
        while let Some(request) = requests.recv().await {
            carry_out(&control, &request).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

/// Until it is stored: otherwise a restart would bring the failing version back.
async fn carry_out(control: &Control, request: &RollbackRequest) {
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(10));
    while let Err(error) = control.roll_back_failing(request).await {
        if !error.code.kind().may_pass() {
            // The rule or its plugin was changed meanwhile, so that there is no way back any more: it maps itself again.
            request.track.reinstate();
            tracing::warn!(rule_id = %request.rule_id, error = %ErrorChain(&error), "rule was not rolled back");
            return;
        }
        tracing::error!(rule_id = %request.rule_id, error = %ErrorChain(&error), "rule could not be rolled back, trying again; the earlier version maps meanwhile");
        tokio::time::sleep(backoff.next()).await;
    }
}
