//! What can be said of a component before it is compiled: its kind, imports and exports.
//!
//! Compiling takes seconds for large components, so everything that can be refused is refused here.
//! Types are not compared here; linking does that.

use domain::PluginDigest;
use sha2::{Digest, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::allow_list::{self, Import};

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
}

/// Why bytes are not a plugin for this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InspectPluginError {
    /// The file is too large.
    #[error("the component has {bytes} bytes; the limit is {bytes_max} (plugins.component-max)")]
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
    #[error("the plugin does not speak rulemill:rule@1.x: {missing}")]
    UnsupportedContract {
        /// What is missing or different.
        missing: String,
    },
    /// It wants something that no plugin may have.
    #[error(
        "the plugin imports {names}, which is not allowed; plugins have no files, no sockets and no other host functions"
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
    if !bytes.starts_with(b"\0asm") {
        let detail = "it does not start with the WebAssembly magic number".to_owned();
        return Err(InspectPluginError::NotAComponent { detail });
    }
    let facts = read(bytes)?;
    let mut forbidden: Vec<&str> = Vec::new();
    for name in &facts.imports {
        match allow_list::judge(name) {
            Import::Allowed => {}
            Import::UnknownContract => {
                let missing = format!("it imports {name}, which this host does not have");
                return Err(InspectPluginError::UnsupportedContract { missing });
            }
            Import::Forbidden => forbidden.push(name),
        }
    }
    if !forbidden.is_empty() {
        let names = forbidden.join(", ");
        return Err(InspectPluginError::ForbiddenImport { names });
    }
    for interface in allow_list::EXPORTS {
        check_export(&facts.exports, interface)?;
    }
    Ok(facts)
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
        Some(version) => format!("it exports {name}@{version}, this host wants {name}@1.x"),
        None => format!("it does not export {name}@1.x"),
    };
    Err(InspectPluginError::UnsupportedContract { missing })
}

fn read(bytes: &[u8]) -> Result<PluginFacts, InspectPluginError> {
    let broken = |error: wasmparser::BinaryReaderError| InspectPluginError::NotAComponent {
        detail: format!("it is damaged or cut off ({error})"),
    };
    let (mut exports, mut imports) = (Vec::new(), Vec::new());
    // How many modules and components deep the parser is inside the outermost one.
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(broken)? {
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
                    imports.push(import.map_err(broken)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    exports.push(export.map_err(broken)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    let digest = PluginDigest(Sha256::digest(bytes).into());
    Ok(PluginFacts {
        digest,
        size_bytes: bytes.len(),
        exports,
        imports,
    })
}
