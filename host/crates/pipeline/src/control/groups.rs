//! Groups: they appear by themselves, and can be made and deleted.

use domain::GroupId;
use store::GroupRecord;

use super::{Control, ControlCode, ControlError, GroupView};

impl Control {
    /// The groups that clients may connect with, sorted.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupView> {
        let mut groups: Vec<_> = match self.meta.groups() {
            Ok(records) => records
                .into_iter()
                .filter(|record| !record.is_deleted)
                .map(|record| GroupView {
                    group_id: record.group_id,
                    created_at_ms: record.created_at_ms,
                })
                .collect(),
            Err(error) => {
                tracing::error!(error = %domain::ErrorChain(&error), "groups cannot be read");
                Vec::new()
            }
        };
        groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        groups
    }

    /// Makes a group; also one that was deleted.
    ///
    /// # Errors
    ///
    /// When it exists, or the store failed.
    pub async fn create_group(&self, group_id: GroupId) -> Result<GroupView, ControlError> {
        let _change = self.change.lock().await;
        if self.known_groups.contains(&group_id) {
            let message =
                format!("there is a group {group_id} already; use it, or choose another id");
            return Err(ControlError::new(ControlCode::GroupExists, message));
        }
        let view = GroupView {
            group_id: group_id.clone(),
            created_at_ms: self.clock.now_ms(),
        };
        self.put_group(group_id.clone(), false).await?;
        self.known_groups.put(group_id);
        Ok(view)
    }

    /// Deletes a group. Its present clients stay; a client that connects is refused until the
    /// group is created again.
    ///
    /// # Errors
    ///
    /// When there is no such group, a rule names it, or the store failed.
    pub async fn delete_group(&self, group_id: &GroupId) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        if !self.known_groups.contains(group_id) {
            let message = format!("there is no group {group_id}; see `rulemill group list`");
            return Err(ControlError::new(ControlCode::GroupNotFound, message));
        }
        if let Some(rule) = self.intent.load().rule_of_group(group_id) {
            let message = format!(
                "rule {} names group {group_id}; delete the rule first",
                rule.draft.rule_id
            );
            return Err(ControlError::new(ControlCode::GroupInUse, message));
        }
        self.put_group(group_id.clone(), true).await?;
        self.known_groups.delete(group_id.clone());
        Ok(())
    }

    /// Stores a group that appeared by itself.
    pub(crate) async fn store_new_group(&self, group_id: GroupId) -> Result<(), ControlError> {
        let _change = self.change.lock().await;
        if self.known_groups.contains(&group_id) {
            self.put_group(group_id, false).await?;
        }
        Ok(())
    }

    /// A rule may name a group that exists, or one that may appear by itself.
    pub(super) fn check_group(&self, group_id: &GroupId) -> Result<(), ControlError> {
        if self.known_groups.contains(group_id)
            || (self.known_groups.is_auto_create() && !self.known_groups.is_deleted(group_id))
        {
            return Ok(());
        }
        let message = format!(
            "there is no group {group_id}; create it with `rulemill group create {group_id}`"
        );
        Err(ControlError::new(ControlCode::UnknownGroup, message))
    }

    async fn put_group(&self, group_id: GroupId, is_deleted: bool) -> Result<(), ControlError> {
        let created_at_ms = self.clock.now_ms();
        self.write(move |tx| {
            tx.put_group(&GroupRecord {
                group_id,
                created_at_ms,
                is_deleted,
            })
        })
        .await
    }
}
