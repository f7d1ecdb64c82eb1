use super::activations::Activations;
use super::dispatch::multiply_panels;
use super::product::multiply_with;
use super::*;
use crate::cpu::{Level, pool};
use crate::kernels::matmul::matmul;
use crate::quant::ROWS;
use crate::quant::layout::pack;
use crate::quant::random::{numbers_at, weights};
use crate::quant::{ActivationBits, Blocks, Layout, Matrix};
use rand::{Rng, SeedableRng};

/// Returns the instruction sets to test: those that this processor runs and, if it has AVX512, also AMX and
/// AVX-VNNI. Without AMX, a model emulates it; without AVX-VNNI, its instructions run in the AVX512 encoding.
fn levels() -> impl Iterator<Item = Level> {
    #[cfg(target_arch = "x86_64")]
    let others = {
        let has = |level| Level::available().any(|available| available == level);
        [Level::AvxVnni, Level::Amx].into_iter().filter(move |level| has(Level::Avx512) && !has(*level))
    };
    #[cfg(not(target_arch = "x86_64"))]
    let others = [].into_iter();
    Level::available().chain(others)
}

const BITS: [ActivationBits; 2] = [ActivationBits::Eight, ActivationBits::Sixteen];
const EIGHT: Blocks = Blocks::Integer(ActivationBits::Eight);
const SIXTEEN: Blocks = Blocks::Integer(ActivationBits::Sixteen);

fn schemes() -> impl Iterator<Item = Scheme> {
    Scheme::all().filter(|scheme| activation_block(*scheme).is_some())
}

/// Rows of activations, rows of weights and columns. They are less than, equal to and more than a panel and a tile.
/// The columns are for schemes with blocks of 256; other schemes get half as many plus 32.
const SIZES: [(usize, usize, usize); 6] =
    [(1, 1, 256), (1, 16, 512), (2, 15, 256), (3, 33, 1024), (31, 50, 256), (70, 47, 768)];

#[derive(Clone)]
struct Case {
    scheme: Scheme,
    m: usize,
    n: usize,
    k: usize,
    x: Vec<f32>,
    plain: Vec<u8>,
}

/// Returns a random case for each scheme and size.
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
    fn random(scheme: Scheme, m: usize, n: usize, k: usize, rng: &mut impl Rng) -> Self {
        let x = (0..m * k).map(|_| rng.random_range(-1.0..1.0)).collect();
        Self { scheme, m, n, k, x, plain: weights(scheme, n * k / scheme.block_len(), rng) }
    }

    fn activations(&self, bits: ActivationBits) -> Activations {
        let (mut x, level) = (Activations::default(), crate::cpu::level());
        x.fill(level, &self.x, self.k, activation_block(self.scheme).unwrap(), bits);
        x
    }

    fn matrix(&self, layout: Layout) -> Matrix {
        let bytes = match layout {
            Layout::Rows => self.plain.clone(),
            Layout::Panels => pack(self.scheme, self.n, self.k, &self.plain).unwrap(),
        };
        Matrix::laid(layout, self.scheme, self.n, self.k, bytes.into()).unwrap()
    }

    /// Returns the product with 8-bit activations, and asserts that it has the same bits on every instruction set
    /// and in both layouts.
    fn product(&self) -> Vec<f32> {
        self.product_in(EIGHT)
    }

    fn product_in(&self, blocks: Blocks) -> Vec<f32> {
        same_everywhere(&self.x, blocks, &[Layout::Rows, Layout::Panels].map(|layout| self.matrix(layout)))
    }
}

/// Computes the product with one instruction set.
fn with(level: Level, blocks: Blocks, x: &[f32], w: &Matrix) -> Vec<f32> {
    let mut out = vec![f32::NAN; x.len() / w.columns() * w.rows()];
    multiply_with(level, &mut [Product::new(x, w, blocks, &mut out)]);
    out
}

/// Returns the product with matrices that differ only in layout, and asserts that all have the same bits on every
/// instruction set.
fn same_everywhere(x: &[f32], blocks: Blocks, matrices: &[Matrix]) -> Vec<f32> {
    let every = levels().flat_map(|level| matrices.iter().map(move |w| (level, w)));
    let mut products = every.map(|(level, w)| with(level, blocks, x, w));
    let first = products.next().unwrap();
    assert!(products.all(|other| bits(&other) == bits(&first)), "{:?}", matrices[0].scheme());
    first
}

