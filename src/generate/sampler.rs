//! Chooses the next token from the logits.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::kernels::pointwise::softmax;
use crate::system::hinted::Hinted;

/// Parameters of sampling. The filters apply in this order: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keeps only the k most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps only the most likely tokens whose probabilities, after top-k, add up to p; 1 keeps all.
    pub top_p: f32,
    /// Keeps only tokens with at least this fraction of the most likely token's probability; 0 keeps all.
    pub min_p: f32,
    /// Divides positive logits of tokens that occurred, and multiplies negative ones (Keskar et al. 2019); 1 for none.
    pub repeat_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.8, top_k: 50, top_p: 1.0, min_p: 0.0, repeat_penalty: 1.0 }
    }
}

/// Sampling parameters that a model's publishers suggest, each optional. They are not checked.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Suggested {
    pub temperature: Option<f64>,
    pub top_k: Option<f64>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub repeat_penalty: Option<f64>,
}

/// A value is out of range, or logits are not numbers.
#[derive(Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)]
pub enum SamplingError {
    #[error("{name} is {value}, it must be {range}")]
    OutOfRange { name: String, value: String, range: &'static str },
    #[error(
        "the model gave logits that are not numbers: its weights are damaged, or a type is too small for what it computes"
    )]
    NotNumbers,
}

impl Sampling {
    /// Returns parameters that always take the most likely token.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Replaces values with the suggested ones. Returns the result, and an error for each suggestion that is out of
    /// range.
    pub fn as_suggested(self, suggested: &Suggested) -> (Self, Vec<SamplingError>) {
        let (mut sampling, mut impossible) = (self, Vec::new());
        let mut take = |value: Option<f64>, set: &dyn Fn(&mut Self, f64) -> Result<(), SamplingError>| {
            let Some(value) = value else { return };
            let mut changed = sampling.clone();
            match set(&mut changed, value).and_then(|()| changed.check()) {
                Ok(()) => sampling = changed,
                Err(error) => impossible.push(error.of(value)),
            }
        };
        let plainly = |set: fn(&mut Self) -> &mut f32| {
            move |sampling: &mut Self, value: f64| {
                *set(sampling) = value as f32;
                Ok(())
            }
        };
        take(suggested.temperature, &plainly(|s| &mut s.temperature));
        take(suggested.top_k, &|sampling, value| {
            let is_large = value > f64::from(u32::MAX);
            if value.fract() == 0.0 && value >= 0.0 && !is_large {
                sampling.top_k = value as usize;
                return Ok(());
            }
            let range =
                if is_large { "a whole number from 0 to 4294967295" } else { "a whole number, 0 or more" };
            Err(SamplingError::OutOfRange { name: "top_k".into(), value: number(value), range })
        });
        take(suggested.top_p, &plainly(|s| &mut s.top_p));
        take(suggested.min_p, &plainly(|s| &mut s.min_p));
        take(suggested.repeat_penalty, &plainly(|s| &mut s.repeat_penalty));
        (sampling, impossible)
    }

    /// Returns the parameters for JSON output.
    pub fn as_json(&self) -> Value {
        let Sampling { temperature, top_k, top_p, min_p, repeat_penalty } = self;
        // Goes through text, so that 0.2 is not printed as 0.20000000298.
        let number = |value: &f32| value.to_string().parse::<f64>().unwrap_or_else(|_| f64::from(*value));
        json!({
            "temperature": number(temperature),
            "top_k": top_k,
            "top_p": number(top_p),
            "min_p": number(min_p),
            "repeat_penalty": number(repeat_penalty),
        })
    }

    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// The first value that is out of range, by the name of its field.
    pub fn check(&self) -> Result<(), SamplingError> {
        let checks = [
            ("temperature", self.temperature, self.temperature >= 0.0, "0 or more"),
            ("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0, at most 1"),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "from 0 to 1"),
            ("repeat_penalty", self.repeat_penalty, self.repeat_penalty > 0.0, "above 0"),
        ];
        for (name, value, ok, range) in checks {
            if !ok || !value.is_finite() {
                let range = if ok { "at most 3.4e38" } else { range };
                return Err(SamplingError::OutOfRange { name: name.into(), value: value.to_string(), range });
            }
        }
        Ok(())
    }
}

impl SamplingError {
    /// Replaces the name of the value with the name in its source; `name` gets the field's name.
    pub fn called(self, name: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::OutOfRange { name: field, value, range } => {
                Self::OutOfRange { name: name(&field), value, range }
            }
            other => other,
        }
    }

    /// Replaces the value with the number found in a file, which may underflow in 32 bits.
    fn of(self, found: f64) -> Self {
        match self {
            Self::OutOfRange { name, range, .. } => {
                let vanishes = found > 0.0 && found as f32 == 0.0;
                let range = if vanishes { "at least 1.4e-45" } else { range };
                Self::OutOfRange { name, value: number(found), range }
            }
            other => other,
        }
    }
}

impl Hinted for SamplingError {
    fn hint(&self) -> Option<String> {
        None
    }

    fn is_wrong_call(&self) -> bool {
        matches!(self, Self::OutOfRange { .. })
    }
}

