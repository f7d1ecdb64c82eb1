//! The choice of weights to run: as published, or a conversion.

use super::error::Error;
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::open::Checkpoint;
use crate::quant::Scheme;
use crate::quant::quantize::names;

/// The choice of weights to run. The default, without a choice, is a conversion in the model's folder, else the weights as
/// published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantize {
    /// The weights as published, even if there is a conversion beside them.
    None,
    /// The conversion to this scheme, which is made and kept if it does not exist.
    To(Scheme),
}

impl Quantize {
    /// The name of the weights as published.
    pub const NONE: &str = crate::store::NONE;

    /// Returns the choice with this name, ignoring case; `None` for an unknown name.
    pub fn named(name: &str) -> Option<Self> {
        match names::named(name) {
            None if name.eq_ignore_ascii_case(Self::NONE) => Some(Self::None),
            scheme => scheme.map(Self::To),
        }
    }

    /// Returns the name that selects the weights of `checkpoint` again, which was opened with `asked`.
    ///
    /// `none` stands for the weights as published, a scheme for its conversion. `None` means that no name selects this
    /// conversion, only the path of its folder.
    pub fn again(asked: Option<Self>, checkpoint: &Checkpoint) -> Option<&'static str> {
        match (asked, &checkpoint.provenance) {
            (Some(Self::To(scheme)), _) => Some(scheme.name()),
            (Some(Self::None), _) | (None, None) => Some(Self::NONE),
            (None, Some(provenance)) => match provenance.roundings.as_slice() {
                [Rounding { dense: None, quantize: Some(scheme), pure: false }] => Some(scheme.name()),
                _ => None,
            },
        }
    }

    /// Returns the scheme to quantize to, if there is one.
    pub fn scheme(self) -> Option<Scheme> {
        match self {
            Self::None => None,
            Self::To(scheme) => Some(scheme),
        }
    }
}

impl From<Scheme> for Quantize {
    fn from(scheme: Scheme) -> Self {
        Self::To(scheme)
    }
}

/// Returns the choice of a setting or of a model's name.
///
/// # Errors
/// Both make a choice, and the choices differ ([`Error::TwoSchemes`]).
pub fn one_of<T: PartialEq>(setting: Option<T>, name: Option<T>) -> Result<Option<T>, Error> {
    match (setting, name) {
        (Some(setting), Some(name)) if setting != name => Err(Error::TwoSchemes),
        (setting, name) => Ok(setting.or(name)),
    }
}
