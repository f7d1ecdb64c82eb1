//! Tables of tensor names, to rename between layouts. "Our" names are those of Hugging Face's checkpoints.

/// The tensor names of a layout ("theirs") with our names.
#[derive(Debug)]
pub struct Table {
    /// Tensors outside the layers: theirs, ours.
    pub top: &'static [(&'static str, &'static str)],
    /// The prefix of a layer's number.
    pub layers: &'static str,
    /// Tensors of layer N without the layer's prefix: theirs, ours after `model.layers.N.`.
    pub layer: &'static [(&'static str, &'static str)],
    /// Matrices of an expert within a layer: theirs before the expert's number, theirs after it, ours.
    pub experts: &'static [(&'static str, &'static str, &'static str)],
}

impl Table {
    /// Returns our name for one of theirs; `None` if the table does not have it.
    pub fn ours(&self, name: &str) -> Option<String> {
        if let Some((_, ours)) = self.top.iter().find(|(theirs, _)| *theirs == name) {
            return Some((*ours).into());
        }
        let (layer, rest) = name.strip_prefix(self.layers)?.split_once('.')?;
        if let Some((_, ours)) = self.layer.iter().find(|(theirs, _)| *theirs == rest) {
            return Some(format!("model.layers.{layer}.{ours}"));
        }
        self.experts.iter().find_map(|(before, after, ours)| {
            let expert = rest.strip_prefix(before)?.strip_suffix(after)?;
            Some(format!("model.layers.{layer}.block_sparse_moe.experts.{expert}.{ours}.weight"))
        })
    }

    /// Returns their name for one of ours. A name that the table does not have is returned unchanged.
    pub fn theirs(&self, name: &str) -> String {
        if let Some((theirs, _)) = self.top.iter().find(|(_, ours)| *ours == name) {
            return (*theirs).into();
        }
        let layer = || {
            let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
            let prefix = format!("{}{layer}.", self.layers);
            if let Some((theirs, _)) = self.layer.iter().find(|(_, ours)| *ours == rest) {
                return Some(prefix + theirs);
            }
            let (expert, matrix) =
                rest.strip_prefix("block_sparse_moe.experts.")?.strip_suffix(".weight")?.split_once('.')?;
            let (before, after, _) = self.experts.iter().find(|(.., ours)| *ours == matrix)?;
            Some(format!("{prefix}{before}{expert}{after}"))
        };
        layer().unwrap_or_else(|| name.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::layouts::gguf::names::TENSORS as GGUF;
    use super::super::layouts::litgpt::names::TENSORS as LITGPT;
    use super::super::layouts::mistral::names::TENSORS as MISTRAL;

    #[test]
    fn every_name_has_one_name_of_ours_and_no_other_has_it() {
        for table in [GGUF, MISTRAL, LITGPT] {
            let mut all = BTreeSet::new();
            let mut both_ways = |theirs: String, ours: String| {
                assert_eq!(table.ours(&theirs).as_deref(), Some(ours.as_str()));
                assert_eq!(table.theirs(&ours), theirs);
                assert!(all.insert(ours));
            };
            for (theirs, ours) in table.top {
                both_ways(theirs.to_string(), ours.to_string());
            }
            for (theirs, ours) in table.layer {
                both_ways(format!("{}17.{theirs}", table.layers), format!("model.layers.17.{ours}"));
            }
            for (before, after, ours) in table.experts {
                let ours = format!("model.layers.3.block_sparse_moe.experts.7.{ours}.weight");
                both_ways(format!("{}3.{before}7{after}", table.layers), ours);
            }
        }
    }

    #[test]
    fn unknown_names_have_none() {
        assert_eq!(GGUF.ours("blk.0.attn_q.bias"), None);
        assert_eq!(GGUF.ours("rope_freqs.weight"), None);
        assert_eq!(MISTRAL.ours("layers.0.block_sparse_moe.w1"), None);
        assert_eq!(MISTRAL.ours("model.norm.weight"), None);
        assert_eq!(LITGPT.ours("transformer.h.0.attn.attn.weight"), None);
        assert_eq!(LITGPT.ours("transformer.h.0.mlp.experts.fc_1.weight"), None);
    }
}
