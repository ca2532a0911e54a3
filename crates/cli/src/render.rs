//! How answers are shown: as a table for people, as JSON, YAML or CSV for programs, as bare names
//! for a shell's loops.
//!
//! Listings are written page by page as they arrive, so a registry of a million devices does not have to
//! fit into our memory.

use std::io::{self, IsTerminal as _, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;

use crate::failure::Failure;
use crate::text;
use crate::yaml;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns for people. Characters that a terminal would act on are spelled out.
    #[default]
    Table,
    /// The same with more columns.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// Comma-separated values with a heading, all columns (RFC 4180).
    Csv,
    /// Names alone, one on each line.
    Name,
}

impl Format {
    /// Whether a whole answer is one document.
    pub(crate) fn is_document(self) -> bool {
        matches!(self, Format::Json | Format::Yaml)
    }

    /// Whether people read it, so that sentences may stand beside what was asked for.
    fn is_for_people(self) -> bool {
        matches!(self, Format::Table | Format::Wide)
    }
}

/// A thing that is shown as one row of a listing.
pub(crate) trait Row: Serialize {
    /// The headings.
    const COLUMNS: &'static [&'static str];
    /// The headings of what is shown only where there is room for it.
    const MORE: &'static [&'static str] = &[];

    /// One cell for each heading.
    fn cells(&self) -> Vec<String>;

    /// One cell for each further heading.
    fn more(&self) -> Vec<String> {
        Vec::new()
    }

    /// What it is called in other commands.
    fn name(&self) -> String {
        self.cells().swap_remove(0)
    }
}

/// A thing that is shown alone, one line for each of its fields.
pub(crate) trait Sheet: Serialize {
    /// Names of the fields and what they hold; a field without a value is left out.
    fn lines(&self) -> Vec<(&'static str, String)>;
}

/// Where answers go.
pub(crate) struct Output {
    format: Format,
    out: Box<dyn Write>,
}

impl Output {
    /// Standard output, buffered.
    pub(crate) fn stdout(format: Format) -> Self {
        Self::new(format, Box::new(io::BufWriter::new(io::stdout())))
    }

