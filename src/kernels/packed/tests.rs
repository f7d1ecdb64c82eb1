use super::activations::Activations;
use super::product::multiply_with;
use super::*;
use crate::kernels::weight::Blocks;
use crate::kernels::{Layout, Matrix, layout::pack, matmul::matmul, pool};
use rand::{Rng, SeedableRng};

fn schemes() -> impl Iterator<Item = Scheme> {
    Scheme::all().filter(|scheme| activation_block(*scheme).is_some())
}

/// Rows of activations, rows and columns of weights: below, at and beyond a strip and a tile; columns of the schemes
/// with blocks of 256, and half as many plus 32 of the others.
const SIZES: [(usize, usize, usize); 6] =
    [(1, 1, 256), (1, 16, 512), (2, 15, 256), (3, 33, 1024), (31, 50, 256), (70, 47, 768)];

struct Case {
    scheme: Scheme,
    m: usize,
    n: usize,
    k: usize,
    x: Vec<f32>,
    plain: Vec<u8>,
}

/// Where a block's f16 numbers are.
fn scales_at(scheme: Scheme) -> &'static [usize] {
    match scheme {
        Scheme::Q4_0 | Scheme::Q5_0 | Scheme::Q8_0 => &[0],
        Scheme::Q6K => &[208],
        _ => &[0, 2],
    }
}

/// Every case.
fn cases() -> impl Iterator<Item = Case> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(9);
    let sizes = schemes().flat_map(|scheme| SIZES.map(|size| (scheme, size)));
    sizes.map(move |(scheme, (m, n, k))| {
        let k = if scheme.block_len() == 32 { k / 2 + 32 } else { k };
        Case::random(scheme, m, n, k, &mut rng)
    })
}

fn bits(product: &[f32]) -> Vec<u32> {
    product.iter().map(|y| y.to_bits()).collect()
}

