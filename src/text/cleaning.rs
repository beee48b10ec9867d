//! What some families do to a text before it is tokenized, outside of their tokenizers' files.

use std::borrow::Cow;

/// A text's preparation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cleaning {
    #[default]
    None,
    LowerCase,
    /// Lower case, without ASCII punctuation, one space between words: SigLIP's canonical form (big_vision).
    WithoutPunctuation,
}

impl Cleaning {
    /// Prepares a text.
    #[must_use]
    pub fn clean(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::None => Cow::Borrowed(text),
            Self::LowerCase => Cow::Owned(text.to_lowercase()),
            Self::WithoutPunctuation => {
                let kept: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
                Cow::Owned(kept.split_whitespace().collect::<Vec<_>>().join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cleaning;

    #[test]
    fn texts_are_cleaned() {
        let check =
            |cleaning: Cleaning, text: &str, expected: &str| assert_eq!(cleaning.clean(text), expected, "{text:?}");
        check(Cleaning::None, " A  b_c! ", " A  b_c! ");
        check(Cleaning::LowerCase, "A Photo, ÄÖ!", "a photo, äö!");
        check(Cleaning::WithoutPunctuation, "  A Photo, of\ta_cat! «Ä» ", "a photo of acat «ä»");
        check(Cleaning::WithoutPunctuation, "?!", "");
    }
}