    pub(crate) fn new(format: Format, out: Box<dyn Write>) -> Self {
        Self { format, out }
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Shows one thing.
    pub(crate) fn sheet<T: Sheet>(&mut self, thing: &T) -> Result<(), Failure> {
        match self.format {
            Format::Table | Format::Wide => self.aligned(&thing.lines()),
            Format::Json | Format::Yaml => self.document(thing),
            Format::Csv => {
                let lines = thing.lines().into_iter().map(|(field, value)| [field.to_owned(), value]);
                self.separated([["field".to_owned(), "value".to_owned()]].into_iter().chain(lines))
            }
            Format::Name => {
                let name = thing.lines().into_iter().next().map(|(_, value)| value).unwrap_or_default();
                self.names([name])
            }
        }
    }

    /// Writes one JSON or YAML document, as the format says; JSON where that has no documents.
    pub(crate) fn document<T: Serialize + ?Sized>(&mut self, thing: &T) -> Result<(), Failure> {
        let document = match self.format {
            Format::Yaml => yaml::document(thing)?,
            _ => json(thing)? + "\n",
        };
        self.out.write_all(document.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// Writes one of many things that come one after the other, without an end: a line of JSON, or a document of YAML.
    pub(crate) fn one_of_many<T: Serialize + ?Sized>(&mut self, thing: &T) -> Result<(), Failure> {
        let text = match self.format {
            Format::Yaml => format!("---\n{}", yaml::document(thing)?),
            _ => text::visible_json(serde_json::to_string(thing).map_err(io::Error::other)?) + "\n",
        };
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// A sentence for people; programs do not see it.
    pub(crate) fn note(&mut self, sentence: &str) -> Result<(), Failure> {
        if self.format.is_for_people() {
            writeln!(self.out, "{}", text::visible(sentence))?;
            self.out.flush()?;
        }
        Ok(())
    }

    /// Begins a listing; each of its pages is given to [`Listing::page`].
    pub(crate) fn listing(&mut self) -> Listing<'_> {
        Listing { output: self, rows: 0, widths: Vec::new(), headed: false }
    }

    fn aligned(&mut self, lines: &[(&'static str, String)]) -> Result<(), Failure> {
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in lines {
            writeln!(self.out, "{name:<width$}  {}", text::visible(value))?;
        }
        Ok(self.out.flush()?)
    }
}

impl Output {
    /// Lines of comma-separated values.
    fn separated<const N: usize>(
        &mut self,
        lines: impl IntoIterator<Item = [String; N]>,
    ) -> Result<(), Failure> {
        for cells in lines {
            writeln!(self.out, "{}\r", csv_line(&cells))?;
        }
        Ok(self.out.flush()?)
    }

    fn names(&mut self, names: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        for name in names {
            writeln!(self.out, "{}", text::visible(&name))?;
        }
        Ok(self.out.flush()?)
    }
}

/// A listing that is being written.
pub(crate) struct Listing<'a> {
    output: &'a mut Output,
    rows: u64,
    widths: Vec<u16>,
    /// Whether the heading of CSV has been written.
    headed: bool,
}

impl Listing<'_> {
    /// Writes the next rows.
    pub(crate) fn page<T: Row>(&mut self, rows: &[T]) -> Result<(), Failure> {
        match self.output.format {
            Format::Table | Format::Wide => self.table(rows)?,
            Format::Csv => self.csv(rows)?,
            Format::Name => self.output.names(rows.iter().map(Row::name))?,
            Format::Json => rows.iter().try_for_each(|row| self.json(row))?,
            Format::Yaml => rows.iter().try_for_each(|row| self.yaml(row))?,
        }
        Ok(self.output.out.flush()?)
    }

    /// Writes one more row of a listing that may never end.
    pub(crate) fn one<T: Row>(&mut self, row: &T) -> Result<(), Failure> {
        match self.output.format.is_document() {
            true => self.output.one_of_many(row),
            false => self.page(std::slice::from_ref(row)),
        }
    }

    /// Ends the listing. `none` is what people read when there was not a single row.
    pub(crate) fn end(self, none: &str) -> Result<(), Failure> {
        if self.rows == 0 {
            self.output.note(none)?;
        }
        self.close()
    }

    /// Ends the listing, and says nothing to people if it was empty.
    pub(crate) fn close(self) -> Result<(), Failure> {
        let out = &mut self.output.out;
        match (self.output.format, self.rows) {
            (Format::Json | Format::Yaml, 0) => writeln!(out, "[]")?,
            (Format::Json, _) => writeln!(out, "\n]")?,
            _ => {}
        }
        Ok(out.flush()?)
    }

    fn json<T: Serialize>(&mut self, row: &T) -> Result<(), Failure> {
        let opening = if self.rows == 0 { "[\n" } else { ",\n" };
        self.rows += 1;
        let row = json(row)?;
        self.output.out.write_all(opening.as_bytes())?;
        Ok(write!(self.output.out, "  {}", row.replace('\n', "\n  "))?)
    }

    fn yaml<T: Serialize>(&mut self, row: &T) -> Result<(), Failure> {
        self.rows += 1;
        Ok(self.output.out.write_all(yaml::document(&[row])?.as_bytes())?)
    }

    fn csv<T: Row>(&mut self, rows: &[T]) -> Result<(), Failure> {
        // An empty table has its heading too.
        if !std::mem::replace(&mut self.headed, true) {
            let headings: Vec<String> = headings::<T>(true).map(str::to_owned).collect();
            writeln!(self.output.out, "{}\r", csv_line(&headings))?;
        }
        self.rows += rows.len() as u64;
        for row in rows {
            writeln!(self.output.out, "{}\r", csv_line(&cells(row, true).collect::<Vec<_>>()))?;
        }
        Ok(())
    }

    fn table<T: Row>(&mut self, rows: &[T]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        let wide = self.output.format == Format::Wide;
        let mut table = bare_table();
        if self.rows == 0 {
            table.set_header(headings::<T>(wide).map(str::to_uppercase));
        }
        for row in rows {
            table.add_row(cells(row, wide).map(|cell| text::visible(&cell).into_owned()));
        }
        self.keep_widths(&mut table);
        self.rows += rows.len() as u64;
        for line in table.lines() {
            writeln!(self.output.out, "{}", line.trim_end())?;
        }
        Ok(())
    }

    /// Later pages are at least as wide as earlier ones, so that their columns stand below each other.
    fn keep_widths(&mut self, table: &mut Table) {
        for (column, width) in table.column_iter_mut().zip(&self.widths) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width)));
        }
        let content = table.column_max_content_widths();
        self.widths.resize(content.len(), 0);
        for (width, content) in self.widths.iter_mut().zip(content) {
            // The boundary counts the padding on the right too.
            *width = (*width).max(content + 2);
        }
    }
}

fn headings<T: Row>(all: bool) -> impl Iterator<Item = &'static str> {
    let more = if all { T::MORE } else { &[] };
    T::COLUMNS.iter().chain(more).copied()
}

fn cells<T: Row>(row: &T, all: bool) -> impl Iterator<Item = String> {
    let more = if all { row.more() } else { Vec::new() };
    row.cells().into_iter().chain(more)
}

/// A line without its end (RFC 4180, section 2). What a terminal would act on is spelled out.
fn csv_line(cells: &[String]) -> String {
    let quoted = |cell: &String| {
        let cell = text::visible(cell);
        let plain = !cell.contains(['"', ',']);
        if plain { cell.into_owned() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
    };
    cells.iter().map(quoted).collect::<Vec<_>>().join(",")
}

fn bare_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn json<T: Serialize + ?Sized>(thing: &T) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(thing).map_err(io::Error::other)?;
    Ok(text::visible_json(json))
}

