//! Returns a checkpoint's tensors in published form, under Hugging Face's names.
//!
//! Splits fused matrices, and joins them again if a layout stores them joined.

use super::output::{Output, Rounding, Rules};
use super::rows::{cut, rotary};
use crate::arch::schema::{self, MatrixKind, TensorSpec};
use crate::checkpoint::error::Error;
use crate::checkpoint::open::Checkpoint;
use crate::kernels::pointwise::RopeLayout;
use crate::quant::mix::Role;
use crate::quant::{Layout, Matrix};

/// Which matrices a layout stores as one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Joins nothing; each matrix of each expert is a tensor (Hugging Face).
    Nothing,
    /// Joins queries, keys and values (litgpt).
    QueriesKeysValues,
    /// Joins the gates of all experts, and in the same way their ups and their downs (GGUF).
    Experts,
}

/// Returns all tensors, rounded by `rounding`, in the order in which a token passes through them.
///
/// # Errors
/// Matrices do not have the config's sizes, which validation rules out.
pub fn tensors(
    checkpoint: &Checkpoint,
    rounding: Rounding,
    layout: RopeLayout,
    joined: Joined,
) -> Result<Vec<Output>, Error> {
    let broken = || Error::malformed(&checkpoint.folder, "its matrices are not those of its config");
    listed(checkpoint, rounding.of(&checkpoint.config), layout, joined).ok_or_else(broken)
}

fn listed(checkpoint: &Checkpoint, rules: Rules, layout: RopeLayout, joined: Joined) -> Option<Vec<Output>> {
    let config = &checkpoint.config;
    let in_layout = |part: Matrix, role: Option<Role>| match role {
        _ if config.rope.layout == layout => Some(part),
        Some(Role::Query) => rotary(&part, config.query_heads, layout),
        Some(Role::Key) => rotary(&part, config.key_value_heads, layout),
        _ => Some(part),
    };
    let mut outputs = Vec::new();
    let mut push = |tensor: TensorSpec, matrices: Vec<Matrix>| {
        let scheme = rules.scheme(&tensor, &matrices);
        outputs.push(Output::new(tensor, scheme, Layout::Rows, matrices));
    };
    for spec in schema::matrices(config) {
        // For each expert, or once, the parts of the matrix.
        let mut each = Vec::new();
        for matrix in checkpoint.weights.of(&spec) {
            let parts = cut(matrix, &spec.heights())?.into_iter().zip(spec.parts(None));
            let parts = parts.map(|(part, tensor)| in_layout(part, tensor.role));
            each.push(parts.collect::<Option<Vec<_>>>()?.into_iter());
        }
        if joined == Joined::QueriesKeysValues && spec.kind() == MatrixKind::QueriesKeysValues {
            push(spec.whole(None), each.into_iter().flatten().collect());
            continue;
        }
        for (i, tensor) in spec.parts(None).into_iter().enumerate() {
            let matrices: Vec<Matrix> = each.iter_mut().filter_map(Iterator::next).collect();
            match spec.is_of_experts() && joined != Joined::Experts {
                true => {
                    for (expert, matrix) in matrices.into_iter().enumerate() {
                        push(spec.parts(Some(expert)).swap_remove(i), vec![matrix]);
                    }
                }
                false => push(tensor, matrices),
            }
        }
    }
    Some(outputs)
}
