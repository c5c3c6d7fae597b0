//! What can be said of a component before it is compiled: its kind, imports, exports and size.
//!
//! Compiling takes seconds for large components, so everything that can be refused is refused here.
//! Types are not compared here; linking does that.

mod footprint;
mod foreign_file;

use domain::PluginDigest;
use sha2::{Digest, Sha256};
use wasmparser::{BinaryReaderError, Encoding, Parser, Payload};

use crate::allow_list::{self, Import};
use crate::plain_text::{listed, plain};
use footprint::Footprint;

/// Imports, and exports: they are stored and shown with every version. Python's and JavaScript's
/// components have 30.
const NAMES_MAX: usize = 256;
/// One name of those, bytes.
const NAME_BYTES_MAX: usize = 256;
/// Names that a message lists.
const NAMES_SHOWN: usize = 8;

/// A component's face.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginFacts {
    /// SHA-256 of its bytes.
    pub digest: PluginDigest,
    /// Its size, bytes.
    pub size_bytes: usize,
    /// What it exports, in its order.
    pub exports: Vec<String>,
    /// What it imports, in its order.
    pub imports: Vec<String>,
    /// What an instance takes beside its memories and tables, bytes; 0 for all but very uncommon ones.
    pub overhead_bytes: u64,
}

/// Why bytes are not a plugin for this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectPluginError {
    /// The file is too large.
    #[error(
        "the component has {bytes} bytes; the limit is {bytes_max}; build it with optimisation and stripped, or raise \
         plugins.component-max"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The bytes are no valid component.
    #[error("the file is not a WebAssembly component: {detail}")]
    NotAComponent {
        /// What it is, and how to get it right.
        detail: String,
    },
    /// It does not export, or does not import, what the contract says.
    #[error(
        "the plugin does not speak rulemill:rule@1.x: {missing}; build it with rulemill-sdk, or from the WIT files of \
         this host, for the world status-rule"
    )]
    UnsupportedContract {
        /// What is missing or different.
        missing: String,
    },
    /// It wants something that no plugin may have.
    #[error(
        "the plugin imports {names}, which is not allowed; plugins have no files, no sockets and no other host functions: \
         leave out what needs them, and build for WASI 0.2 (wasm32-wasip2): of WASI, other versions are not there either"
    )]
    ForbiddenImport {
        /// The imports, separated by commas.
        names: String,
    },
}

impl InspectPluginError {
    /// The variant, for metric labels and API codes.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::NotAComponent { .. } => "not_a_component",
            Self::UnsupportedContract { .. } => "unsupported_contract",
            Self::ForbiddenImport { .. } => "forbidden_import",
        }
    }
}

/// Reads the face of the component in `bytes` and judges it.
pub(crate) fn inspect(bytes: &[u8], bytes_max: usize) -> Result<PluginFacts, InspectPluginError> {
    if bytes.len() > bytes_max {
        return Err(InspectPluginError::TooLarge {
            bytes: bytes.len(),
            bytes_max,
        });
    }
    if let Some(kind) = foreign_file::kind(bytes) {
        let detail = kind.to_owned();
        return Err(InspectPluginError::NotAComponent { detail });
    }
    let face = read(bytes)?;
    judge_imports(&face.imports)?;
    for interface in allow_list::EXPORTS {
        check_export(&face.exports, interface)?;
    }
    Ok(PluginFacts {
        digest: digest_of(bytes),
        size_bytes: bytes.len(),
        exports: face.exports,
        imports: face.imports,
        overhead_bytes: face.footprint.overhead_bytes(),
    })
}

/// By which a component is known.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> PluginDigest {
    PluginDigest(Sha256::digest(bytes).into())
}

fn judge_imports(imports: &[String]) -> Result<(), InspectPluginError> {
    let mut forbidden: Vec<&str> = Vec::new();
    for name in imports {
        match allow_list::judge(name) {
            Import::Allowed => {}
            Import::UnknownContract => {
                let name = plain(name, NAME_BYTES_MAX);
                let missing = format!("it imports {name}, which this host does not have");
                return Err(InspectPluginError::UnsupportedContract { missing });
            }
            Import::Forbidden => forbidden.push(name),
        }
    }
    if forbidden.is_empty() {
        return Ok(());
    }
    let names = listed(&forbidden, NAMES_SHOWN);
    Err(InspectPluginError::ForbiddenImport { names })
}

fn check_export(exports: &[String], interface: &str) -> Result<(), InspectPluginError> {
    let name = format!("{}{interface}", allow_list::CONTRACT);
    let mut versions = exports
        .iter()
        .filter_map(|export| export.strip_prefix(&name)?.strip_prefix('@'))
        .peekable();
    let other = versions.peek().copied();
    if versions.any(allow_list::is_contract_version) {
        return Ok(());
    }
    let missing = match other {
        Some(version) => {
            let version = plain(version, NAME_BYTES_MAX);
            format!("it exports {name}@{version}, this host wants {name}@1.x")
        }
        None => format!("it does not export {name}@1.x"),
    };
    Err(InspectPluginError::UnsupportedContract { missing })
}

/// What is read of a component.
#[derive(Default)]
struct Face {
    exports: Vec<String>,
    imports: Vec<String>,
    footprint: Footprint,
}

fn read(bytes: &[u8]) -> Result<Face, InspectPluginError> {
    let mut face = Face::default();
    // How many modules and components deep the parser is inside the outermost one.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| broken(&error))?;
        face.footprint
            .see(&payload)
            .map_err(|error| broken(&error))?;
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                let detail = "it is a core module; build it for wasm32-wasip2, or make a component of it with wasm-tools";
                return Err(InspectPluginError::NotAComponent {
                    detail: detail.to_owned(),
                });
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let name = import.map_err(|error| broken(&error))?.name.name;
                    take_in(&mut face.imports, "imports", name)?;
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let name = export.map_err(|error| broken(&error))?.name.name;
                    take_in(&mut face.exports, "exports", name)?;
                }
            }
            _ => {}
        }
    }
    Ok(face)
}

fn broken(error: &BinaryReaderError) -> InspectPluginError {
    let what = plain(&error.to_string(), 512);
    InspectPluginError::NotAComponent {
        detail: format!(
            "it is damaged or cut off, or newer than this host ({what}); copy it again, or build it for wasm32-wasip2 with what the tools do by themselves"
        ),
    }
}

fn take_in(
    names: &mut Vec<String>,
    verb: &'static str,
    name: &str,
) -> Result<(), InspectPluginError> {
    let missing = if names.len() >= NAMES_MAX {
        format!(
            "it {verb} more than {NAMES_MAX} names, the most that a plugin may, so it has to have fewer"
        )
    } else if name.len() > NAME_BYTES_MAX {
        format!(
            "it {verb} a name of {} bytes; the limit is {NAME_BYTES_MAX}, so shorten it",
            name.len()
        )
    } else {
        names.push(name.to_owned());
        return Ok(());
    };
    Err(InspectPluginError::UnsupportedContract { missing })
}
