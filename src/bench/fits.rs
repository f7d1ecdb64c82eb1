//! Checks whether work fits into a model's context and into memory.

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
    hint: String,
    is_wrong_call: bool,
}

impl Hinted for NoRoom {
    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }

    fn is_wrong_call(&self) -> bool {
        self.is_wrong_call
    }
}

impl Work {
    /// Checks that the positions of a sequence are within the model's context.
    ///
    /// # Errors
    /// The positions exceed the context. The hint has the largest values for the flags of `mist bench`.
    pub fn check_context(&self, context: usize) -> Result<(), NoRoom> {
        let positions = self.positions();
        if positions <= context {
            return Ok(());
        }
        let longest = self.prompt_tokens.max(self.generate_tokens);
        let too_long = [("--prompt-tokens", self.prompt_tokens), ("--generate-tokens", self.generate_tokens)];
        let too_long = too_long.into_iter().filter(|(_, tokens)| *tokens > context);
        let shorter = too_long.map(|(flag, _)| format!(" {flag} {context}")).collect::<String>();
        let hint = match self.depth {
            0 => shorter.trim_start().to_string(),
            _ => format!("--depth {}{shorter}", context.saturating_sub(longest)),
        };
        let message = match self.depth {
            0 => format!("{longest} tokens are more than the model's context of {context}"),
            depth => format!(
                "a depth of {depth} and {} are {positions} positions, the model's context is {context}",
                counted(longest, "token")
            ),
        };
        Err(NoRoom { message, hint, is_wrong_call: true })
    }

    /// Checks that the memory to be allocated on the host is at most `available` bytes, if that is known.
    ///
    /// # Errors
    /// The host needs more memory. The hint has values for the flags of `mist bench` that need less.
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
        let hint = match available.saturating_sub(needed.copies) / of_one.max(1) {
            _ if needed.copies > available => "leave --dtype out".into(),
            0 if self.depth > 0 => "a smaller --depth, or --cache-dtype q8_0".into(),
            0 => "fewer --prompt-tokens and --generate-tokens, or --cache-dtype q8_0".into(),
            sequences => format!("--sequences {sequences}"),
        };
        Err(NoRoom { message, hint, is_wrong_call: false })
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
            Some((error.to_string(), error.hint()?))
        };
        let (free, cache) = (Some(1 << 20), 32 << 20);
        assert_eq!(check(4, 9, cache, 0, None), None);
        assert_eq!(check(4, 9, 1 << 20, 0, free), None);
        let is = |found: Option<(String, String)>, error: &str, hint: &str| {
            assert_eq!(found, Some((error.into(), hint.into())));
        };
        let both = "768.00 KiB of keys and values and 512.00 KiB of rounded weights are more than the 1.00 MiB of memory \
                    that can be had";
        is(check(3, 9, 768 << 10, 512 << 10, free), both, "--sequences 2");
        let keys = "32.00 MiB of keys and values are more than the 1.00 MiB of memory that can be had";
        is(check(4, 9, cache, 0, free), keys, "a smaller --depth, or --cache-dtype q8_0");
        is(
            check(1, 0, cache, 0, free),
            keys,
            "fewer --prompt-tokens and --generate-tokens, or --cache-dtype q8_0",
        );
        let copies = "0 B of keys and values and 2.00 MiB of rounded weights are more than the 1.00 MiB of memory that can be had";
        is(check(1, 0, 0, 2 << 20, free), copies, "leave --dtype out");
    }
}