/// Formats a number as files write it: 1e308 and not its 309 digits.
fn number(value: f64) -> String {
    let is_usual = value == 0.0 || (1e-5..1e16).contains(&value.abs()) || !value.is_finite();
    if is_usual { value.to_string() } else { format!("{value:e}") }
}

/// Chooses tokens. The same seed makes the same choices from the same logits.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    /// Candidates of the last choice; kept to reuse the allocation.
    candidates: Vec<(u32, f32)>,
    /// Probabilities of the candidates, in their order.
    probabilities: Vec<f32>,
    /// Whether each token occurred; kept to reuse the allocation.
    occurred: Vec<bool>,
}

impl Sampler {
    /// Creates a sampler after checking the values.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn new(sampling: Sampling, seed: u64) -> Result<Self, SamplingError> {
        sampling.check()?;
        let random = ChaCha8Rng::seed_from_u64(seed);
        let (candidates, probabilities, occurred) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { sampling, random, candidates, probabilities, occurred })
    }

    /// Replaces the parameters. The random number generator continues.
    ///
    /// # Errors
    /// A value is out of its range; nothing is changed.
    pub fn set(&mut self, sampling: Sampling) -> Result<(), SamplingError> {
        sampling.check()?;
        self.sampling = sampling;
        Ok(())
    }

    /// Chooses the token that follows `seen`, all ids of the sequence so far.
    ///
    /// # Errors
    /// No logit is a number above minus infinity, or the largest is infinite.
    pub fn choose(&mut self, logits: &mut [f32], seen: &[u32]) -> Result<u32, SamplingError> {
        self.penalise(logits, seen);
        let most_likely = most_likely(logits).ok_or(SamplingError::NotNumbers)?;
        if self.sampling.temperature == 0.0 || self.sampling.top_k == 1 {
            return Ok(most_likely as u32);
        }
        self.rank(logits);
        let largest = logits[most_likely];
        self.probabilities.clear();
        // The largest logit is subtracted first: dividing by a tiny temperature could give infinity.
        let scaled = self.candidates.iter().map(|(_, logit)| (logit - largest) / self.sampling.temperature);
        self.probabilities.extend(scaled);
        softmax(&mut self.probabilities);
        let kept = self.kept();
        let sum: f64 = self.probabilities[..kept].iter().map(|p| f64::from(*p)).sum();
        let mut rest = self.random.random::<f64>() * sum;
        for ((id, _), probability) in self.candidates[..kept].iter().zip(&self.probabilities) {
            rest -= f64::from(*probability);
            if rest < 0.0 {
                return Ok(*id);
            }
        }
        Ok(self.candidates[kept - 1].0)
    }

    fn penalise(&mut self, logits: &mut [f32], seen: &[u32]) {
        let penalty = self.sampling.repeat_penalty;
        if penalty == 1.0 {
            return;
        }
        self.occurred.clear();
        self.occurred.resize(logits.len(), false);
        for id in seen {
            if let Some(occurred) = self.occurred.get_mut(*id as usize) {
                *occurred = true;
            }
        }
        for (logit, _) in logits.iter_mut().zip(&self.occurred).filter(|(_, occurred)| **occurred) {
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
        }
    }

    /// Collects the candidates, only the first k if top-k is on. Sorts them by descending logit, equal logits by id,
    /// unless no filter is on: the order then does not matter, and sorting the whole vocabulary is avoided.
    fn rank(&mut self, logits: &[f32]) {
        let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let candidates = &mut self.candidates;
        candidates.clear();
        let numbers = logits.iter().enumerate().filter(|(_, logit)| !logit.is_nan());
        candidates.extend(numbers.map(|(id, logit)| (id as u32, *logit)));
        let k = self.sampling.top_k;
        if k > 0 && k < candidates.len() {
            candidates.select_nth_unstable_by(k - 1, order);
            candidates.truncate(k);
        }
        if k > 0 || self.sampling.top_p < 1.0 || self.sampling.min_p > 0.0 {
            candidates.sort_unstable_by(order);
        }
    }

    /// Returns how many of the ranked candidates top-p and min-p keep: at least one.
    fn kept(&self) -> usize {
        let mut kept = self.probabilities.len();
        if self.sampling.top_p < 1.0 {
            let mut sum = 0.0;
            let reached = |probability: &f32| {
                sum += probability;
                sum >= self.sampling.top_p
            };
            kept = self.probabilities.iter().position(reached).map_or(kept, |last| last + 1);
        }
        if self.sampling.min_p > 0.0 {
            let least = self.probabilities[0] * self.sampling.min_p;
            kept = self.probabilities[..kept].iter().take_while(|p| **p >= least).count();
        }
        kept.max(1)
    }
}

