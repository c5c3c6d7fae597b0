//! `/v1/apply`, `/v1/export` and `/v1/components`: a whole configuration at once.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use domain::{AnyRuleDraft, GroupId, PluginDigest, PluginName};
use pipeline::control::{
    ApplyError, ApplyPlan, ApplyScope, ControlCode, Declaration, DeclaredRule, PlannedChange,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api_error::ApiError;
use crate::component::read_component;
use crate::difference::{self, Difference};
use crate::extract::{By, Query, parse_json, read_body};
use crate::groups::parse_group_id;
use crate::guard::{ChangedThings, NothingChanged};
use crate::openapi::words;
use crate::rule_in::{RuleIn, rule_from_value};
use crate::rule_out::RuleBody;
use crate::server::Served;

/// 100,000 groups and some hundred rules with large configurations.
const APPLY_BYTES_MAX: usize = 16 << 20;
/// Groups of one apply that the audit log names; of more it has the number.
const NOTED_GROUPS_MAX: usize = 100;

/// What is to be true.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = ConfigurationRequest)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each with a name of its own"
)]
pub(crate) struct ApplyIn {
    /// Created if they are not there; never deleted.
    #[serde(default)]
    groups: Vec<GroupDeclared>,
    /// Each gets the version with this digest as its newest.
    #[serde(default)]
    plugins: Vec<PluginDeclared>,
    /// Created or changed.
    #[serde(default)]
    #[schema(value_type = Vec<RuleIn>)]
    rules: Vec<Value>,
    /// Rules that are not in it are deleted.
    #[serde(default)]
    prune: bool,
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
    /// A missing topic or name server is only a warning.
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DeclaredGroup)]
pub(crate) struct GroupDeclared {
    #[schema(value_type = words::GroupIdText)]
    group_id: String,
}

/// A plugin and the version that it is to have.
#[derive(Debug, Deserialize, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = DeclaredPlugin)]
pub(crate) struct PluginDeclared {
    #[schema(value_type = words::PluginNameText)]
    name: String,
    /// Of a component that was uploaded to `/v1/components`, or of a version that is there.
    #[schema(value_type = words::PluginDigestText)]
    digest: String,
}

/// What changed, or would.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ApplyResult)]
pub(crate) struct ApplyOut {
    /// Whether the changes were made.
    applied: bool,
    changes: Vec<ChangeOut>,
    /// Declared things that were as declared.
    unchanged: usize,
    /// What should be known of those.
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AppliedChange)]
struct ChangeOut {
    /// `group`, `plugin` or `rule`.
    #[schema(value_type = words::ChangeKindWord)]
    kind: &'static str,
    name: String,
    /// `create`, `change` or `delete`.
    #[schema(value_type = words::ChangeActionWord)]
    action: &'static str,
    difference: Vec<Difference>,
    warnings: Vec<String>,
}

impl From<ApplyPlan> for ApplyOut {
    fn from(plan: ApplyPlan) -> Self {
        Self {
            applied: plan.is_applied,
            changes: plan
                .changes
                .into_iter()
                .map(|(change, warnings)| ChangeOut::of(change, warnings))
                .collect(),
            unchanged: plan.unchanged,
            warnings: plan.warnings,
        }
    }
}

impl ChangeOut {
    /// Such as `create rule a`.
    fn title(&self) -> String {
        format!("{} {} {}", self.action, self.kind, self.name)
    }

    fn of(change: PlannedChange, warnings: Vec<String>) -> Self {
        let (kind, name, action, from, to) = match change {
            PlannedChange::Group(group_id) => (
                "group",
                group_id.to_string(),
                "create",
                Value::Null,
                Value::Null,
            ),
            PlannedChange::Plugin {
                name,
                version,
                digest,
            } => {
                let action = if version == 1 { "create" } else { "change" };
                let to = json!({ "version": version, "digest": digest.to_string() });
                ("plugin", name.to_string(), action, Value::Null, to)
            }
            PlannedChange::Rule { before, after } => {
                let action = match (&before, &after) {
                    (None, _) => "create",
                    (Some(_), Some(_)) => "change",
                    (Some(_), None) => "delete",
                };
                let either = after.as_ref().or(before.as_ref());
                let name = either.map(|rule| rule.rule_id().to_string());
                let (from, to) = (shown(before), shown(after));
                ("rule", name.unwrap_or_default(), action, from, to)
            }
        };
        // All of what goes is nothing to look through.
        let difference = if action == "delete" {
            Vec::new()
        } else {
            difference::between(&from, &to)
        };
        Self {
            kind,
            name,
            action,
            difference,
            warnings,
        }
    }
}