/// Whether a person is likely to watch: progress and questions go to standard error.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Says something on standard error, whatever the format: what is asked for is done all the same.
pub(crate) fn remark(sentence: &str) {
    // Nobody is left to tell when standard error itself cannot be written.
    let _ = writeln!(anstream::stderr().lock(), "\x1b[1;36mnote:\x1b[0m {}", text::visible(sentence));
}

/// The word that a member of a fixed set is spelled with on the wire.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

/// The word that a choice has on the command line.
pub(crate) fn word_of(choice: &impl clap::ValueEnum) -> String {
    choice.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// A duration in the largest units that show it whole: `10m`, `1d`, `90s`.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0 => "0".to_owned(),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// What a journal's entry says, without its version and what it leaves open.
pub(crate) fn detail(detail: &serde_json::Value) -> String {
    let mut detail = detail.clone();
    if let Some(members) = detail.as_object_mut() {
        members.retain(|key, value| key != "v" && !value.is_null());
    }
    detail.to_string()
}

/// The text of an optional cell.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Serialize)]
    struct Thing {
        name: &'static str,
        size: u32,
    }

    impl Row for Thing {
        const COLUMNS: &'static [&'static str] = &["name", "size"];
        const MORE: &'static [&'static str] = &["half"];
        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.size.to_string()]
        }
        fn more(&self) -> Vec<String> {
            vec![(f64::from(self.size) / 2.0).to_string()]
        }
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(format: Format, pages: &[&[Thing]]) -> String {
        let shared = Shared::default();
        let mut output = Output::new(format, Box::new(shared.clone()));
        let mut listing = output.listing();
        for page in pages {
            listing.page(page).unwrap();
        }
        listing.end("Nothing here.").unwrap();
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const FIRST: &[Thing] = &[Thing { name: "pump-17", size: 3 }];
    const SECOND: &[Thing] = &[Thing { name: "x", size: 12 }];

    #[test]
    fn a_table_has_one_heading_and_its_pages_stand_below_each_other() {
        assert_eq!(shown(Format::Table, &[FIRST, SECOND]), " NAME     SIZE\n pump-17  3\n x        12\n");
    }

    #[test]
    fn a_wide_table_and_csv_have_all_columns_and_names_stand_alone() {
        assert_eq!(shown(Format::Wide, &[FIRST]), " NAME     SIZE  HALF\n pump-17  3     1.5\n");
        let odd: &[Thing] = &[Thing { name: "a,\"b\"", size: 2 }];
        assert_eq!(
            shown(Format::Csv, &[FIRST, odd]),
            "name,size,half\r\npump-17,3,1.5\r\n\"a,\"\"b\"\"\",2,1\r\n"
        );
        assert_eq!(shown(Format::Name, &[FIRST, SECOND]), "pump-17\nx\n");
    }

    #[test]
    fn pages_of_json_and_yaml_make_one_document() {
        let json = shown(Format::Json, &[FIRST, SECOND]);
        let back: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back, serde_json::json!([{"name":"pump-17","size":3},{"name":"x","size":12}]));
        assert_eq!(
            shown(Format::Yaml, &[FIRST, SECOND]),
            "- name: pump-17\n  size: 3\n- name: x\n  size: 12\n"
        );
    }

    #[test]
    fn an_empty_listing_says_so() {
        assert_eq!(shown(Format::Table, &[&[]]), "Nothing here.\n");
        assert_eq!(shown(Format::Json, &[&[]]), "[]\n");
        assert_eq!(shown(Format::Yaml, &[]), "[]\n");
        assert_eq!(shown(Format::Csv, &[&[]]), "name,size,half\r\n");
        assert_eq!(shown(Format::Name, &[]), "");
    }

    #[test]
    fn no_format_lets_a_name_act_on_the_terminal() {
        let evil: &[Thing] = &[Thing { name: "a\u{1b}[2J\u{9b}1m\u{202e}b", size: 1 }];
        for format in [Format::Table, Format::Wide, Format::Json, Format::Yaml, Format::Csv, Format::Name] {
            let text = shown(format, &[evil, FIRST]).replace("\r\n", "\n");
            assert!(!text.contains(|c| c != '\n' && text::is_hazard(c)), "{format:?}: {text:?}");
        }
        let yaml = shown(Format::Yaml, &[evil, FIRST]);
        let back: Vec<serde_json::Value> = serde_norway::from_str(&yaml).unwrap_or_default();
        assert_eq!(back.first().map(|row| row["name"].clone()), Some("a\u{1b}[2J\u{9b}1m\u{202e}b".into()));
    }

    #[test]
    fn durations_are_shown_as_they_are_typed() {
        for text in ["0", "90s", "10m", "5h", "7d"] {
            assert_eq!(duration(crate::values::seconds(text).unwrap()), text);
        }
    }
}
