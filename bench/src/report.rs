//! Figure, bar, verdict: printed as they come, and once more in a table at the end.

/// What is asked of a figure.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// Not less than this.
    AtLeast(f64),
    /// Not more than this.
    AtMost(f64),
    /// It is told, not judged.
    None,
}

/// A figure and what is asked of it.
#[derive(Clone, Debug)]
pub struct Row {
    what: String,
    figure: f64,
    unit: &'static str,
    bar: Bar,
}

/// All figures of a run.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Takes a figure and prints it.
    #[expect(clippy::print_stdout, reason = "this is the program's output")]
    pub fn add(&mut self, what: impl Into<String>, figure: f64, unit: &'static str, bar: Bar) {
        let row = Row { what: what.into(), figure, unit, bar };
        println!("    {}", row.line());
        self.rows.push(row);
    }

    /// Prints something that is no figure.
    #[expect(clippy::print_stdout, reason = "this is the program's output")]
    pub fn note(&self, text: &str) {
        println!("    {text}");
    }

    /// Prints what is measured next.
    #[expect(clippy::print_stdout, reason = "this is the program's output")]
    pub fn title(&self, text: &str) {
        println!("\n{text}");
    }

    /// Prints all figures again, and how many bars were reached.
    #[expect(clippy::print_stdout, reason = "this is the program's output")]
    pub fn end(&self) {
        println!("\nAll figures");
        for row in &self.rows {
            println!("    {}", row.line());
        }
        let judged = self.rows.iter().filter_map(Row::reached);
        let (reached, missed): (Vec<bool>, Vec<bool>) = judged.partition(|reached| *reached);
        println!("\n{} bars reached, {} missed", reached.len(), missed.len());
    }
}

impl Row {
    fn reached(&self) -> Option<bool> {
        match self.bar {
            Bar::AtLeast(bar) => Some(self.figure >= bar),
            Bar::AtMost(bar) => Some(self.figure <= bar),
            Bar::None => None,
        }
    }

    fn line(&self) -> String {
        let bar = match self.bar {
            Bar::AtLeast(bar) => format!("at least {}", shown(bar)),
            Bar::AtMost(bar) => format!("at most {}", shown(bar)),
            Bar::None => String::new(),
        };
        let verdict = match self.reached() {
            Some(true) => "reached",
            Some(false) => "MISSED",
            None => "",
        };
        let figure = format!("{} {}", shown(self.figure), self.unit);
        format!("{:<64} {figure:>14}   {bar:<18} {verdict}", self.what).trim_end().to_owned()
    }
}

/// Large figures without, small ones with decimals.
fn shown(figure: f64) -> String {
    match figure.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{figure:.0}"),
        10.0.. => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_bar() {
        let row = |figure, bar| Row { what: "rate".into(), figure, unit: "/s", bar };
        assert_eq!(row(20_000.0, Bar::AtLeast(20_000.0)).reached(), Some(true));
        assert_eq!(row(2.5, Bar::AtMost(2.0)).reached(), Some(false));
        assert_eq!(row(1.0, Bar::None).reached(), None);
        let line = row(2.5, Bar::AtMost(2.0)).line();
        assert!(
            line.contains("2.50 /s") && line.contains("at most 2.00") && line.ends_with("MISSED"),
            "{line}"
        );
    }
}