/// Returns the index of the largest logit, the first of equal ones; `None` if no logit is above minus infinity, or if
/// the largest is infinite.
fn most_likely(logits: &[f32]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (i, logit) in logits.iter().enumerate() {
        if *logit > best.map_or(f32::NEG_INFINITY, |b| logits[b]) {
            best = Some(i);
        }
    }
    best.filter(|b| logits[*b].is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how often each of 4 tokens with probabilities 0.5, 0.3, 0.15, 0.05 is chosen in 20,000 draws.
    fn frequencies(sampling: Sampling) -> [f64; 4] {
        let logits = [0.5f32, 0.3, 0.15, 0.05].map(f32::ln);
        let mut sampler = Sampler::new(sampling, 7).unwrap();
        let mut counts = [0.0; 4];
        for _ in 0..20_000 {
            counts[sampler.choose(&mut logits.clone(), &[]).unwrap() as usize] += 1.0 / 20_000.0;
        }
        counts
    }

    #[track_caller]
    fn assert_near(found: [f64; 4], expected: [f64; 4]) {
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 0.015, "{found:?} {expected:?}");
        }
    }

    fn plain() -> Sampling {
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, repeat_penalty: 1.0 }
    }

    #[test]
    fn draws_follow_the_probabilities() {
        assert_near(frequencies(plain()), [0.5, 0.3, 0.15, 0.05]);
    }

    #[test]
    fn each_filter_keeps_what_it_says_and_renormalises() {
        assert_near(frequencies(Sampling { top_k: 2, ..plain() }), [0.625, 0.375, 0.0, 0.0]);
        assert_near(frequencies(Sampling { top_p: 0.9, ..plain() }), [0.526, 0.316, 0.158, 0.0]);
        assert_near(frequencies(Sampling { min_p: 0.25, ..plain() }), [0.526, 0.316, 0.158, 0.0]);
        // top-p counts probabilities after top-k: 0.625 alone reaches 0.6.
        assert_near(frequencies(Sampling { top_k: 2, top_p: 0.6, ..plain() }), [1.0, 0.0, 0.0, 0.0]);
        let sharper = [0.5f64, 0.3, 0.15, 0.05].map(|p| p * p / 0.365);
        assert_near(frequencies(Sampling { temperature: 0.5, ..plain() }), sharper);
    }

    #[test]
    fn greedy_takes_the_first_of_equal_logits() {
        let mut sampler = Sampler::new(Sampling { temperature: 0.0, ..plain() }, 0).unwrap();
        assert_eq!(sampler.choose(&mut [1.0, 3.0, 3.0, f32::NAN], &[]), Ok(1));
        assert_eq!(sampler.choose(&mut [f32::NAN; 3], &[]), Err(SamplingError::NotNumbers));
        assert_eq!(sampler.choose(&mut [], &[]), Err(SamplingError::NotNumbers));
    }

    #[test]
    fn a_tiny_temperature_is_greedy_and_never_fails() {
        let mut sampler = Sampler::new(Sampling { temperature: 1e-30, ..plain() }, 0).unwrap();
        assert_eq!(sampler.choose(&mut [50.0, 51.0, 3.0], &[]), Ok(1));
    }

    #[test]
    fn the_penalty_weakens_what_occurred_once() {
        let mut sampler =
            Sampler::new(Sampling { temperature: 0.0, repeat_penalty: 2.0, ..plain() }, 0).unwrap();
        let mut logits = [4.0, 3.0, -1.0];
        assert_eq!(sampler.choose(&mut logits, &[0, 0, 2, 99]), Ok(1));
        assert_eq!(logits, [2.0, 3.0, -2.0]);
    }

    #[test]
    fn suggestions_count_each_by_itself_and_only_where_they_can() {
        let suggested =
            |temperature, top_k, top_p| Suggested { temperature, top_k, top_p, ..Suggested::default() };
        let (all, wrong) = plain().as_suggested(&suggested(Some(0.6), Some(20.0), Some(0.95)));
        assert_eq!((all, wrong.len()), (Sampling { temperature: 0.6, top_k: 20, top_p: 0.95, ..plain() }, 0));
        assert_eq!(plain().as_suggested(&Suggested::default()), (plain(), Vec::new()));
        let (some, wrong) = plain().as_suggested(&suggested(Some(-1.0), Some(-1.0), Some(0.5)));
        assert_eq!(some, Sampling { top_p: 0.5, ..plain() });
        let texts = wrong.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts[0], "temperature is -1, it must be 0 or more");
        assert_eq!(texts[1], "top_k is -1, it must be a whole number, 0 or more");
        for odd in [f64::NAN, f64::INFINITY, 1.5, 1e10] {
            assert_eq!(plain().as_suggested(&suggested(None, Some(odd), None)).1.len(), 1);
        }
        assert_eq!(plain().as_suggested(&suggested(Some(1e300), None, None)).1.len(), 1);
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (sampling, name) in [
            (Sampling { temperature: -1.0, ..plain() }, "temperature"),
            (Sampling { temperature: f32::NAN, ..plain() }, "temperature"),
            (Sampling { top_p: 0.0, ..plain() }, "top_p"),
            (Sampling { min_p: 1.5, ..plain() }, "min_p"),
            (Sampling { repeat_penalty: 0.0, ..plain() }, "repeat_penalty"),
        ] {
            assert!(sampling.check().unwrap_err().to_string().starts_with(name));
        }
    }
}
