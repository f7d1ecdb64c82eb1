//! The names of schemes that a user can request.

use super::WRITTEN;
use crate::quant::Scheme;

/// Returns the scheme with this name, ignoring case. It also accepts llama.cpp's names of mixes: `Q4_K_M`.
pub fn named(name: &str) -> Option<Scheme> {
    let called = |scheme: &Scheme| {
        let mix = mix_in_llama_cpp(*scheme);
        name.eq_ignore_ascii_case(scheme.name()) || mix.is_some_and(|mix| name.eq_ignore_ascii_case(mix))
    };
    WRITTEN.into_iter().find(called)
}

/// Returns the scheme with exactly the name that mist writes: `q4_k`, but not `Q4_K` or `Q4_K_M`.
pub fn own(name: &str) -> Option<Scheme> {
    WRITTEN.into_iter().find(|scheme| scheme.name() == name)
}

/// Returns llama.cpp's name of a scheme's mix, such as `Q4_K_M`. `None` if the mix has the name of the scheme.
pub fn mix_in_llama_cpp(scheme: Scheme) -> Option<&'static str> {
    match scheme {
        Scheme::Q4K => Some("q4_k_m"),
        Scheme::Q5K => Some("q5_k_m"),
        _ => None,
    }
}