#[test]
fn is_the_portable_product_of_the_plain_rows_bit_for_bit() {
    for (case, bits) in cases().flat_map(|case| BITS.map(|bits| (case.clone(), bits))) {
        let (x, row_bytes) = (case.activations(bits), case.plain.len() / case.n);
        let out = case.product_in(Blocks::Integer(bits));
        for (column, plain) in case.plain.chunks_exact(row_bytes).enumerate() {
            let mut sums = vec![[0.0; ROWS]; case.m];
            portable::panel(Packed::new(case.scheme).unwrap(), plain, 1, &x, 0, &mut sums);
            for (row, sums) in sums.iter().enumerate() {
                let y = out[row * case.n + column];
                assert_eq!(sums[0].to_bits(), y.to_bits(), "{}", case.scheme);
            }
        }
    }
}

/// The f32 twin has the same weights, so the difference is the rounding of the activations. Each is off by at most
/// half a step: the largest of its block / 254.
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

/// Checks the definition independently of the kernels. q8_0's sums of 16-bit integers are computed as one integer
/// and rounded to f32 once. The kernels give the same, because neither plane's sum reaches 2^24.
#[test]
fn in_16_bits_an_activation_is_254_times_its_first_plane_and_its_second() {
    for case in cases().filter(|case| case.scheme == Scheme::Q8_0) {
        let expected = (0..case.m * case.n).map(|at| {
            let (row, column) = (at / case.n, at % case.n);
            let x = case.x[row * case.k..][..case.k].chunks(32);
            let blocks = case.plain[column * case.k / 32 * 34..].chunks(34);
            blocks.zip(x).fold(0.0, |sum: f32, (block, x)| {
                let largest = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
                let (scale, inverse) = (largest / 127.0, 127.0 / largest);
                let products = x.iter().zip(&block[2..]).map(|(x, w)| {
                    let first = (x * inverse).round_ties_even();
                    let second = ((-first).mul_add(scale, *x) * (inverse * 254.0)).round_ties_even();
                    i64::from(*w as i8) * (254 * first as i64 + second as i64)
                });
                let of_weights = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
                (products.sum::<i64>() as f32 * of_weights).mul_add(scale / 254.0, sum)
            })
        });
        let expected: Vec<f32> = expected.collect();
        assert!(bits(&case.product_in(SIXTEEN)) == bits(&expected));
    }
}

/// Each activation is off by at most 1/64516 of the largest of its block. The f32 rounding of sums comes on top of
/// that.
#[test]
fn in_16_bits_the_product_is_the_f32_product() {
    for case in cases() {
        let w = case.matrix(Layout::Rows);
        let out = case.product_in(SIXTEEN);
        let mut exact = vec![0.0; case.m * case.n];
        matmul(&case.x, &w, &mut exact);
        let weights = w.to_f32();
        for (i, (y, exact)) in out.iter().zip(&exact).enumerate() {
            let size: f32 = weights[i % case.n * case.k..][..case.k].iter().map(|w| w.abs()).sum();
            assert!((y - exact).abs() <= size / 64516.0, "{} {y} {exact}", case.scheme);
        }
    }
}

