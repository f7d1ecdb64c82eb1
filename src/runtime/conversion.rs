//! A requested conversion: its folder and its plan.

use std::path::{Path, PathBuf};

use super::conversions::{beside, name_elsewhere, no_place};
use super::error::Error;
use super::located::Located;
use super::opened::{end_ids, tokenizer};
use super::report::Report;
use super::settings::Precision;
use super::sidecars::sidecar_files;
use super::writing::delete_originals;
use crate::checkpoint::convert::output::Rounding;
use crate::checkpoint::convert::plan::ConversionPlan;
use crate::checkpoint::layouts::{gguf, huggingface, litgpt, mist};
use crate::checkpoint::open::Checkpoint;
use crate::quant::Scheme;

/// A requested conversion of a checkpoint.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The target format.
    pub to: Target,
    /// The type that dense weights are rounded to.
    pub dtype: Precision,
    /// The scheme to quantize to; `None` for no quantization.
    pub quantize: Option<Scheme>,
    /// Whether all matrices get this scheme, without a mix.
    pub pure: bool,
    /// The output folder; `None` for a folder in or beside the originals.
    pub output: Option<PathBuf>,
}

/// A target format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// The `mist` layout, which is memory-mapped.
    #[default]
    Mist,
    /// A folder in the layout of Hugging Face.
    Hf,
    /// A GGUF file.
    Gguf,
    /// A folder in the layout of litgpt.
    Litgpt,
}

impl Target {
    /// The names of the formats, in the order of the variants.
    pub const NAMES: [&str; 4] = ["mist", "hf", "gguf", "litgpt"];

    /// Returns the format with this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Mist, Self::Hf, Self::Gguf, Self::Litgpt].into_iter().find(|target| target.name() == name)
    }

    /// Returns the name of the format.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl Conversion {
    /// Returns the folder of the conversion.
    ///
    /// A conversion of a GGUF file gets a separate folder, because the folder of the file may hold several models. The
    /// conversion of a read-only checkpoint goes to the store.
    ///
    /// # Errors
    /// The checkpoint is read-only and there is no store ([`Error::NoPlace`]).
    pub fn folder(&self, located: &Located, checkpoint: &Checkpoint) -> Result<PathBuf, Error> {
        if located.is_read_only && self.output.is_none() {
            let elsewhere = located.elsewhere.as_ref().ok_or_else(|| no_place(located))?;
            let name = match self.to {
                Target::Mist => name_elsewhere(checkpoint, &self.rounded_name()),
                Target::Gguf | Target::Hf | Target::Litgpt => self.to.name().into(),
            };
            return Ok(elsewhere.join(name));
        }
        Ok(match (&self.output, self.to, &checkpoint.gguf) {
            (Some(folder), ..) => folder.clone(),
            (None, Target::Mist, Some(gguf)) => beside(gguf.path(), &self.rounded_name()),
            (None, Target::Mist | Target::Gguf, None) => checkpoint.folder.clone(),
            (None, Target::Gguf | Target::Hf | Target::Litgpt, _) => checkpoint.folder.join(self.to.name()),
        })
    }

    /// Returns a folder name for the rounding of the weights, such as `f16-q4_k-pure`; `mist` without rounding.
    ///
    /// A run with `--quantize q4_k` looks for a folder `q4_k`.
    fn rounded_name(&self) -> String {
        let dense = (self.dtype != Precision::Auto).then(|| self.dtype.name());
        let pure = self.pure.then_some("pure");
        let parts: Vec<&str> = [dense, self.quantize.map(Scheme::name), pure].into_iter().flatten().collect();
        if parts.is_empty() { Target::Mist.name().into() } else { parts.join("-") }
    }

    /// Plans the files that the conversion writes into `folder`.
    ///
    /// # Errors
    /// The format cannot express the model or its tokenizer; a file of the originals cannot be read.
    pub fn plan(&self, checkpoint: &Checkpoint, folder: &Path) -> Result<ConversionPlan, Error> {
        let dense = self.dtype.scheme();
        let rounding = Rounding { dense, quantize: self.quantize, pure: self.pure };
        let plan = match self.to {
            Target::Mist => mist::plan(checkpoint, folder, rounding, sidecar_files(checkpoint, folder)?)?,
            Target::Gguf => {
                let vocabulary = match &checkpoint.gguf {
                    Some(gguf) => gguf.vocabulary()?,
                    None => {
                        let tokenizer = tokenizer(checkpoint)?;
                        let mut vocabulary = tokenizer.vocabulary()?;
                        // GGUF stores end ids only with the vocabulary, so an id of the config goes there.
                        let end_id = end_ids(checkpoint, &tokenizer).first().copied();
                        vocabulary.eos = vocabulary.eos.or(end_id);
                        vocabulary
                    }
                };
                gguf::plan(checkpoint, &vocabulary, rounding, &folder.join(self.gguf_name(checkpoint)))?
            }
            Target::Hf => {
                let tokenizer = tokenizer(checkpoint)?;
                let end_ids = end_ids(checkpoint, &tokenizer);
                let ids = (tokenizer.bos(), end_ids.as_slice());
                let sidecars = sidecar_files(checkpoint, folder)?;
                huggingface::plan(checkpoint, folder, dense, huggingface::SHARD_SIZE, ids, sidecars)?
            }
            Target::Litgpt => {
                let sidecars = sidecar_files(checkpoint, folder)?;
                litgpt::plan(checkpoint, folder, dense, &name(checkpoint), sidecars)?
            }
        };
        Ok(match self.output {
            Some(_) => plan,
            None => plan.without_links_in(&checkpoint.folder),
        })
    }

    /// Deletes the original weights after checking that the conversion opens in its format.
    ///
    /// # Errors
    /// The conversion cannot be opened, or opens in another format ([`Error::OpensAsAnother`]); nothing is deleted then. A
    /// file cannot be deleted.
    pub fn replace_originals(
        &self,
        checkpoint: &Checkpoint,
        plan: &ConversionPlan,
        folder: &Path,
        report: &mut dyn Report,
    ) -> Result<(), Error> {
        let opened = Checkpoint::open(&match self.to {
            Target::Gguf => folder.join(self.gguf_name(checkpoint)),
            Target::Mist | Target::Hf | Target::Litgpt => folder.into(),
        })?;
        match opened.format.name() == self.to.name() {
            true => delete_originals(checkpoint, plan, report),
            false => Err(Error::OpensAsAnother(folder.into())),
        }
    }

    /// Returns the name of the GGUF file that the conversion writes.
    fn gguf_name(&self, checkpoint: &Checkpoint) -> String {
        let name = name(checkpoint);
        match self.quantize {
            Some(scheme) => format!("{name}-{scheme}.gguf"),
            None => format!("{name}.gguf"),
        }
    }
}

/// Returns the name of the model: that of its folder, or of its GGUF file without the extension.
fn name(checkpoint: &Checkpoint) -> String {
    let source = checkpoint.gguf.as_ref().map_or(checkpoint.folder.as_path(), |gguf| gguf.path());
    let source = std::fs::canonicalize(source).unwrap_or_else(|_| source.into());
    let name = if checkpoint.gguf.is_some() { source.file_stem() } else { source.file_name() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}
