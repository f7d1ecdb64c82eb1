//! How a vocabulary spells bytes.

/// Parses the spelling of a byte token: `<0x0A>` is 0x0A.
pub(super) fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let both_hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    both_hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

/// The space of SentencePiece's alphabet.
pub(super) const SPACE: char = '▁';

/// Returns the byte that a character of GPT-2's alphabet stands for: printable Latin-1 characters stand for themselves,
/// and U+0100 onwards for the other 68 bytes in order. Follows `bytes_to_unicode` in
/// <https://github.com/openai/gpt-2/blob/master/src/encoder.py>.
pub(super) fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    let byte = match code {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7F,
        0x143 => 0xAD,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

/// Returns the character of GPT-2's alphabet for a byte.
pub(super) fn character_of(byte: u8) -> char {
    let code = match byte {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => byte.into(),
        0x00..=0x20 => u32::from(byte) + 0x100,
        0x7F..=0xA0 => u32::from(byte) - 0x7F + 0x121,
        0xAD => 0x143,
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Converts a token of GPT-2's alphabet to bytes; `None` if a character is not in the alphabet.
pub(super) fn bytes_of(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of).collect()
}

/// Returns the spelling of bytes in GPT-2's alphabet.
pub(super) fn spelled(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| character_of(byte)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_alphabet_has_one_character_for_each_byte() {
        let theirs = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let bytes: HashSet<u8> = theirs.iter().map(|&c| byte_of(c).unwrap()).collect();
        assert_eq!((theirs.len(), bytes.len()), (256, 256));
        assert_eq!(('\0'..='\u{FFFF}').filter(|&c| byte_of(c).is_some()).count(), 256);
        assert_eq!(['Ġ', 'Ċ', 'Ń', 'a'].map(byte_of), [b' ', b'\n', 0xAD, b'a'].map(Some));
        assert!((0..=u8::MAX).all(|byte| byte_of(character_of(byte)) == Some(byte)));
    }

    #[test]
    fn a_byte_token_is_two_hex_digits_and_nothing_else() {
        assert_eq!(fallback_byte("<0x0A>"), Some(10));
        assert_eq!(fallback_byte("<0xfF>"), Some(255));
        for other in ["<0x+A>", "<0xA>", "<0x0A", "0x0A", "<0x0A0>", "<0xé>"] {
            assert_eq!(fallback_byte(other), None, "{other}");
        }
    }
}
