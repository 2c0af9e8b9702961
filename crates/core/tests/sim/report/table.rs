//! Tables in Markdown, written and read back.

/// A table of figures with a name per row.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<(String, Vec<String>)>,
}

impl Table {
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|column| column.to_string()).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, name: &str, cells: Vec<String>) {
        assert_eq!(cells.len() + 1, self.columns.len(), "a cell for each column: {name}");
        self.rows.push((name.into(), cells));
    }

    pub fn markdown(&self) -> String {
        let mut text = line(self.columns.iter());
        text += &line(std::iter::repeat_n(&"---".to_string(), self.columns.len()));
        for (name, cells) in &self.rows {
            text += &line(std::iter::once(name).chain(cells));
        }
        text
    }

    /// The first table after a heading.
    pub fn find(text: &str, heading: &str) -> Option<Self> {
        let lines = text.lines().skip_while(|line| line.trim() != heading);
        let mut lines = lines.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let columns = cells(lines.next()?);
        let rows = lines.skip(1).filter_map(|line| cells(line).split_first().map(|(a, b)| (a.clone(), b.to_vec())));
        Some(Self { columns, rows: rows.collect() })
    }
}

fn line<'a>(cells: impl Iterator<Item = &'a String>) -> String {
    let mut line = String::from("|");
    for cell in cells {
        line += " ";
        line += cell;
        line += " |";
    }
    line + "\n"
}

fn cells(line: &str) -> Vec<String> {
    line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_string()).collect()
}

/// The median and, if it is another, the worst: the largest.
pub fn median_and_worst(mut all: Vec<f64>, digits: usize) -> String {
    all.sort_by(f64::total_cmp);
    let median = rounded(all[all.len() / 2], digits);
    let worst = rounded(all[all.len() - 1], digits);
    if median == worst { median } else { format!("{median} ({worst})") }
}

/// With so many digits, and no minus before nothing.
pub fn rounded(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.trim_start_matches('-').chars().all(|c| "0.".contains(c)) {
        text.trim_start_matches('-').into()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut table = Table::new(&["path", "p50", "p95"]);
        table.row("N0 ideal", vec!["1.0 (2.0)".into(), "3".into()]);
        let text = format!("# Title\n\n## Check\n\nWords.\n\n{}\nMore.\n", table.markdown());
        assert_eq!(Table::find(&text, "## Check"), Some(table));
        assert_eq!(Table::find(&text, "## Else"), None);
    }

    #[test]
    fn the_worst_is_told_where_it_differs() {
        assert_eq!(median_and_worst(vec![3.0, 1.04, 1.0], 1), "1.0 (3.0)");
        assert_eq!(median_and_worst(vec![1.01, 1.0], 1), "1.0");
        assert_eq!(rounded(-0.04, 1), "0.0");
    }
}