fn shown(rule: Option<AnyRuleDraft>) -> Value {
    let body = rule.map(RuleBody::from);
    serde_json::to_value(body).unwrap_or_default()
}

impl ApplyIn {
    /// Checks everything that needs no knowledge of the host. `file_of` names the file of a rule by
    /// its place, for a folder of rules.
    pub(crate) fn declaration(
        self,
        scope: ApplyScope,
        file_of: impl Fn(usize) -> Option<String>,
    ) -> Result<Declaration, ApiError> {
        let groups = self.groups.iter();
        let groups = groups.map(|group| parse_group_id(&group.group_id));
        let groups: Vec<GroupId> = groups.collect::<Result<_, _>>()?;
        let plugins = self.plugins.iter().map(PluginDeclared::read);
        let plugins = plugins.collect::<Result<_, _>>()?;
        let mut rules = Vec::with_capacity(self.rules.len());
        let mut problems = Vec::new();
        for (place, value) in self.rules.into_iter().enumerate() {
            let subject = subject(&value, place);
            match read_rule(value) {
                Ok(rule) => rules.push(DeclaredRule {
                    file: file_of(place),
                    ..rule
                }),
                Err(error) => problems.push((subject, error)),
            }
        }
        if problems.is_empty() {
            return Ok(Declaration {
                groups,
                plugins,
                rules,
                is_pruning: self.prune,
                is_forced: self.force,
                scope,
            });
        }
        Err(refused(problems))
    }
}

fn subject(rule: &Value, place: usize) -> String {
    match rule.get("ruleId").and_then(Value::as_str) {
        Some(id) => format!("rule {id}"),
        None => format!("rule number {}", place + 1),
    }
}

fn read_rule(value: Value) -> Result<DeclaredRule, ApiError> {
    let checked = rule_from_value(value)?.check(None)?;
    Ok(DeclaredRule {
        draft: checked.draft,
        warnings: checked.warnings,
        file: None,
    })
}

impl PluginDeclared {
    fn read(&self) -> Result<(PluginName, PluginDigest), ApiError> {
        let name = PluginName::parse(&self.name).map_err(|error| {
            ApiError::name(ControlCode::InvalidPluginName, "plugin.name", &error)
        })?;
        let digest = PluginDigest::parse(&self.digest)
            .map_err(|error| ApiError::name(ControlCode::UnknownPlugin, "plugin.digest", &error))?;
        Ok((name, digest))
    }
}

/// The answer of the first problem, with all of them beside it: what one change would have been
/// answered, an apply is answered as well.
fn refused(problems: Vec<(String, ApiError)>) -> ApiError {
    let list: Vec<Value> = problems
        .iter()
        .map(|(subject, error)| {
            json!({ "subject": subject, "code": error.code(), "message": error.message() })
        })
        .collect();
    let mut more = Map::new();
    more.insert("problems".to_owned(), Value::Array(list));
    match problems.into_iter().next() {
        Some((_, first)) => first.with(more),
        None => ApiError::internal("nothing is wrong"),
    }
}

/// What a change is of, for the log.
pub(crate) fn name_of(change: &PlannedChange) -> String {
    ChangeOut::of(change.clone(), Vec::new()).title()
}

impl From<ApplyError> for ApiError {
    fn from(error: ApplyError) -> Self {
        let all = std::iter::once(error.first).chain(error.others);
        refused(all.map(|it| (it.subject, it.error.into())).collect())
    }
}

/// How it is applied; may be said in the body as well.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches, each with a name of its own"
)]
pub(crate) struct ApplyQuery {
    /// Only say what would change.
    #[serde(default)]
    dry_run: bool,
    /// Rules that are not in it are deleted.
    #[serde(default)]
    prune: bool,
    /// A missing topic or name server is only a warning.
    #[serde(default)]
    force: bool,
}

#[utoipa::path(
    post, path = "/v1/apply", tag = "Configuration", operation_id = "applyConfiguration",
    summary = "Makes a configuration true, all of it or nothing",
    params(ApplyQuery),
    request_body(content = ApplyIn, description = "At most 16 MiB"),
    responses((status = 200, description = "What changed, or would", body = ApplyOut)),
    extensions(("x-errors" = json!(["@save", "@load", "rule_exists", "too_many_rules", "too_many_plugin_versions", "rule_not_found", "plugin_built_in"]))),
)]
pub(crate) async fn apply(
    State(served): State<Served>,
    Query(query): Query<ApplyQuery>,
    By(by): By,
    request: Request,
) -> Result<
    (
        Option<Extension<NothingChanged>>,
        Extension<ChangedThings>,
        Json<ApplyOut>,
    ),
    ApiError,
