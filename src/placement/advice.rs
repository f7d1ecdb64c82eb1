//! What would fit where a model does not.

use indicatif::HumanBytes;

use super::{DeviceName, Error, Needs, Place, Plan};
use crate::checkpoint::open::Checkpoint;
use crate::quant::Scheme;

/// Schemes to try, largest first.
const SCHEMES: [Scheme; 4] = [Scheme::Q8_0, Scheme::Q6K, Scheme::Q5K, Scheme::Q4K];

/// The plan of `make`, or its error with what would fit: another split, fewer tokens (but at least `fewest`, which the
/// prompt takes), a quantization, more devices.
///
/// # Errors
/// Those of `make`, which is [`Plan::fit`] or [`Plan::split`].
pub fn advised(
    checkpoint: &Checkpoint,
    needs: &Needs,
    places: &[Place],
    fewest: usize,
    make: impl Fn(&Needs) -> Result<Plan, Error>,
) -> Result<Plan, Error> {
    let mut error = match make(needs) {
        Err(error) => error,
        made => return made,
    };
    if let Error::DoesNotFit { fits, .. } = &mut error {
        *fits = match Plan::fit(needs, places) {
            Ok(_) => vec!["another split, as there is without --split".into()],
            Err(_) => [
                fewer_tokens(needs, fewest, &make).map(|tokens| format!("--context-length {tokens}")),
                quantization(checkpoint, needs, places, &make).map(|scheme| format!("--quantize {scheme}")),
                more_devices(needs, places),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
    }
    Err(error)
}

/// The most positions that fit; the fewer there are, the less is needed.
fn fewer_tokens(needs: &Needs, fewest: usize, make: impl Fn(&Needs) -> Result<Plan, Error>) -> Option<usize> {
    let fit = most_slots(0, needs.slots, |slots| make(&Needs { slots, ..needs.clone() }).is_ok());
    (fit >= fewest).then_some(fit)
}

/// The most slots that fit, from `fit` on, which do, and below `too_many`, which do not.
pub fn most_slots(mut fit: usize, mut too_many: usize, fits: impl Fn(usize) -> bool) -> usize {
    while too_many - fit > 1 {
        let middle = fit.midpoint(too_many);
        match fits(middle) {
            true => fit = middle,
            false => too_many = middle,
        }
    }
    fit
}

/// The largest scheme that fits. On accelerators weights are dense, whatever they are on disk.
fn quantization(
    checkpoint: &Checkpoint,
    needs: &Needs,
    places: &[Place],
    make: impl Fn(&Needs) -> Result<Plan, Error>,
) -> Option<Scheme> {
    if places.iter().all(|place| place.device != DeviceName::Cpu) {
        return None;
    }
    let fits =
        |scheme: &Scheme| needs.quantized(checkpoint, *scheme).is_some_and(|needs| make(&needs).is_ok());
    SCHEMES.into_iter().find(fits)
}

/// How many more devices like the last one would do.
fn more_devices(needs: &Needs, places: &[Place]) -> Option<String> {
    let last = *places.last()?;
    let memory = last.memory?;
    let with = |more: &usize| [places, &vec![last; *more]].concat();
    let more = (1..=needs.layers().saturating_sub(places.len()))
        .find(|more| Plan::fit(needs, &with(more)).is_ok())?;
    let devices = if more == 1 { "one more device".into() } else { format!("{more} more devices") };
    Some(format!("{devices} of {}", HumanBytes(memory)))
}
