//! Tables: aligned for programs that read lines, fitted to the terminal for people.

use super::terminal::{self, BOLD};

/// Between two columns.
const GAP: usize = 2;

/// Prints a table. On a terminal it fits the width: cells are wrapped at spaces, and where that is not enough each row
/// becomes a block of lines, so that ids can be copied whole. Elsewhere a row is one line.
pub fn print(header: &[&str], rows: &[Vec<String>]) {
    let width = terminal::output_width();
    let lines = lay_out(header, rows, width);
    let bold = |text: &str| terminal::paint_output(BOLD, text);
    for Line { title, text } in &lines {
        super::output::line(&format!("{}{text}", if title.is_empty() { String::new() } else { bold(title) }));
    }
}

/// A line to print, and what of it is a title and stands first.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    title: String,
    text: String,
}

fn lay_out(header: &[&str], rows: &[Vec<String>], width: Option<usize>) -> Vec<Line> {
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let widths = match width {
        None => Some(natural_widths(&header, &rows)),
        Some(width) => fit(&header, &rows, width),
    };
    let Some(widths) = widths else { return blocks(&header, &rows) };
    let mut lines = Vec::new();
    for text in wrap_row(&header, &widths) {
        lines.push(Line { title: text, text: String::new() });
    }
    lines.extend(
        rows.iter().flat_map(|row| wrap_row(row, &widths)).map(|text| Line { title: String::new(), text }),
    );
    lines
}

fn column<'a>(header: &'a [String], rows: &'a [Vec<String>], at: usize) -> impl Iterator<Item = &'a String> {
    header.get(at).into_iter().chain(rows.iter().filter_map(move |row| row.get(at)))
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn natural_widths(header: &[String], rows: &[Vec<String>]) -> Vec<usize> {
    let widest = |at| column(header, rows, at).map(|cell| length(cell)).max().unwrap_or(0);
    (0..header.len()).map(widest).collect()
}

/// Widths of columns that fit into `width` without a word being cut; `None` when there are none.
fn fit(header: &[String], rows: &[Vec<String>], width: usize) -> Option<Vec<usize>> {
    let mut widths = natural_widths(header, rows);
    let longest_word = |cell: &String| cell.split_whitespace().map(length).max().unwrap_or(0);
    let least: Vec<usize> =
        (0..header.len()).map(|at| column(header, rows, at).map(longest_word).max().unwrap_or(0)).collect();
    let gaps = GAP * header.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > width {
        let shrinkable = widths.iter_mut().zip(&least).filter(|(width, least)| **width > **least);
        *shrinkable.map(|(width, _)| width).max()? -= 1;
    }
    Some(widths)
}

/// A row, on as many lines as its cells need.
fn wrap_row(row: &[String], widths: &[usize]) -> Vec<String> {
    let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let empty = String::new();
    let line = |at: usize| {
        let parts = cells.iter().zip(widths).map(|(cell, width)| {
            let part = cell.get(at).unwrap_or(&empty);
            format!("{part:<0$}", *width)
        });
        parts.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

fn wrap(cell: &str, width: usize) -> Vec<String> {
    if length(cell) <= width {
        return vec![cell.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in cell.split_whitespace() {
        match lines.last_mut().filter(|line| length(line) + 1 + length(word) <= width) {
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Each row as a block: a line for each cell.
fn blocks(header: &[String], rows: &[Vec<String>]) -> Vec<Line> {
    let width = header.iter().map(|name| length(name)).max().unwrap_or(0) + GAP;
    let mut lines = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            lines.push(Line { title: String::new(), text: String::new() });
        }
        let cells = header.iter().zip(row).filter(|(_, cell)| !cell.is_empty());
        lines.extend(cells.map(|(name, cell)| Line { title: format!("{name:<width$}"), text: cell.clone() }));
    }
    lines
}

/// Text that cannot command the terminal, or turn around what stands beside it: names come from other people.
#[must_use]
pub fn visible(cell: &str) -> String {
    let acts = |character: char| {
        character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !cell.contains(acts) {
        return cell.to_owned();
    }
    let show = |character: char| {
        if acts(character) { character.escape_unicode().to_string() } else { character.to_string() }
    };
    cell.chars().map(show).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(header: &[&str], rows: &[&[&str]], width: Option<usize>) -> String {
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect();
        let lines = lay_out(header, &rows, width).into_iter().map(|line| line.title + &line.text);
        lines.collect::<Vec<_>>().join("\n")
    }

    const HEADER: &[&str] = &["ID", "SCOPE"];
    const ROWS: &[&[&str]] =
        &[&["task-service", "event.view event.create file.view"], &["report", "file.view"]];

    #[test]
    fn a_row_is_one_line_where_no_terminal_is() {
        assert_eq!(
            text(HEADER, ROWS, None),
            "ID            SCOPE\n\
             task-service  event.view event.create file.view\n\
             report        file.view"
        );
        assert_eq!(text(HEADER, ROWS, Some(47)), text(HEADER, ROWS, None));
    }

    #[test]
    fn cells_are_wrapped_at_spaces_to_fit_the_terminal() {
        assert_eq!(
            text(HEADER, ROWS, Some(37)),
            "ID            SCOPE\n\
             task-service  event.view event.create\n\
             \x20             file.view\n\
             report        file.view"
        );
    }

    #[test]
    fn rows_become_blocks_where_words_would_be_cut() {
        assert_eq!(
            text(HEADER, ROWS, Some(20)),
            "ID     task-service\n\
             SCOPE  event.view event.create file.view\n\
             \n\
             ID     report\n\
             SCOPE  file.view"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_unless_it_is_a_block() {
        for width in 27..60 {
            let shown = text(HEADER, ROWS, Some(width));
            assert!(shown.lines().all(|line| length(line) <= width), "{width}: {shown}");
        }
    }

    #[test]
    fn what_would_command_the_terminal_is_shown_instead() {
        let shown = text(&["NAME"], &[&["\u{1b}[2Jgone\u{202e}"], &["Dienst für Aufgaben"]], None);
        assert_eq!(shown, "NAME\n\\u{1b}[2Jgone\\u{202e}\nDienst für Aufgaben");
    }

    #[test]
    fn an_empty_table_is_its_header() {
        assert_eq!(text(HEADER, &[], Some(80)), "ID  SCOPE");
    }
}