impl Case {
    /// Random bytes as blocks: any are valid whose f16 numbers are.
    fn random(scheme: Scheme, m: usize, n: usize, k: usize, rng: &mut impl Rng) -> Self {
        let x = (0..m * k).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut plain: Vec<u8> = (0..scheme.row_bytes(k).unwrap() * n).map(|_| rng.random()).collect();
        for block in plain.chunks_exact_mut(scheme.block_bytes()) {
            for at in scales_at(scheme) {
                let scale = half::f16::from_f32(rng.random_range(-0.01..0.01));
                block[*at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
        Self { scheme, m, n, k, x, plain }
    }

    fn activations(&self) -> Activations {
        let mut x = Activations::default();
        x.fill(crate::kernels::cpu::level(), &self.x, self.k, activation_block(self.scheme).unwrap());
        x
    }

    fn matrix(&self, layout: Layout) -> Matrix {
        let bytes = match layout {
            Layout::Rows => self.plain.clone(),
            Layout::Strips => pack(self.scheme, self.n, self.k, &self.plain).unwrap(),
        };
        Matrix::laid(layout, self.scheme, self.n, self.k, bytes.into()).unwrap()
    }

    /// The product, which is the same bit for bit on every set that this processor runs and in either layout.
    fn product(&self) -> Vec<f32> {
        same_everywhere(&self.x, &[Layout::Rows, Layout::Strips].map(|layout| self.matrix(layout)))
    }
}

/// The product with matrices that are the same but for their layout.
fn same_everywhere(x: &[f32], matrices: &[Matrix]) -> Vec<f32> {
    let mut products =
        Level::available().flat_map(|level| matrices.iter().map(move |w| (level, w))).map(|(level, w)| {
            let mut out = vec![f32::NAN; x.len() / w.columns() * w.rows()];
            multiply_with(level, &mut [Product::new(x, w, Blocks::Integer, &mut out)]);
            out
        });
    let first = products.next().unwrap();
    assert!(products.all(|other| bits(&other) == bits(&first)), "{:?}", matrices[0].scheme());
    first
}

#[test]
fn is_the_portable_product_of_the_plain_rows_bit_for_bit() {
    for case in cases() {
        let (x, row_bytes) = (case.activations(), case.plain.len() / case.n);
        let out = case.product();
        for (column, plain) in case.plain.chunks_exact(row_bytes).enumerate() {
            let mut sums = vec![[0.0; ROWS]; case.m];
            portable::strip(Packed::new(case.scheme).unwrap(), plain, 1, &x, 0, &mut sums);
            for (row, sums) in sums.iter().enumerate() {
                let y = out[row * case.n + column];
                assert_eq!(sums[0].to_bits(), y.to_bits(), "{}", case.scheme);
            }
        }
    }
}

/// The twin in f32 has the same weights, so they differ by the activations' rounding: each is off by at most
/// half a step, the largest of its block / 254.
#[test]
fn is_the_f32_product_within_the_rounding_of_the_activations() {
    for case in cases() {
        let w = case.matrix(Layout::Rows);
        let (out, weights) = (case.product(), w.to_f32());
        let mut exact = vec![0.0; case.m * case.n];
        matmul(&case.x, &w, &mut exact);
        for (i, (y, exact)) in out.iter().zip(&exact).enumerate() {
            let weights = &weights[i % case.n * case.k..][..case.k];
            let bound: f32 = weights.iter().map(|w| w.abs() / 254.0).sum();
            assert!((y - exact).abs() <= bound * 1.001, "{} {y} {exact} {bound}", case.scheme);
        }
    }
}

/// Every number of rows has its own kernel, or its own last tile; so has an even and an odd number of strips, and what begins
/// anywhere in the rows.
#[test]
fn every_number_of_rows_and_strips_has_the_portable_sums_bit_for_bit() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(10);
    for scheme in schemes() {
        for m in (1..=40).chain([47, 64, 65, 130]) {
            // Of both widths of blocks more than one span, and part of one.
            let (k, first) = if scheme.block_len() == 32 { (608, m % 11) } else { (768, m % 3) };
            let case = Case::random(scheme, m, 3 * ROWS, k, &mut rng);
            let (x, blocks) = (case.activations(), k / scheme.block_len());
            let packed = pack(scheme, case.n, k, &case.plain).unwrap();
            let skipped = first * scheme.block_bytes() * ROWS;
            let strips: Vec<&[u8]> = packed.chunks(packed.len() / 3).map(|strip| &strip[skipped..]).collect();
            assert_eq!(strips[0].len() / (ROWS * scheme.block_bytes()), blocks - first);
            for count in 1..=3 {
                let sums = |level| {
                    // They are added to what is there.
                    let mut sums = vec![[0.25; ROWS]; count * m];
                    multiply_strips(
                        level,
                        Packed::new(scheme).unwrap(),
                        &strips[..count],
                        &x,
                        first,
                        &mut sums,
                    );
                    bits(sums.as_flattened())
                };
                let portable = sums(Level::Portable);
                for level in Level::available() {
                    assert!(sums(level) == portable, "{scheme} {} {m} rows, {count}", level.name());
                }
            }
        }
    }
}

#[test]
fn a_row_is_the_same_bit_for_bit_alone_and_among_others() {
    for case in cases() {
        let together = case.product();
        for row in 0..case.m {
            let x = case.x[row * case.k..][..case.k].to_vec();
            let alone = Case { m: 1, x, plain: case.plain.clone(), ..case }.product();
            assert_eq!(bits(&alone), bits(&together[row * case.n..][..case.n]));
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for case in cases() {
        let run = |threads| pool::with_threads(threads, || case.product());
        assert_eq!(bits(&run(1)), bits(&run(3)));
    }
}

#[test]
fn a_slice_is_the_same_bit_for_bit_as_those_rows_of_the_whole() {
    for case in cases().filter(|case| case.n == 50) {
        let whole = case.product();
        for range in [0..50, 3..4, 15..17, 16..48, 20..50, 47..49] {
            let slices = [Layout::Rows, Layout::Strips].map(|l| case.matrix(l).slice(range.clone()).unwrap());
            let slice = same_everywhere(&case.x, &slices);
            for (slice, whole) in slice.chunks(range.len()).zip(whole.chunks(case.n)) {
                assert_eq!(bits(slice), bits(&whole[range.clone()]), "{} {range:?}", case.scheme);
            }
        }
    }
}

/// Parts with and without kernels in integers, of either block, each with its own columns of the result.
#[test]
fn a_stack_is_the_same_bit_for_bit_as_its_parts() {
    let k = 512;
    let x: Vec<f32> = (0..5 * k).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
    let part = |(scheme, rows): (Scheme, usize)| {
        // Scales stay finite: no byte of an f16 has all exponent bits set.
        let bytes: Vec<u8> =
            (0..scheme.row_bytes(k).unwrap() * rows).map(|i| (i * 37 % 251) as u8 & 0x3f).collect();
        let layout = if scheme == Scheme::Q8_0 { Layout::Strips } else { Layout::Rows };
        Matrix::laid(layout, scheme, rows, k, bytes.into()).unwrap()
    };
    let parts = [
        (Scheme::F32, 8),
        (Scheme::Q4K, 40),
        (Scheme::Q8_0, 17),
        (Scheme::Q3K, 33),
        (Scheme::Q6K, 16),
        (Scheme::Bf16, 1),
    ]
    .map(part);
    let stack = Matrix::stack(parts.clone()).unwrap();
    let mut together = vec![0.0; 5 * stack.rows()];
    multiply(&x, &stack, &mut together);
    let mut above = 0;
    for part in parts {
        let (n, mut alone) = (part.rows(), vec![0.0; 5 * part.rows()]);
        let product = if part.scheme().and_then(activation_block).is_some() { multiply } else { matmul };
        product(&x, &part, &mut alone);
        for (alone, together) in alone.chunks(n).zip(together.chunks(stack.rows())) {
            assert_eq!(bits(alone), bits(&together[above..above + n]), "{:?}", part.scheme());
        }
        above += n;
    }
}

/// The largest magnitudes that a file can hold: no 16-bit sum may overflow.
#[test]
fn extreme_weights_do_not_overflow() {
    for scheme in schemes() {
        let (n, k) = (ROWS, 256);
        for byte in [0x80, 0x7f, 0xff] {
            let mut plain = vec![byte; scheme.row_bytes(k).unwrap() * n];
            for block in plain.chunks_exact_mut(scheme.block_bytes()) {
                for (at, scale) in scales_at(scheme).iter().zip([[0, 0x3c], [0, 0]]) {
                    block[*at..at + 2].copy_from_slice(&scale);
                }
            }
            for x in [1.0, -1.0] {
                let case = Case { scheme, m: 1, n, k, x: vec![x; k], plain: plain.clone() };
                let mut exact = vec![0.0; n];
                matmul(&case.x, &case.matrix(Layout::Rows), &mut exact);
                for (y, exact) in case.product().iter().zip(&exact) {
                    assert!((y - exact).abs() <= exact.abs() * 1e-5, "{scheme} {byte} {y} {exact}");
                }
            }
        }
    }
}
