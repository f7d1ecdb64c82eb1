//! The names by which a person asks for a scheme.

use super::WRITTEN;
use crate::quant::Scheme;

/// The scheme of a name, in any case. A mix is also found by its name in llama.cpp, such as `Q4_K_M`.
pub fn named(name: &str) -> Option<Scheme> {
    let called = |scheme: &Scheme| {
        let mix = mix_in_llama_cpp(*scheme);
        name.eq_ignore_ascii_case(scheme.name()) || mix.is_some_and(|mix| name.eq_ignore_ascii_case(mix))
    };
    WRITTEN.into_iter().find(called)
}

/// The scheme of this name as mist itself writes it: `q4_k`, and neither `Q4_K` nor `Q4_K_M`.
pub fn own(name: &str) -> Option<Scheme> {
    WRITTEN.into_iter().find(|scheme| scheme.name() == name)
}

/// The name in llama.cpp of a scheme's mix, where that is not the scheme's own.
pub fn mix_in_llama_cpp(scheme: Scheme) -> Option<&'static str> {
    match scheme {
        Scheme::Q4K => Some("q4_k_m"),
        Scheme::Q5K => Some("q5_k_m"),
        _ => None,
    }
}
