//! The merges of a model as a list of pairs.

use std::collections::HashMap;

use crate::text::model::{Joins, Model};

/// Returns the merges as a list of pairs. If merges are found by spelling, every split of a token into two tokens is a
/// pair, ordered by the rank of the token, as transformers converts such vocabularies (`generate_merges` and
/// `TikTokenConverter` in convert_slow_tokenizer.py). Programs that merge by pairs differ from the original only where
/// tokens of one rank overlap.
pub(super) fn pairs(model: &Model) -> Vec<[u32; 3]> {
    let by_score = match &model.joins {
        Joins::Pairs(pairs) => return pairs.clone(),
        Joins::Scores(scores) => Some(scores),
        Joins::Ids => None,
    };
    // Tokens that were added to a SentencePiece model have no score, and no merge leads to them.
    let has_rank = |id: u32| by_score.is_none_or(|scores| (id as usize) < scores.len());
    let text = || model.all().filter(|&(id, _)| model.is_text(id) && has_rank(id));
    let ids: HashMap<&str, u32> = text().map(|(id, token)| (token, id)).collect();
    let mut pairs = Vec::new();
    for (joined, token) in text() {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(&left_id), Some(&right_id)) = (ids.get(left), ids.get(right)) {
                let score = by_score.and_then(|scores| scores.get(joined as usize)).copied().unwrap_or(0.0);
                // The split of a piece with the longest left part comes first, as in generate_merges.
                let order = match by_score {
                    Some(_) => (-(left.chars().count() as i64), 0),
                    None => (i64::from(left_id), i64::from(right_id)),
                };
                pairs.push((score, order, [left_id, right_id, joined]));
            }
        }
    }
    pairs.sort_by(|a, b| {
        let by_id = || match by_score {
            Some(_) => (a.1, a.2[2], a.2).cmp(&(b.1, b.2[2], b.2)),
            None => (a.2[2], a.1).cmp(&(b.2[2], b.1)),
        };
        b.0.total_cmp(&a.0).then_with(by_id)
    });
    pairs.into_iter().map(|(_, _, pair)| pair).collect()
}
