//! Tensors against the config: every matrix that the config implies is there in the right shape, and nothing
//! that is there is left over, but for what is known to do no harm.

use std::path::PathBuf;

use super::error::Error;
use super::tensors::{Tensor, Tensors};
use crate::arch::{Config, Experts, LayerWeights, Mlp, Weights};
use crate::quant::Matrix;

/// What came of tensors and a config.
#[derive(Debug)]
pub struct Assembled {
    /// The weights.
    pub weights: Weights,
    /// What was decided where the two contradict each other, a sentence each.
    pub warnings: Vec<String>,
}

/// What a folder holds, validated.
#[derive(Debug)]
pub struct Contents {
    /// The description.
    pub config: Config,
    /// The weights.
    pub weights: Weights,
    /// The files that hold the weights, and the index that names them.
    pub files: Vec<PathBuf>,
    /// What was decided where the two contradict each other, a sentence each.
    pub warnings: Vec<String>,
}

/// Tensors that do no harm where they are not used: tables that we compute ourselves.
const HARMLESS_SUFFIXES: [&str; 1] = [".rotary_emb.inv_freq"];

/// The names of the embedding and of the head.
const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Checks the tensors against the config and gives them their places. `config` loses its tied head where the tensors have
/// another head than the embedding.
///
/// # Errors
/// A tensor is missing, has another shape than the config implies, or is not used.
pub fn assemble(config: &mut Config, tensors: Tensors) -> Result<Assembled, Error> {
    let checked = config.clone();
    let mut taker = Taker { config: &checked, tensors };
    let (embedding, head) = taker.ends()?;
    config.tied_head = head.is_none();
    let c = config.hidden_size;
    let warning = (checked.tied_head && !config.tied_head).then(|| {
        let path = taker.tensors.path().display();
        format!(
            "{path}: the config says that the head is the embedding, and another one is stored: that is used"
        )
    });
    let head = head.unwrap_or_else(|| embedding.clone());
    let weights = Weights {
        embedding,
        layers: (0..config.layers).map(|layer| taker.layer(layer)).collect::<Result<_, _>>()?,
        norm: taker.matrix("model.norm.weight", &[c])?,
        head,
    };
    taker.nothing_left()?;
    Ok(Assembled { weights, warnings: warning.into_iter().collect() })
}

/// Whether two matrices of one shape hold the same values. As soon as they differ nothing more is read.
fn same(a: &Matrix, b: &Matrix) -> bool {
    let is_same = |(a, b): (&[u8], &[u8])| std::ptr::eq(a, b) || a == b;
    if a.parts().eq(b.parts()) && a.bytes().zip(b.bytes()).all(is_same) {
        return true;
    }
    let mut rows = [vec![0.0; a.columns()], vec![0.0; a.columns()]];
    (0..a.rows()).all(|row| {
        let [in_a, in_b] = &mut rows;
        a.rows_f32(row, in_a);
        b.rows_f32(row, in_b);
        in_a == in_b
    })
}

struct Taker<'a> {
    config: &'a Config,
    tensors: Tensors,
}

