//! What goes through the pipes of the compiler's process: to it a component and functions that were compiled before, from
//! it the code of the component and the functions that were not among them.
//!
//! Numbers are eight bytes each, little endian. To it: the most bytes of functions that are wanted back, then parts, each
//! behind its size: the component, and blocks of functions up to the end. From it: how many functions were reused, how many
//! were compiled, the code behind its size, and one block of functions up to the end.

use std::io::{self, Write};

use super::functions::CompiledFunctions;

/// What one compilation gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Machine code of the component.
    pub(crate) code: Vec<u8>,
    pub(crate) functions: CompiledFunctions,
}

/// Bytes of an answer before its code.
pub(super) const ANSWER_HEAD_BYTES: usize = 3 * size_of::<u64>();

/// What the child is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question<'a> {
    /// The most bytes of functions that are wanted back.
    pub(super) block_bytes_max: u64,
    pub(super) component: &'a [u8],
    /// Blocks of earlier answers.
    pub(super) blocks: Vec<&'a [u8]>,
}

impl<'a> Question<'a> {
    /// # Errors
    ///
    /// When `to` takes no more.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.block_bytes_max.to_le_bytes())?;
        write_part(to, self.component)?;
        self.blocks
            .iter()
            .try_for_each(|block| write_part(to, block))
    }

    /// `None` when it is cut short.
    pub(super) fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let from = &mut bytes;
        let block_bytes_max = read_number(from)?;
        let component = read_part(from)?;
        let mut blocks = Vec::new();
        while !from.is_empty() {
            blocks.push(read_part(from)?);
        }
        Some(Self {
            block_bytes_max,
            component,
            blocks,
        })
    }
}

impl Answer {
    pub(crate) fn without_functions(code: Vec<u8>) -> Self {
        Self {
            code,
            functions: CompiledFunctions::default(),
        }
    }

    /// # Errors
    ///
    /// When `to` takes no more.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        to.write_all(&self.functions.reused.to_le_bytes())?;
        to.write_all(&self.functions.compiled.to_le_bytes())?;
        write_part(to, &self.code)?;
        to.write_all(&self.functions.block)
    }

    /// `None` when it is cut short. A block of more than `block_bytes_max` bytes is none.
    pub(super) fn read(mut bytes: Vec<u8>, block_bytes_max: u64) -> Option<Self> {
        let from = &mut bytes.as_slice();
        let (reused, compiled) = (read_number(from)?, read_number(from)?);
        let code_bytes = read_part(from)?.len();
        let is_wanted = u64::try_from(from.len()).is_ok_and(|size| size <= block_bytes_max);
        let block = if is_wanted { from.to_vec() } else { Vec::new() };
        // In place: it may be large.
        bytes.drain(..ANSWER_HEAD_BYTES);
        bytes.truncate(code_bytes);
        Some(Self {
            code: bytes,
            functions: CompiledFunctions {
                reused,
                compiled,
                block,
            },
        })
    }
}

/// A function of a block: its key behind its size, and its code behind that of it.
pub(super) fn push_function(block: &mut Vec<u8>, key: &[u8], code: &[u8]) {
    for part in [key, code] {
        // A vector takes everything.
        drop(write_part(block, part));
    }
}

/// The functions of a block, up to where it is cut short.
pub(super) fn functions(mut block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || Some((read_part(&mut block)?, read_part(&mut block)?)))
}

fn write_part(to: &mut impl Write, part: &[u8]) -> io::Result<()> {
    let size = u64::try_from(part.len()).map_err(io::Error::other)?;
    to.write_all(&size.to_le_bytes())?;
    to.write_all(part)
}

fn read_number(from: &mut &[u8]) -> Option<u64> {
    let (number, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(u64::from_le_bytes(*number))
}

fn read_part<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let size = usize::try_from(read_number(from)?).ok()?;
    let (part, rest) = from.split_at_checked(size)?;
    *from = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_and_an_answer_are_read_as_they_were_written_or_not_at_all() {
        let question = Question {
            block_bytes_max: 7,
            component: b"component",
            blocks: vec![b"first", b"", b"third"],
        };
        let mut bytes = Vec::new();
        question.write(&mut bytes).unwrap();
        assert_eq!(Question::read(&bytes), Some(question));
        for size in [0, 8, 20, bytes.len() - 1] {
            assert_eq!(Question::read(&bytes[..size]), None, "{size}");
        }

        let mut bytes = Vec::new();
        let answer = || Answer {
            code: b"code".to_vec(),
            functions: CompiledFunctions {
                reused: 3,
                compiled: 4,
                block: b"block".to_vec(),
            },
        };
        answer().write(&mut bytes).unwrap();
        assert_eq!(Answer::read(bytes.clone(), 5), Some(answer()));
        let without = Answer::read(bytes.clone(), 4).unwrap();
        assert_eq!(
            (without.code, without.functions.block.len()),
            (answer().code, 0)
        );
        for size in [0, 16, 24 + 3] {
            assert_eq!(Answer::read(bytes[..size].to_vec(), 5), None, "{size}");
        }
        // A size beyond the end, and one that overflows.
        for size in [5_u64 + 5, u64::MAX] {
            bytes[16..24].copy_from_slice(&size.to_le_bytes());
            assert_eq!(Answer::read(bytes.clone(), 5), None, "{size}");
        }
    }

    #[test]
    fn a_block_gives_its_functions_up_to_where_it_is_cut() {
        let mut block = Vec::new();
        push_function(&mut block, b"a", b"1");
        push_function(&mut block, b"b", b"");
        let all: Vec<_> = functions(&block).collect();
        let expected: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"")];
        assert_eq!(all, expected);
        block.pop();
        assert_eq!(functions(&block).count(), 1);
    }
}
