//! Splits Rust text into code and comments, so that rules look at the one they mean. Not a parser.

/// A source text twice, line for line: once with only its code, once with only its comments.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// Code; comments and the insides of strings and characters are spaces.
    pub code: String,
    /// Comments; everything else is spaces.
    pub comments: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    LineComment,
    BlockComment { depth: usize },
    Text,
    RawText { hashes: usize },
}

/// Splits a Rust source text.
pub fn split(source: &str) -> Split {
    let characters: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut comments = String::with_capacity(source.len());
    let mut inside = Inside::Code;
    let mut at = 0;
    while at < characters.len() {
        let (length, next, to) = step(&characters, at, inside);
        for &character in &characters[at..at + length] {
            let blank = if character == '\n' { '\n' } else { ' ' };
            code.push(if to == To::Code { character } else { blank });
            comments.push(if to == To::Comments { character } else { blank });
        }
        inside = next;
        at += length;
    }
    Split { code, comments }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Code,
    Comments,
    Nowhere,
}

/// How many characters belong together at `at`, what comes after them, and where they go.
fn step(characters: &[char], at: usize, inside: Inside) -> (usize, Inside, To) {
    let here = characters[at];
    let next = characters.get(at + 1).copied().unwrap_or('\n');
    match inside {
        Inside::Code => match (here, next) {
            ('/', '/') => (2, Inside::LineComment, To::Comments),
            ('/', '*') => (2, Inside::BlockComment { depth: 1 }, To::Comments),
            ('"', _) => (1, Inside::Text, To::Code),
            ('r', '"' | '#') if !is_word_before(characters, at) => raw_text(characters, at),
            ('\'', _) => character_or_lifetime(characters, at),
            _ => (1, Inside::Code, To::Code),
        },
        Inside::LineComment if here == '\n' => (1, Inside::Code, To::Code),
        Inside::LineComment => (1, inside, To::Comments),
        Inside::BlockComment { depth } => match (here, next) {
            ('/', '*') => (2, Inside::BlockComment { depth: depth + 1 }, To::Comments),
            ('*', '/') if depth == 1 => (2, Inside::Code, To::Comments),
            ('*', '/') => (2, Inside::BlockComment { depth: depth - 1 }, To::Comments),
            _ => (1, inside, To::Comments),
        },
        Inside::Text => match here {
            '\\' => (2.min(characters.len() - at), inside, To::Nowhere),
            '"' => (1, Inside::Code, To::Code),
            _ => (1, inside, To::Nowhere),
        },
        Inside::RawText { hashes } => {
            let closes = here == '"' && (1..=hashes).all(|index| characters.get(at + index) == Some(&'#'));
            if closes { (1 + hashes, Inside::Code, To::Code) } else { (1, inside, To::Nowhere) }
        }
    }
}

/// `br"…"` and `cr"…"` are raw texts too, so a single `b` or `c` before the `r` is no word.
fn is_word_before(characters: &[char], at: usize) -> bool {
    let is_word = |index: usize| {
        characters.get(index).is_some_and(|character| character.is_alphanumeric() || *character == '_')
    };
    let start = if at > 0 && matches!(characters[at - 1], 'b' | 'c') { at - 1 } else { at };
    start > 0 && is_word(start - 1)
}

fn raw_text(characters: &[char], at: usize) -> (usize, Inside, To) {
    let hashes = characters[at + 1..].iter().take_while(|character| **character == '#').count();
    // `r#name` is a raw identifier, not a raw text.
    if characters.get(at + 1 + hashes) == Some(&'"') {
        (2 + hashes, Inside::RawText { hashes }, To::Code)
    } else {
        (1, Inside::Code, To::Code)
    }
}

fn character_or_lifetime(characters: &[char], at: usize) -> (usize, Inside, To) {
    let escaped = characters.get(at + 1) == Some(&'\\');
    let end = if escaped {
        (at + 3..characters.len()).find(|&index| characters[index] == '\'')
    } else {
        Some(at + 2).filter(|&index| characters.get(index) == Some(&'\''))
    };
    match end {
        Some(end) => (end + 1 - at, Inside::Code, To::Nowhere),
        None => (1, Inside::Code, To::Code),
    }
}

/// The lines (from 1) in which `word` stands as a whole word.
pub fn lines_with_word<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    text.lines().enumerate().filter(move |(_, line)| has_word(line, word)).map(|(index, _)| index + 1)
}

/// Whether `word` stands in `line` with no letter, digit or underscore next to it.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_word = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(start, _)| {
        !is_word(line[..start].chars().next_back()) && !is_word(line[start + word.len()..].chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_texts_are_told_apart() {
        let source = "let a = \"// no\"; // yes\nlet b = r#\"\"tokio\"#; /* x /* y */ z */ let c = '\"'; 'life: loop {}";
        let split = split(source);
        assert!(!split.code.contains("no") && !split.code.contains("tokio") && split.code.contains("'life"));
        assert!(split.code.contains("let c") && !split.code.contains('z'));
        assert!(split.comments.contains("// yes") && !split.comments.contains("no"));
        assert_eq!(split.code.lines().count(), source.lines().count());
    }

    #[test]
    fn an_escaped_quote_does_not_end_a_text_or_a_character() {
        let split = split(r#"let a = "\"// x"; let b = '\''; let c = '\u{1F600}'; // end"#);
        assert_eq!(split.comments.trim(), "// end");
        assert!(split.code.contains("let c"));
    }

    #[test]
    fn words_are_whole() {
        assert!(
            has_word("use rand::Rng;", "rand")
                && !has_word("operand", "rand")
                && !has_word("rand_core", "rand")
        );
    }
}
