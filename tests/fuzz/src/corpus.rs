//! Inputs worth changing again: each made the product say something that no input before it did.
//!
//! That is the feedback of these targets. It is coarser than coverage, but needs no instrumented build
//! of the engine, and nearly every check of a parser or of the canonical ABI has words of its own.

use std::collections::BTreeSet;

use crate::random::Random;

/// Inputs that are kept beside the seeds; a random one makes room for the next.
const KEPT_MAX: usize = 2000;
/// A larger input is not kept: changing it would take most of the time.
const INPUT_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug)]
pub(crate) struct Corpus {
    seeds: Vec<Vec<u8>>,
    kept: Vec<Vec<u8>>,
    outcomes: BTreeSet<String>,
}

impl Corpus {
    pub(crate) fn new(seeds: Vec<Vec<u8>>) -> Self {
        Self {
            seeds,
            kept: Vec::new(),
            outcomes: BTreeSet::new(),
        }
    }

    /// One of the seeds or of the inputs that were kept; `None` if there is none yet.
    pub(crate) fn pick(&self, random: &mut Random) -> Option<&[u8]> {
        let from = if self.kept.is_empty() || (!self.seeds.is_empty() && random.in_hundred(40)) {
            &self.seeds
        } else {
            &self.kept
        };
        if from.is_empty() {
            return None;
        }
        Some(random.pick(from))
    }

    /// Keeps `input` if its outcome is a new one.
    pub(crate) fn learn(&mut self, input: &[u8], outcome: &str, random: &mut Random) {
        if !self.outcomes.insert(shape(outcome)) || input.len() > INPUT_BYTES_MAX {
            return;
        }
        if self.kept.len() < KEPT_MAX {
            self.kept.push(input.to_vec());
        } else {
            let place = random.below(KEPT_MAX);
            self.kept[place] = input.to_vec();
        }
    }

    /// How many different outcomes were seen.
    pub(crate) fn outcomes(&self) -> usize {
        self.outcomes.len()
    }
}

/// An outcome without its numbers and names.
pub(crate) fn shape(outcome: &str) -> String {
    let mut shape = String::new();
    for (number, part) in outcome.split(['`', '"']).enumerate() {
        // Every other part is a name.
        if number % 2 == 1 {
            shape.push('"');
            continue;
        }
        for word in part.split_inclusive(|it: char| !it.is_alphanumeric()) {
            if word.bytes().any(|byte| byte.is_ascii_digit()) {
                shape.push('#');
            } else {
                shape.push_str(word);
            }
        }
    }
    shape.truncate(shape.floor_char_boundary(160));
    shape
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn an_outcome_is_known_by_its_words() {
        assert_eq!(
            shape("type 7 of `a` at offset 0x1f: \"b\" is bad"),
            "type #of \" at offset # \" is bad"
        );
    }
}
