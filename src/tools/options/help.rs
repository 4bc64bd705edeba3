//! jopt-simple 3.2's table of options: two columns of 39 characters, wrapped where Java's line breaker
//! would wrap. Does not know how options are parsed.

use super::{Argument, OptionSpec};

const WIDTH: usize = 39;

/// The table, one row per option in the order given (which is alphabetical).
pub(super) fn format<'a>(specs: impl Iterator<Item = &'a OptionSpec>) -> String {
    let mut text = String::new();
    let mut empty = true;
    line(&mut text, "Option", "Description");
    line(&mut text, "------", "-----------");
    for spec in specs {
        empty = false;
        let left = cells(&display(spec));
        let right = cells(&description(spec));
        for row in 0..left.len().max(right.len()) {
            let cell = |column: &[String]| column.get(row).cloned().unwrap_or_default();
            line(&mut text, &cell(&left), &cell(&right));
        }
    }
    if empty {
        "No options specified\n".to_string()
    } else {
        text
    }
}

fn line(text: &mut String, left: &str, right: &str) {
    *text += &format!("{left:WIDTH$} {right:WIDTH$}\n");
}

fn display(spec: &OptionSpec) -> String {
    let dashes = if spec.name.chars().count() > 1 { "--" } else { "-" };
    let kind = spec.kind.short_name();
    let word = &spec.argument_description;
    let inner = match (kind, word.as_str()) {
        ("", word) => word.to_string(),
        (kind, "") => kind.to_string(),
        (kind, word) => format!("{kind}: {word}"),
    };
    let argument = match spec.argument {
        _ if inner.is_empty() => String::new(),
        Argument::None => String::new(),
        Argument::Required => format!(" <{inner}>"),
        Argument::Optional => format!(" [{inner}]"),
    };
    format!("{dashes}{}{argument}", spec.name)
}

fn description(spec: &OptionSpec) -> String {
    match spec.defaults.as_slice() {
        [] => spec.description.clone(),
        [one] => format!("{} (default: {one})", spec.description),
        several => format!("{} (default: [{}])", spec.description, several.join(", ")),
    }
}

/// Fills cells of [`WIDTH`]; a continued line is indented by two. Blanks at a break count.
fn cells(source: &str) -> Vec<String> {
    let mut cells = Vec::new();
    for source_line in source.trim().split('\n') {
        let mut cell = String::new();
        for word in words(source_line) {
            if cell.chars().count() + word.chars().count() > WIDTH {
                cells.push(std::mem::replace(&mut cell, "  ".to_string()));
            }
            cell += word;
        }
        if !cell.is_empty() {
            cells.push(cell);
        }
    }
    cells
}

/// Splits where Java's `BreakIterator.getLineInstance` allows a break; pieces keep their blanks.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (word, after) = rest.split_at(word_end(rest));
        rest = after;
        Some(word)
    })
}

/// Opens a word and stays with what follows. The double quote opens and closes.
fn opens(c: char) -> bool {
    matches!(c, '(' | '[' | '{' | '"')
}

/// Closes a word and stays with what precedes.
fn closes(c: char) -> bool {
    matches!(c, '!' | '%' | ',' | '.' | ':' | ';' | '?' | ')' | ']' | '}' | '"')
}

/// Stays with both neighbours.
fn joins(c: char) -> bool {
    matches!(c, '$' | '\'')
}

fn plain(c: char) -> bool {
    !(opens(c) || closes(c) || joins(c) || c == '-' || c == ' ' || c == '\t')
}

/// The length of the first piece of `text`, which is not empty: opening marks, a word or number, closing
/// marks or dashes, then blanks.
fn word_end(text: &str) -> usize {
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let at = |i: usize| chars.get(i).map(|&(_, c)| c);
    let is = |i: usize, what: fn(char) -> bool| at(i).is_some_and(what);
    let digit = |c: char| c.is_ascii_digit();
    let mut i = 0;
    loop {
        // A sign or a point before the first digit belongs to the number, which then ends with its digits;
        // without them digits are letters like others.
        let mut number = i;
        while is(number, |c| opens(c) || c == '-') {
            number += 1;
        }
        if at(number) == Some('.') {
            number += 1;
        }
        let signed = is(number, digit) && chars[i..number].iter().any(|&(_, c)| !opens(c));
        if signed {
            i = number;
        }
        while is(i, opens) {
            i += 1;
        }
        let inside = |i: usize| is(i, |c| matches!(c, '.' | ',')) && is(i - 1, digit) && is(i + 1, digit);
        while (if signed { is(i, digit) } else { is(i, plain) }) || (i > 0 && inside(i)) {
            i += 1;
        }
        if at(i) == Some('-') {
            while at(i) == Some('-') {
                i += 1;
            }
        } else {
            while is(i, closes) {
                i += 1;
            }
        }
        if !is(i, joins) {
            break;
        }
        i += 1;
    }
    while at(i) == Some(' ') {
        i += 1;
    }
    if at(i) == Some('\t') {
        i += 1;
    }
    chars.get(i).map_or(text.len(), |&(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaks(text: &str) -> Vec<usize> {
        let mut end = 0;
        words(text)
            .map(|w| {
                end += w.len();
                end
            })
            .collect()
    }

    /// What JDK 17's line breaker answers.
    #[test]
    fn lines_break_where_java_breaks_them() {
        for (text, expected) in [
            ("ab(cd", vec![2, 5]),
            ("ab)cd", vec![3, 5]),
            ("ab'cd", vec![5]),
            ("ab-$cd", vec![6]),
            ("1.2", vec![3]),
            ("ab.1", vec![3, 4]),
            ("1-2", vec![2, 3]),
            ("(\"b", vec![3]),
            ("(!b", vec![2, 3]),
            ("ab.-1", vec![3, 5]),
            ("ab(-1", vec![2, 5]),
            ("ab#-1", vec![4, 5]),
            ("ab--cd", vec![4, 6]),
            ("ab -cd", vec![3, 4, 6]),
            ("\tcleanup.policy", vec![1, 9, 15]),
            ("a  b", vec![3, 4]),
        ] {
            assert_eq!(breaks(text), expected, "{text:?}");
        }
    }
}
