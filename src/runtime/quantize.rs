//! Which weights run: as published, or a conversion.

use super::error::Error;
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::open::Checkpoint;
use crate::quant::Scheme;
use crate::quant::quantize::names;

/// Which weights of a model run. Without it a conversion that lies in the model's folder, else the weights as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantize {
    /// The weights as published, whatever was converted beside them.
    None,
    /// The conversion to this scheme, which is made and kept if it is not there.
    To(Scheme),
}

impl Quantize {
    /// What stands for the weights as published.
    pub const NONE: &str = crate::store::NONE;

    /// What a name asks for, in any case; `None` for one that is no scheme's.
    pub fn named(name: &str) -> Option<Self> {
        match names::named(name) {
            None if name.eq_ignore_ascii_case(Self::NONE) => Some(Self::None),
            scheme => scheme.map(Self::To),
        }
    }

    /// Returns the name of what runs the weights of `checkpoint` again, which was opened with `asked`: `none` for weights as
    /// published, a scheme for a conversion, or `None` where only the conversion's own folder leads to it.
    pub fn again(asked: Option<Self>, checkpoint: &Checkpoint) -> Option<&'static str> {
        match (asked, &checkpoint.origin) {
            (Some(Self::To(scheme)), _) => Some(scheme.name()),
            (Some(Self::None), _) | (None, None) => Some(Self::NONE),
            (None, Some(origin)) => match origin.roundings.as_slice() {
                [Rounding { dense: None, quantize: Some(scheme), pure: false }] => Some(scheme.name()),
                _ => None,
            },
        }
    }

    /// The scheme, if it is one.
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

/// What a setting or a model's name asks for.
///
/// # Errors
/// [`Error::TwoSchemes`]: both ask, and for two.
pub fn one_of<T: PartialEq>(setting: Option<T>, name: Option<T>) -> Result<Option<T>, Error> {
    match (setting, name) {
        (Some(setting), Some(name)) if setting != name => Err(Error::TwoSchemes),
        (setting, name) => Ok(setting.or(name)),
    }
}
