//! Cases inside of a component: the custom section `rulemill:tests`, a JSON list.

use std::ops::Range;

use wasmparser::{Parser, Payload};

use super::{CASES_BYTES_MAX, CASES_MAX, Case};
use crate::plain_text::plain;

const NAME: &str = "rulemill:tests";
/// What is said of a component that cannot be read, bytes; more is cut.
const DETAIL_BYTES_MAX: usize = 1024;

/// Why cases cannot be put into a component.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditSectionError {
    /// The bytes are no component.
    #[error("the file is not a WebAssembly component: {detail}; build it for wasm32-wasip2")]
    NotAComponent {
        /// What the parser said.
        detail: String,
    },
    /// More than a component may carry.
    #[error(
        "{count} cases of {bytes} bytes; a component carries at most {CASES_MAX} of {CASES_BYTES_MAX} bytes; have fewer or shorter ones"
    )]
    TooMany {
        /// Cases.
        count: usize,
        /// As JSON, bytes.
        bytes: usize,
    },
}

/// The component with exactly these cases; without the section if there are none.
///
/// # Errors
///
/// When the bytes are no component, or the cases are too many.
pub fn with_cases(component: &[u8], cases: &[Case]) -> Result<Vec<u8>, EditSectionError> {
    let old = find(component).map_err(|detail| EditSectionError::NotAComponent {
        detail: plain(&detail, DETAIL_BYTES_MAX),
    })?;
    let mut edited = Vec::with_capacity(component.len() + 1024);
    let mut copied = 0;
    for (section, _) in old {
        edited.extend_from_slice(component.get(copied..section.start).unwrap_or_default());
        copied = section.end;
    }
    edited.extend_from_slice(component.get(copied..).unwrap_or_default());
    if cases.is_empty() {
        return Ok(edited);
    }
    // Never fails: a case is text, numbers and JSON values.
    let json = serde_json::to_vec(cases).unwrap_or_default();
    if cases.len() > CASES_MAX || json.len() > CASES_BYTES_MAX {
        return Err(EditSectionError::TooMany {
            count: cases.len(),
            bytes: json.len(),
        });
    }
    let mut content = Vec::with_capacity(NAME.len() + json.len() + 1);
    leb128(NAME.len(), &mut content);
    content.extend_from_slice(NAME.as_bytes());
    content.extend_from_slice(&json);
    edited.push(0);
    leb128(content.len(), &mut edited);
    edited.extend_from_slice(&content);
    Ok(edited)
}

/// The cases inside of `component`.
pub(crate) fn read_cases(component: &[u8]) -> Result<Vec<Case>, String> {
    let Some((_, content)) = find(component)?.pop() else {
        return Ok(Vec::new());
    };
    let json = component.get(content).unwrap_or_default();
    if json.len() > CASES_BYTES_MAX {
        return Err(format!(
            "its section {NAME} has {} bytes; the limit is {CASES_BYTES_MAX}; have fewer or shorter cases",
            json.len()
        ));
    }
    let cases: Vec<Case> = serde_json::from_slice(json)
        .map_err(|error| format!("its section {NAME} is no list of cases: {error}"))?;
    if cases.len() > CASES_MAX {
        return Err(format!(
            "it has {} cases; the limit is {CASES_MAX}; have fewer",
            cases.len()
        ));
    }
    Ok(cases)
}

/// Sections with our name in the outermost component: the whole of each, and its content.
fn find(component: &[u8]) -> Result<Vec<(Range<usize>, Range<usize>)>, String> {
    let mut found = Vec::new();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| error.to_string())? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == NAME => {
                let content = section.data_offset()..section.range().end;
                let start = head_of(component, section.range().start);
                found.push((start..section.range().end, content));
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Where the custom section begins whose content begins at `content`. Before the content is its
/// length, which need not be written in its shortest form, and before that the id, which is 0.
fn head_of(component: &[u8], content: usize) -> usize {
    let mut first = content.saturating_sub(1);
    // All bytes of the length but the last have their highest bit set; the id has not.
    while first > 0
        && component
            .get(first - 1)
            .is_some_and(|byte| byte & 0x80 != 0)
    {
        first -= 1;
    }
    first.saturating_sub(1)
}

fn leb128(number: usize, into: &mut Vec<u8>) {
    let mut rest = number;
    loop {
        // The low seven bits.
        let byte = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 {
            into.push(byte);
            return;
        }
        into.push(byte | 0x80);
    }
}