> {
    let too_large = || {
        ApiError::payload_too_large(format!(
            "the configuration has more than {APPLY_BYTES_MAX} bytes, the most that one may have; apply it in parts"
        ))
    };
    let mut body: ApplyIn = parse_json(&read_body(request, APPLY_BYTES_MAX, too_large).await?)?;
    body.prune |= query.prune;
    body.force |= query.force;
    let is_dry_run = body.dry_run || query.dry_run;
    let declaration = body.declaration(ApplyScope::Operator, |_| None)?;
    let plan = served.control.apply(declaration, is_dry_run, &by).await?;
    let is_noted = !is_dry_run && !plan.changes.is_empty();
    let note = (!is_noted).then_some(Extension(NothingChanged));
    let out = ApplyOut::from(plan);
    let things = Extension(ChangedThings(noted(&out.changes)));
    Ok((note, things, Json(out)))
}

/// The changes as the audit log names them.
fn noted(changes: &[ChangeOut]) -> Vec<String> {
    let (groups, others): (Vec<_>, Vec<_>) =
        changes.iter().partition(|change| change.kind == "group");
    let more = groups.len().saturating_sub(NOTED_GROUPS_MAX);
    let named = groups.into_iter().take(NOTED_GROUPS_MAX).chain(others);
    let mut things: Vec<String> = named.map(ChangeOut::title).collect();
    things.extend((more > 0).then(|| format!("create {more} more groups")));
    things
}

/// The present configuration; an apply of it changes nothing.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Configuration)]
pub(crate) struct ExportOut {
    groups: Vec<GroupDeclared>,
    /// With the newest version of each; those that came with the host are everywhere.
    plugins: Vec<PluginDeclared>,
    rules: Vec<RuleBody>,
}

#[utoipa::path(
    get, path = "/v1/export", tag = "Configuration", operation_id = "exportConfiguration",
    summary = "The present configuration; an apply of it changes nothing",
    responses((status = 200, description = "The configuration", body = ExportOut)),
)]
pub(crate) async fn export(State(served): State<Served>) -> Json<ExportOut> {
    let control = &served.control;
    let groups = control.groups().into_iter();
    let groups = groups.map(|group| GroupDeclared {
        group_id: group.group_id.to_string(),
    });
    let mut plugins: Vec<PluginDeclared> = Vec::new();
    for version in control.plugins().into_iter().filter(|it| !it.is_built_in) {
        let declared = PluginDeclared {
            name: version.name.to_string(),
            digest: version.digest.to_string(),
        };
        match plugins.last_mut() {
            Some(last) if last.name == declared.name => *last = declared,
            _ => plugins.push(declared),
        }
    }
    let rules = control.rules().into_iter();
    Json(ExportOut {
        groups: groups.collect(),
        plugins,
        rules: rules.map(|view| view.rule.draft().into()).collect(),
    })
}

/// A component that waits for its apply.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = StagedComponent)]
pub(crate) struct ComponentOut {
    #[schema(value_type = words::PluginDigestText)]
    digest: String,
    /// Bytes.
    size: usize,
}

/// Keeps a component for ten minutes.
#[utoipa::path(
    post, path = "/v1/components", tag = "Configuration", operation_id = "stageComponent",
    summary = "Keeps a component for ten minutes, for an apply that names its digest",
    request_body(content((words::ComponentBytes = "application/wasm"), (words::ComponentBytes = "application/octet-stream")), description = "The component; at most `plugins.component-max` bytes"),
    responses((status = 201, description = "It is kept", body = ComponentOut)),
    extensions(("x-errors" = json!(["component_too_large", "not_a_component", "unsupported_contract", "forbidden_import", "compile_limit_exceeded", "compiler_failed", "canary_failed", "host_busy", "unsupported_media_type"]))),
)]
pub(crate) async fn stage(
    State(served): State<Served>,
    request: Request,
) -> Result<(StatusCode, Json<ComponentOut>), ApiError> {
    let (bytes, _upload) = read_component(&served, request).await?;
    let size = bytes.len();
    let digest = served.control.stage_component(bytes).await?;
    let body = ComponentOut {
        digest: digest.to_string(),
        size,
    };
    Ok((StatusCode::CREATED, Json(body)))
}