/// Each number of rows selects a different kernel or last tile. The test also varies the number of panels, even and
/// odd, and the first block.
#[test]
fn every_number_of_rows_and_panels_has_the_portable_sums_bit_for_bit() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(10);
    for scheme in schemes() {
        for m in (1..=40).chain([47, 64, 65, 130]) {
            // Both block widths cover more than one super-block, the last one in part.
            let (k, first) = if scheme.block_len() == 32 { (608, m % 11) } else { (768, m % 3) };
            let case = Case::random(scheme, m, 3 * ROWS, k, &mut rng);
            let blocks = k / scheme.block_len();
            let packed = pack(scheme, case.n, k, &case.plain).unwrap();
            let skipped = first * scheme.block_bytes() * ROWS;
            let panels: Vec<&[u8]> = packed.chunks(packed.len() / 3).map(|panel| &panel[skipped..]).collect();
            assert_eq!(panels[0].len() / (ROWS * scheme.block_bytes()), blocks - first);
            for (count, bits_of_x) in (1..=3).flat_map(|count| BITS.map(|bits| (count, bits))) {
                let x = case.activations(bits_of_x);
                let sums = |level| {
                    // The kernel adds to what `sums` holds.
                    let mut sums = vec![[0.25; ROWS]; count * m];
                    multiply_panels(
                        level,
                        Packed::new(scheme).unwrap(),
                        &panels[..count],
                        &x,
                        first,
                        &mut sums,
                    );
                    bits(sums.as_flattened())
                };
                let portable = sums(Level::Portable);
                for level in levels() {
                    assert!(
                        sums(level) == portable,
                        "{scheme} {} {m} rows, {bits_of_x:?}, {count}",
                        level.name()
                    );
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
            let slices = [Layout::Rows, Layout::Panels].map(|l| case.matrix(l).slice(range.clone()).unwrap());
            let slice = same_everywhere(&case.x, EIGHT, &slices);
            for (slice, whole) in slice.chunks(range.len()).zip(whole.chunks(case.n)) {
                assert_eq!(bits(slice), bits(&whole[range.clone()]), "{} {range:?}", case.scheme);
            }
        }
    }
}

/// The parts include schemes with integer kernels of both widths and schemes without; each writes different columns
/// of the result.
#[test]
fn a_stack_is_the_same_bit_for_bit_as_its_parts() {
    let k = 512;
    let x: Vec<f32> = (0..5 * k).map(|i| (i * 7919 % 1009) as f32 / 500.0 - 1.0).collect();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let part = |(scheme, rows): (Scheme, usize)| {
        let bytes = weights(scheme, rows * k / scheme.block_len(), &mut rng);
        let layout = if scheme == Scheme::Q8_0 { Layout::Panels } else { Layout::Rows };
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
    multiply(&x, &stack, ActivationBits::Eight, &mut together);
    let mut above = 0;
    for part in parts {
        let (n, mut alone) = (part.rows(), vec![0.0; 5 * part.rows()]);
        match part.scheme().and_then(activation_block) {
            Some(_) => multiply(&x, &part, ActivationBits::Eight, &mut alone),
            None => matmul(&x, &part, &mut alone),
        }
        for (alone, together) in alone.chunks(n).zip(together.chunks(stack.rows())) {
            assert_eq!(bits(alone), bits(&together[above..above + n]), "{:?}", part.scheme());
        }
        above += n;
    }
}

/// The weights have the largest magnitudes that a file can hold: no 16-bit sum may overflow.
#[test]
fn extreme_weights_do_not_overflow() {
    let k = 256;
    for scheme in schemes() {
        let row_bytes = scheme.row_bytes(k).unwrap();
        for byte in [0x80, 0x7f, 0xff] {
            let mut plain = vec![byte; row_bytes * 2 * ROWS];
            for block in plain.chunks_exact_mut(scheme.block_bytes()) {
                for (at, number) in numbers_at(scheme).iter().zip([[0, 0x3c], [0, 0]]) {
                    block[*at..at + 2].copy_from_slice(&number);
                }
            }
            for x in [[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]] {
                // All rows of weights are the same, and so are all rows of activations.
                let one = Matrix::new(scheme, 1, k, plain[..row_bytes].to_vec().into()).unwrap();
                let mut exact = [0.0];
                matmul(&x.repeat(k / 2), &one, &mut exact);
                for (m, n) in [1, 2, 4, 5, 8, 9, 16, 17].into_iter().flat_map(|m| [(m, ROWS), (m, 2 * ROWS)])
                {
                    let plain = plain[..row_bytes * n].to_vec();
                    let case = Case { scheme, m, n, k, x: x.repeat(m * k / 2), plain };
                    for y in case.product() {
                        let error = (y - exact[0]).abs();
                        assert!(error <= exact[0].abs() * 1e-5, "{scheme} {byte} {m} {y} {}", exact[0]);
                    }
                }
            }
        }
    }
}

/// Independent products of different activations: one without any, panels, a slice that begins within a panel,
/// plain rows, and weights that are multiplied in f32.
#[test]
fn the_products_of_a_job_are_those_of_each_alone_bit_for_bit_and_are_added_to_what_is_there() {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(13);
    let mut job = |scheme, m, n, layout, blocks, range| {
        let case = Case::random(scheme, m, n, 512, &mut rng);
        (case.matrix(layout).slice(range).unwrap(), blocks, case.x)
    };
    let jobs = [
        job(Scheme::Q4K, 3, 50, Layout::Panels, EIGHT, 0..50),
        job(Scheme::Q5_1, 0, 20, Layout::Rows, EIGHT, 0..20),
        job(Scheme::Q6K, 17, 70, Layout::Panels, EIGHT, 5..69),
        job(Scheme::Q4_0, 2, 33, Layout::Panels, Blocks::F32, 0..33),
        job(Scheme::Q8_0, 9, 40, Layout::Rows, EIGHT, 7..40),
        job(Scheme::Q4_1, 1, 49, Layout::Panels, EIGHT, 17..47),
    ];
    for level in levels() {
        for adds in [false, true] {
            let jobs = || jobs.iter().filter(|(_, blocks, _)| !adds || *blocks != Blocks::F32);
            let (mut expected, mut outs) = (vec![], vec![]);
            for (w, blocks, x) in jobs() {
                let count = x.len() / w.columns() * w.rows();
                let before: Vec<f32> = (0..count).map(|i| i as f32 / 7.0 - 3.0).collect();
                let mut out = vec![f32::NAN; count];
                multiply_with(level, &mut [Product::new(x, w, *blocks, &mut out)]);
                if adds {
                    out.iter_mut().zip(&before).for_each(|(out, before)| *out += before);
                }
                expected.push(bits(&out));
                outs.push(before);
            }
            let mut products: Vec<Product> = jobs()
                .zip(&mut outs)
                .map(|((w, blocks, x), out)| {
                    let product = Product::new(x, w, *blocks, out);
                    if adds { product.added().unwrap() } else { product }
                })
                .collect();
            multiply_with(level, &mut products);
            drop(products);
            assert!(outs.iter().map(|out| bits(out)).eq(expected), "{}", level.name());
        }
    }
}

#[test]
fn products_that_are_partly_in_f32_are_not_added() {
    let case = Case::random(Scheme::Q4_0, 1, 3, 32, &mut rand_chacha::ChaCha8Rng::seed_from_u64(14));
    let (w, mut out) = (case.matrix(Layout::Rows), [0.0; 3]);
    assert!(Product::new(&case.x, &w, Blocks::F32, &mut out).added().is_none());
}

#[test]
fn without_columns_the_product_is_zeros_and_adds_nothing() {
    let w = Matrix::new(Scheme::Q8_0, 3, 0, Default::default()).unwrap();
    let mut out = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    multiply_all(&mut [Product::new(&[], &w, EIGHT, &mut out).added().unwrap()]);
    assert_eq!(out, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    multiply(&[], &w, ActivationBits::Eight, &mut out);
    assert_eq!(out, [0.0; 6]);
}

/// Runs `check(case, level, layout)` for every scheme and instruction set, with numbers of rows that select each
/// kernel.
fn each_kernel(check: impl Fn(&Case, Level, Layout)) {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(15);
    for scheme in schemes() {
        for m in [1, 5, 16, 17] {
            let case = Case::random(scheme, m, 33, 512, &mut rng);
            for level in levels() {
                [Layout::Rows, Layout::Panels].into_iter().for_each(|layout| check(&case, level, layout));
            }
        }
    }
}

#[test]
fn activations_that_are_not_finite_show_in_their_row_alone() {
    each_kernel(|case, level, layout| {
        let w = case.matrix(layout);
        let expected = with(level, EIGHT, &case.x, &w);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (mut x, row) = (case.x.clone(), case.m / 2);
            x[row * case.k + 300] = bad;
            let out = with(level, EIGHT, &x, &w);
            for (i, (y, expected)) in out.iter().zip(&expected).enumerate() {
                let right =
                    if i / case.n == row { !y.is_finite() } else { y.to_bits() == expected.to_bits() };
                assert!(right, "{} {} {layout:?} {} rows {bad} {i} {y}", case.scheme, level.name(), case.m);
            }
        }
    });
}

#[test]
fn scales_that_are_not_finite_show_in_their_row_of_weights_alone() {
    each_kernel(|case, level, layout| {
        let expected = with(level, EIGHT, &case.x, &case.matrix(layout));
        let row_bytes = case.plain.len() / case.n;
        // One row is in a panel, the other is left over.
        for row in [7, 32] {
            for (at, bad) in numbers_at(case.scheme).iter().flat_map(|at| [(at, 0x7c00u16), (at, 0xfe00)]) {
                let mut plain = case.plain.clone();
                let block = row * row_bytes + case.scheme.block_bytes();
                plain[block + at..][..2].copy_from_slice(&bad.to_le_bytes());
                let of_bad = Case { plain, x: case.x.clone(), ..*case };
                let out = with(level, EIGHT, &case.x, &of_bad.matrix(layout));
                for (i, (y, expected)) in out.iter().zip(&expected).enumerate() {
                    let right =
                        if i % case.n == row { !y.is_finite() } else { y.to_bits() == expected.to_bits() };
                    assert!(right, "{} {} {layout:?} {} rows {i} {y}", case.scheme, level.name(), case.m);
                }
            }
        }
    });
}
