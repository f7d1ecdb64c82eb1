//! Checks whether work fits into a model's context and into memory.

use std::fmt;

use indicatif::HumanBytes;

use super::speed::Work;
use crate::placement::HostMemory;
use crate::system::hinted::Hinted;
use crate::system::quote::counted;

/// The error for work that does not fit into the model's context or into memory.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct NoRoom {
    message: String,
    /// The work that there is room for.
    pub smaller: Smaller,
}

/// A change to work after which it has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Smaller {
    /// The largest values within the model's context; `None` for values that can stay.
    Context {
        /// Value of [`Work::depth`].
        depth: Option<usize>,
        /// Value of [`Work::prompt_tokens`].
        prompt_tokens: Option<usize>,
        /// Value of [`Work::generate_tokens`].
        generate_tokens: Option<usize>,
    },
    /// Weights as they are stored, because rounded copies do not fit.
    WeightsAsStored,
    /// A smaller depth, or a q8_0 cache.
    Depth,
    /// Fewer tokens, or a q8_0 cache.
    Tokens,
    /// At most this many sequences.
    Sequences(usize),
}

impl fmt::Display for Smaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Context { depth, prompt_tokens, generate_tokens } => {
                let depth = depth.map(|depth| format!("a depth of {depth}"));
                let prompt = prompt_tokens.map(|tokens| format!("a prompt of {}", counted(tokens, "token")));
                let generated =
                    generate_tokens.map(|tokens| format!("{} to generate", counted(tokens, "token")));
                let parts: Vec<String> = [depth, prompt, generated].into_iter().flatten().collect();
                write!(f, "at most {}", parts.join(", "))
            }
            Self::WeightsAsStored => f.write_str("run the weights as they are stored"),
            Self::Depth => f.write_str("a smaller depth, or a q8_0 cache"),
            Self::Tokens => f.write_str("fewer tokens, or a q8_0 cache"),
            Self::Sequences(sequences) => write!(f, "at most {}", counted(*sequences, "sequence")),
        }
    }
}

impl Hinted for NoRoom {
    fn hint(&self) -> Option<String> {
        Some(self.smaller.to_string())
    }

    fn is_wrong_call(&self) -> bool {
        matches!(self.smaller, Smaller::Context { .. })
    }
}

impl Work {
    /// Checks that the positions of a sequence are within the model's context.
    ///
    /// # Errors
    /// The positions exceed the context. [`NoRoom::smaller`] has the largest possible values.
    pub fn check_context(&self, context: usize) -> Result<(), NoRoom> {
        let positions = self.positions();
        if positions <= context {
            return Ok(());
        }
        let longest = self.prompt_tokens.max(self.generate_tokens);
        let smaller = Smaller::Context {
            depth: (self.depth > 0).then_some(context.saturating_sub(longest)),
            prompt_tokens: (self.prompt_tokens > context).then_some(context),
            generate_tokens: (self.generate_tokens > context).then_some(context),
        };
        let message = match self.depth {
            0 => format!("{longest} tokens are more than the model's context of {context}"),
            depth => format!(
                "a depth of {depth} and {} are {positions} positions, the model's context is {context}",
                counted(longest, "token")
            ),
        };
        Err(NoRoom { message, smaller })
    }

    /// Checks that the memory to be allocated on the host is at most `available` bytes, if that is known.
    ///
    /// # Errors
    /// The host needs more memory. [`NoRoom::smaller`] says what needs less.
    pub fn check_memory(&self, needed: HostMemory, available: Option<u64>) -> Result<(), NoRoom> {
        let Some(available) = available.filter(|available| needed.total() > *available) else {
            return Ok(());
        };
        let copies = match needed.copies {
            0 => String::new(),
            copies => format!(" and {} of rounded weights", HumanBytes(copies)),
        };
        let message = format!(
            "{} of keys and values{copies} are more than the {} of memory that can be had",
            HumanBytes(needed.cache),
            HumanBytes(available),
        );
        let of_one = needed.cache / self.sequences.max(1) as u64;
        let smaller = match available.saturating_sub(needed.copies) / of_one.max(1) {
            _ if needed.copies > available => Smaller::WeightsAsStored,
            0 if self.depth > 0 => Smaller::Depth,
            0 => Smaller::Tokens,
            sequences => Smaller::Sequences(usize::try_from(sequences).unwrap_or(usize::MAX)),
        };
        Err(NoRoom { message, smaller })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_and_copies_have_room_in_memory() {
        let check = |sequences, depth, cache, copies, available| {
            let work = Work { prompt_tokens: 1, generate_tokens: 1, depth, sequences };
            let error = work.check_memory(HostMemory { cache, copies }, available).err()?;
            Some((error.to_string(), error.smaller))
        };
        let (free, cache) = (Some(1 << 20), 32 << 20);
        assert_eq!(check(4, 9, cache, 0, None), None);
        assert_eq!(check(4, 9, 1 << 20, 0, free), None);
        let is = |found: Option<(String, Smaller)>, error: &str, smaller: Smaller| {
            assert_eq!(found, Some((error.into(), smaller)));
        };
        let both = "768.00 KiB of keys and values and 512.00 KiB of rounded weights are more than the 1.00 MiB of memory \
                    that can be had";
        is(check(3, 9, 768 << 10, 512 << 10, free), both, Smaller::Sequences(2));
        let keys = "32.00 MiB of keys and values are more than the 1.00 MiB of memory that can be had";
        is(check(4, 9, cache, 0, free), keys, Smaller::Depth);
        is(check(1, 0, cache, 0, free), keys, Smaller::Tokens);
        let copies = "0 B of keys and values and 2.00 MiB of rounded weights are more than the 1.00 MiB of memory that can be had";
        is(check(1, 0, 0, 2 << 20, free), copies, Smaller::WeightsAsStored);
    }
}