impl Taker<'_> {
    /// The embedding, and the head where it is another matrix.
    ///
    /// A head that is said to be tied may be stored as well, and PyTorch's files always hold it. Where it is not the
    /// embedding again, the config is wrong, not the weights: transformers 5 takes the head that is there, too. Where only
    /// one of the two is stored, it is both.
    fn ends(&mut self) -> Result<(Matrix, Option<Matrix>), Error> {
        let shape = [self.config.vocabulary_size, self.config.hidden_size];
        if self.config.tied_head && !self.tensors.contains(EMBEDDING) && self.tensors.contains(HEAD) {
            return Ok((self.matrix(HEAD, &shape)?, None));
        }
        let embedding = self.matrix(EMBEDDING, &shape)?;
        if self.config.tied_head && !self.tensors.contains(HEAD) {
            return Ok((embedding, None));
        }
        let head = self.matrix(HEAD, &shape)?;
        let is_other = !self.config.tied_head || !same(&embedding, &head);
        Ok((embedding, is_other.then_some(head)))
    }

    fn layer(&mut self, layer: usize) -> Result<LayerWeights, Error> {
        let Config { hidden_size: c, query_heads: h, key_value_heads: g, head_size: d, .. } = *self.config;
        let name = |rest: &str| format!("model.layers.{layer}.{rest}.weight");
        Ok(LayerWeights {
            attention_norm: self.matrix(&name("input_layernorm"), &[c])?,
            qkv: self.fused(
                &name("self_attn.qkv_proj"),
                &[
                    (&name("self_attn.q_proj"), h * d),
                    (&name("self_attn.k_proj"), g * d),
                    (&name("self_attn.v_proj"), g * d),
                ],
                c,
            )?,
            output: self.matrix(&name("self_attn.o_proj"), &[c, h * d])?,
            mlp_norm: self.matrix(&name("post_attention_layernorm"), &[c])?,
            mlp: match self.config.experts {
                None => Mlp::Dense(self.network(
                    &name("mlp.gate_up_proj"),
                    &["gate", "up", "down"].map(|m| name(&format!("mlp.{m}_proj"))),
                )?),
                Some(experts) => self.mixture(layer, experts.all)?,
            },
        })
    }

    /// Gate and up, fused or not, and down; `parts` names gate, up, down.
    fn network(&mut self, fused: &str, parts: &[String; 3]) -> Result<Experts, Error> {
        let (c, f) = (self.config.hidden_size, self.config.intermediate_size);
        let [gate, up, down] = parts;
        Ok(Experts {
            gate_up: self.fused(fused, &[(gate, f), (up, f)], c)?,
            down: self.matrix(down, &[c, f])?,
        })
    }

    /// Experts as published (one by one), as GGUF has them (gates, ups, downs stacked), or as transformers 5 and
    /// `mist` have them (gate and up fused, all stacked).
    fn mixture(&mut self, layer: usize, count: usize) -> Result<Mlp, Error> {
        let (c, f) = (self.config.hidden_size, self.config.intermediate_size);
        let published = format!("model.layers.{layer}.block_sparse_moe");
        let fused = format!("model.layers.{layer}.mlp");
        if self.tensors.contains(&format!("{fused}.experts.gate_up_proj")) {
            let router = self.matrix(&format!("{fused}.gate.weight"), &[count, c])?;
            let gate_up = self.stacked(&format!("{fused}.experts.gate_up_proj"), count, 2 * f, c)?;
            let down = self.stacked(&format!("{fused}.experts.down_proj"), count, c, f)?;
            let experts = gate_up.into_iter().zip(down).map(|(gate_up, down)| Experts { gate_up, down });
            return Ok(Mlp::Mixture { router, experts: experts.collect() });
        }
        let router = self.matrix(&format!("{published}.gate.weight"), &[count, c])?;
        if self.tensors.contains(&format!("{published}.experts.w1.weight")) {
            let gate = self.stacked(&format!("{published}.experts.w1.weight"), count, f, c)?;
            let up = self.stacked(&format!("{published}.experts.w3.weight"), count, f, c)?;
            let down = self.stacked(&format!("{published}.experts.w2.weight"), count, c, f)?;
            let fuse = |((gate, up), down)| Some(Experts { gate_up: Matrix::stack([gate, up])?, down });
            // Gate and up have the same width: stacking them cannot fail.
            let experts = gate.into_iter().zip(up).zip(down).filter_map(fuse);
            return Ok(Mlp::Mixture { router, experts: experts.collect() });
        }
        let expert = |e: usize| {
            let names = ["w1", "w3", "w2"].map(|m| format!("{published}.experts.{e}.{m}.weight"));
            self.network(&format!("{published}.experts.{e}.gate_up_proj.weight"), &names)
        };
        Ok(Mlp::Mixture { router, experts: (0..count).map(expert).collect::<Result<_, _>>()? })
    }

    /// One matrix that is stored whole, or as parts of so many rows each.
    fn fused(&mut self, whole: &str, parts: &[(&str, usize)], columns: usize) -> Result<Matrix, Error> {
        if self.tensors.contains(whole) {
            return self.matrix(whole, &[parts.iter().map(|(_, rows)| rows).sum(), columns]);
        }
        let parts = parts
            .iter()
            .map(|(name, rows)| self.matrix(name, &[*rows, columns]))
            .collect::<Result<Vec<_>, _>>()?;
        Matrix::stack(parts).ok_or_else(|| self.missing(whole))
    }

    /// E matrices of `rows` by `columns` in one tensor.
    fn stacked(
        &mut self,
        name: &str,
        count: usize,
        rows: usize,
        columns: usize,
    ) -> Result<Vec<Matrix>, Error> {
        let matrix = self.matrix(name, &[count, rows, columns])?;
        matrix.split(count).ok_or_else(|| self.missing(name))
    }

    /// A tensor of exactly this shape, as a matrix whose columns are the last dimension.
    fn matrix(&mut self, name: &str, shape: &[usize]) -> Result<Matrix, Error> {
        let tensor = self.tensors.take(name).ok_or_else(|| self.missing(name))?;
        let wrong = |tensor: &Tensor| Error::WrongShape {
            path: self.tensors.path().into(),
            name: self.tensors.name_in_file(name),
            found: tensor.shape.clone(),
            expected: shape.into(),
        };
        if tensor.shape != shape {
            return Err(wrong(&tensor));
        }
        let (columns, outer) = shape.split_last().ok_or_else(|| wrong(&tensor))?;
        let rows =
            outer.iter().try_fold(1usize, |rows, d| rows.checked_mul(*d)).ok_or_else(|| wrong(&tensor))?;
        tensor.matrix(rows, *columns).ok_or_else(|| wrong(&tensor))
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingTensor { path: self.tensors.path().into(), name: self.tensors.name_in_file(name) }
    }

    fn nothing_left(&self) -> Result<(), Error> {
        let harmless = |name: &str| HARMLESS_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
        let names: Vec<String> = self
            .tensors
            .names()
            .filter(|n| !harmless(n))
            .map(|name| self.tensors.name_in_file(name))
            .collect();
        match names.is_empty() {
            true => Ok(()),
            false => Err(Error::ExtraTensors { path: self.tensors.path().into(), names }),
        }
    }
}
