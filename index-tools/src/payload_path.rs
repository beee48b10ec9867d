//! Payload paths in flags: a path, then a mark, then what is said about it, such as `brand=3` and `price:desc`.

/// Splits at the first of these marks that stands outside quotes, because a quoted component of a path may hold any character.
#[must_use]
pub fn split_path<'t>(text: &'t str, marks: &[char]) -> Option<(&'t str, char, &'t str)> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (position, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            mark if !is_quoted && marks.contains(&mark) => {
                return Some((&text[..position], mark, &text[position + mark.len_utf8()..]));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_in_quotes_belong_to_the_path() {
        let check = |text: &str, expected: Option<(&str, char, &str)>| {
            assert_eq!(split_path(text, &['=', '~']), expected, "{text}");
        };
        check("brand", None);
        check("a.b-c=3", Some(("a.b-c", '=', "3")));
        check("made~30d*0.2", Some(("made", '~', "30d*0.2")));
        check("a=b~c=d", Some(("a", '=', "b~c=d")));
        check("=3", Some(("", '=', "3")));
        check(r#""x=y"."z~"=1"#, Some((r#""x=y"."z~""#, '=', "1")));
        check(r#""say \"=\""~1s"#, Some((r#""say \"=\"""#, '~', "1s")));
        check(r#""never closed=1"#, None);
    }
}
