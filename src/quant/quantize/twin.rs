//! The searches of `affine` and `symmetric` without lanes, one group and one weight at a time. They return the
//! weights that the block decodes to.

use half::f16;

use super::groups::nearest;

/// The result of a search for one group.
struct Group {
    quants: Vec<f32>,
    scale: f32,
    low: f32,
}

/// Returns the decoded weights of a q4_k block (`top` 15, 21 `ranges` from `first` = -1) or a q5_k block (31, 16,
/// -0.5).
pub fn affine(x: &[f32], top: f32, first: f32, ranges: u8) -> Vec<f32> {
    let groups: Vec<Group> = x.chunks(32).map(|x| line(x, top, first, ranges)).collect();
    let stored = |of: &dyn Fn(&Group) -> f32| -> Vec<f32> {
        let most = groups.iter().map(of).fold(0.0, f32::max);
        let (unit, inverse) =
            (f16::from_f32(most / 63.0).to_f32(), if most > 0.0 { 63.0 / most } else { 0.0 });
        groups.iter().map(|group| unit * nearest(of(group) * inverse, 0.0, 63.0)).collect()
    };
    let (scales, lows) = (stored(&|group| group.scale), stored(&|group| -group.low));
    let weight = |(i, x): (usize, &f32)| {
        let (scale, low) = (scales[i / 32], lows[i / 32]);
        let quant =
            if scale > 0.0 { nearest((x + low) / scale, 0.0, top) } else { groups[i / 32].quants[i % 32] };
        scale * quant - low
    };
    x.iter().enumerate().map(weight).collect()
}

/// Returns the decoded weights of a q6_k block.
pub fn symmetric(x: &[f32]) -> Vec<f32> {
    let groups: Vec<Group> = x.chunks(16).map(scale).collect();
    let most =
        groups.iter().map(|g| g.scale).fold(0.0, |most: f32, x| if x.abs() > most.abs() { x } else { most });
    if most.abs() < 1e-15 {
        return vec![0.0; x.len()];
    }
    let inverse = -128.0 / most;
    let unit = f16::from_f32(1.0 / inverse).to_f32();
    let weight = |(i, x): (usize, &f32)| {
        let scale = unit * nearest(groups[i / 16].scale * inverse, -128.0, 127.0);
        if scale == 0.0 { 0.0 } else { scale * nearest(x / scale, -32.0, 31.0) }
    };
    x.iter().enumerate().map(weight).collect()
}

fn line(x: &[f32], top: f32, first: f32, ranges: u8) -> Group {
    let typical = (x.iter().map(|x| x * x).fold(0.0, |sum, x| sum + x) / x.len() as f32).sqrt();
    let importance: Vec<f32> = x.iter().map(|x| typical + x.abs()).collect();
    let total = importance.iter().fold(0.0, |sum, w| sum + w);
    let product = importance.iter().zip(x).fold(0.0, |sum, (w, x)| sum + w * x);
    let high = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut low = x.iter().copied().fold(0.0, f32::min);
    if high == low {
        return Group { quants: vec![0.0; x.len()], scale: 0.0, low };
    }
    let counted = |inverse: f32, low: f32| -> Vec<f32> {
        x.iter().map(|x| nearest(inverse * (x - low), 0.0, top)).collect()
    };
    let error = |scale: f32, low: f32, quants: &[f32]| {
        let error = |(quant, x): (&f32, &f32)| scale * quant + low - x;
        let errors = quants.iter().zip(x).map(error);
        errors.zip(&importance).fold(0.0, |sum, (error, w)| sum + w * (error * error))
    };
    let inverse = top / (high - low);
    let mut scale = 1.0 / inverse;
    let mut quants = counted(inverse, low);
    let mut least = error(scale, low, &quants);
    for range in 0..ranges {
        let attempt = counted((first + 0.1 * f32::from(range) + top) / (high - low), low);
        let (mut sum, mut squares, mut products) = (0.0, 0.0, 0.0);
        for ((quant, w), x) in attempt.iter().zip(&importance).zip(x) {
            sum += w * quant;
            squares += w * quant * quant;
            products += w * quant * x;
        }
        let determinant = total * squares - sum * sum;
        if determinant <= 0.0 {
            continue;
        }
        let mut fitted = (total * products - product * sum) / determinant;
        let mut fitted_low = (squares * product - sum * products) / determinant;
        if fitted_low > 0.0 {
            (fitted, fitted_low) = (products / squares, 0.0);
        }
        let left = error(fitted, fitted_low, &attempt);
        if left < least {
            (least, scale, low, quants) = (left, fitted, fitted_low, attempt);
        }
    }
    Group { quants, scale, low }
}

fn scale(x: &[f32]) -> Group {
    let extreme = x.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most });
    if extreme.abs() < 1e-15 {
        return Group { quants: vec![-32.0; x.len()], scale: 0.0, low: 0.0 };
    }
    let mut best = Group { quants: Vec::new(), scale: 0.0, low: 0.0 };
    let mut gain = f32::NEG_INFINITY;
    // The middle attempt comes first, because it wins ties.
    for attempt in [0i8].into_iter().chain(-9..=-1).chain(1..=9) {
        let inverse = -(32.0 + 0.1 * f32::from(attempt)) / extreme;
        let quants: Vec<f32> = x.iter().map(|x| nearest(inverse * x, -32.0, 31.0)).collect();
        let (mut products, mut squares) = (0.0, 0.0);
        for (quant, x) in quants.iter().zip(x) {
            products += x * x * x * quant;
            squares += x * x * quant * quant;
        }
        let fitted = if squares > 0.0 { products / squares } else { 0.0 };
        if attempt == 0 || squares > 0.0 && products * products > gain * squares {
            gain = fitted * products;
            best = Group { quants, scale: fitted, low: 0.0 };
        }
    }
    best
}
