//! What a plugin exports: what it must, and what it may.

use domain::AttributeName;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

use crate::bindings::exports::rulemill::rule::{lifecycle, status_mapper};
use crate::bindings::optional::exports::rulemill::attributes::selection;
use crate::bindings::{StatusRule, StatusRuleIndices};
use crate::sandbox::HostState;

/// The optional export by which a plugin names the attributes that it reads.
const SELECTION: &str = "rulemill:attributes/selection@1.";
/// Attributes that a plugin may name; more than there are, for hosts to come.
pub(crate) const NAMES_MAX: usize = 64;
/// One such name, bytes.
const NAME_BYTES_MAX: usize = 64;

/// A linked plugin and where its exports are.
pub(crate) struct PluginExports {
    pre: InstancePre<HostState>,
    rule: StatusRuleIndices,
    selection: Option<selection::GuestIndices>,
}

/// A plugin whose `init` took its configuration.
pub(crate) struct StartedPlugin {
    pub(crate) rule: StatusRule,
    /// The attributes that it says it reads, also those that this host does not know.
    pub(crate) selection: Option<Vec<String>>,
    /// The attributes that its events have.
    pub(crate) attributes: Vec<AttributeName>,
}

/// Why a plugin cannot have the attributes that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectionRefused {
    #[error("it names {count} attributes that it reads; the limit is {NAMES_MAX}")]
    TooMany { count: usize },
    #[error("it names an attribute of {bytes} bytes; the limit is {NAME_BYTES_MAX}")]
    TooLong { bytes: usize },
}

impl PluginExports {
    /// Finds the exports of `pre`, which exports `names`.
    ///
    /// # Errors
    ///
    /// Names what is missing.
    pub(crate) fn find(pre: InstancePre<HostState>, names: &[String]) -> wasmtime::Result<Self> {
        let has_selection = names.iter().any(|name| name.starts_with(SELECTION));
        let selection = has_selection.then(|| selection::GuestIndices::new(&pre));
        Ok(Self {
            rule: StatusRuleIndices::new(&pre)?,
            selection: selection.transpose()?,
            pre,
        })
    }

    pub(crate) fn instantiate(&self, store: &mut Store<HostState>) -> wasmtime::Result<Instance> {
        self.pre.instantiate(store)
    }

    /// Names the function whose type is not the contract's, which the whole's own comparison does not.
    pub(crate) fn compare_types(
        &self,
        store: &mut Store<HostState>,
        instance: &Instance,
    ) -> wasmtime::Result<()> {
        lifecycle::GuestIndices::new(&self.pre)?
            .load(&mut *store, instance)
            .map_err(|error| error.context("init has another type"))?;
        status_mapper::GuestIndices::new(&self.pre)?
            .load(&mut *store, instance)
            .map_err(|error| error.context("map-event has another type"))?;
        if let Some(selection) = &self.selection {
            selection
                .load(&mut *store, instance)
                .map_err(|error| error.context("names has another type"))?;
        }
        self.rule.load(store, instance).map(drop)
    }

    /// Instantiates the plugin, gives it its configuration, and asks for the attributes that it reads;
    /// the inner error is what `init` said against `config`.
    ///
    /// # Errors
    ///
    /// When it traps, or breaks a limit.
    pub(crate) fn start(
        &self,
        store: &mut Store<HostState>,
        config: &str,
    ) -> wasmtime::Result<Result<StartedPlugin, String>> {
        let instance = self.instantiate(store)?;
        let rule = self.rule.load(&mut *store, &instance)?;
        let answer = rule
            .rulemill_rule_lifecycle()
            .call_init(&mut *store, config)?;
        if let Err(reason) = answer {
            return Ok(Err(reason));
        }
        let selection = match &self.selection {
            Some(selection) => selection
                .load(&mut *store, &instance)?
                .call_names(&mut *store)?,
            None => None,
        };
        let attributes = match &selection {
            Some(names) => selected(names).map_err(wasmtime::Error::new)?,
            None => AttributeName::ALL.to_vec(),
        };
        Ok(Ok(StartedPlugin {
            rule,
            selection,
            attributes,
        }))
    }
}

/// The attributes that are called so. A name that is not known may be one of a later host.
fn selected(names: &[String]) -> Result<Vec<AttributeName>, SelectionRefused> {
    if names.len() > NAMES_MAX {
        let count = names.len();
        return Err(SelectionRefused::TooMany { count });
    }
    if let Some(long) = names.iter().find(|name| name.len() > NAME_BYTES_MAX) {
        let bytes = long.len();
        return Err(SelectionRefused::TooLong { bytes });
    }
    Ok(AttributeName::called(names))
}
