//! What was probably meant by a name that does not exist.

/// Of `names`, the one that `wrong` was probably meant to be.
#[must_use]
pub fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let close = |name: &'a str| (edits(wrong, name), name);
    names
        .map(close)
        .filter(|(edits, _)| *edits <= (wrong.len() / 3).min(2))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// How many characters have to be changed, added or left out to get from `a` to `b` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((y, above), diagonal) in b.chars().zip(row.iter().skip(1)).zip(&row) {
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(x != y)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
