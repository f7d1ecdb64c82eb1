//! The searches of `affine` and `symmetric` without lanes, a group at a time and a weight at a time, as the weights that
//! a block of them decodes to.

use half::f16;

use super::groups::nearest;

/// What a search finds for a group.
struct Group {
    levels: Vec<f32>,
    scale: f32,
    low: f32,
}

/// The weights of a q4_k block (`top` 15, ranges from -1, 21 of them), or a q5_k block (31, -0.5, 16).
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
        let level =
            if scale > 0.0 { nearest((x + low) / scale, 0.0, top) } else { groups[i / 32].levels[i % 32] };
        scale * level - low
    };
    x.iter().enumerate().map(weight).collect()
}

/// The weights of a q6_k block.
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
        return Group { levels: vec![0.0; x.len()], scale: 0.0, low };
    }
    let counted = |inverse: f32, low: f32| -> Vec<f32> {
        x.iter().map(|x| nearest(inverse * (x - low), 0.0, top)).collect()
    };
    let error = |scale: f32, low: f32, levels: &[f32]| {
        let error = |(level, x): (&f32, &f32)| scale * level + low - x;
        let errors = levels.iter().zip(x).map(error);
        errors.zip(&importance).fold(0.0, |sum, (error, w)| sum + w * (error * error))
    };
    let inverse = top / (high - low);
    let mut scale = 1.0 / inverse;
    let mut levels = counted(inverse, low);
    let mut least = error(scale, low, &levels);
    for range in 0..ranges {
        let attempt = counted((first + 0.1 * f32::from(range) + top) / (high - low), low);
        let (mut sum, mut squares, mut products) = (0.0, 0.0, 0.0);
        for ((level, w), x) in attempt.iter().zip(&importance).zip(x) {
            sum += w * level;
            squares += w * level * level;
            products += w * level * x;
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
            (least, scale, low, levels) = (left, fitted, fitted_low, attempt);
        }
    }
    Group { levels, scale, low }
}

fn scale(x: &[f32]) -> Group {
    let extreme = x.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most });
    if extreme.abs() < 1e-15 {
        return Group { levels: vec![-32.0; x.len()], scale: 0.0, low: 0.0 };
    }
    let mut best = Group { levels: Vec::new(), scale: 0.0, low: 0.0 };
    let mut gain = f32::NEG_INFINITY;
    // The middle one first, as it stands between equals.
    for attempt in [0i8].into_iter().chain(-9..=-1).chain(1..=9) {
        let inverse = -(32.0 + 0.1 * f32::from(attempt)) / extreme;
        let levels: Vec<f32> = x.iter().map(|x| nearest(inverse * x, -32.0, 31.0)).collect();
        let (mut products, mut squares) = (0.0, 0.0);
        for (level, x) in levels.iter().zip(x) {
            products += x * x * x * level;
            squares += x * x * level * level;
        }
        let fitted = if squares > 0.0 { products / squares } else { 0.0 };
        if attempt == 0 || squares > 0.0 && products * products > gain * squares {
            gain = fitted * products;
            best = Group { levels, scale: fitted, low: 0.0 };
        }
    }
    best
}
