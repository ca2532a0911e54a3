//! Values as they are typed on the command line: durations, dates, lists, secrets.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use wire::Secret;
use wire::admin::Change;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Reads a duration such as `90s`, `10m`, `24h`, `7d`, `2w` or `1h30m`, in seconds.
///
/// # Errors
/// A sentence that says how a duration is written.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(0);
    }
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(how_to_write_a_duration());
    }
    while !rest.is_empty() {
        let (part, tail) = leading_part(rest).ok_or_else(how_to_write_a_duration)?;
        total = total.checked_add(part).ok_or("the duration is too long")?;
        rest = tail;
    }
    Ok(total)
}

/// [`seconds`], but not none of them.
///
/// # Errors
/// As [`seconds`]; that nothing lives for no time.
pub(crate) fn life(text: &str) -> Result<u64, String> {
    match seconds(text)? {
        0 => Err("it would have ended already; leave the flag out for one that never ends".to_owned()),
        life => Ok(life),
    }
}

fn leading_part(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, rest) = text.split_at_checked(digits)?;
    let unit = rest.chars().next()?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    let part = number.parse::<u64>().ok()?.checked_mul(factor)?;
    Some((part, rest.get(unit.len_utf8()..)?))
}

fn how_to_write_a_duration() -> String {
    "write a duration as a number with a unit: 90s, 10m, 24h, 7d, 2w, or together: 1h30m".to_owned()
}

/// Reads a point in time: RFC 3339 (`2027-01-31T12:00:00Z`), or a duration counted from `now`. The answer
/// is RFC 3339 in UTC.
///
/// # Errors
/// A sentence that says how a point in time is written.
pub(crate) fn instant(text: &str, now: Timestamp) -> Result<String, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.to_string());
    }
    let ahead = seconds(text).map_err(|_| how_to_write_an_instant())?;
    let ahead = i64::try_from(ahead).map_err(|_| "the duration is too long")?;
    let at = now.checked_add(SignedDuration::from_secs(ahead)).map_err(|_| "the duration is too long")?;
    Ok(at.to_string())
}

fn how_to_write_an_instant() -> String {
    "write a point in time as RFC 3339 (2027-01-31T12:00:00Z), or as a duration from now (24h, 7d)".to_owned()
}

/// [`instant`] counted from this moment, for a flag.
///
/// # Errors
/// As [`instant`].
pub(crate) fn instant_from_now(text: &str) -> Result<String, String> {
    instant(text, Timestamp::now())
}

/// Reads a point in time in RFC 3339, or a duration before this moment, for a flag.
///
/// # Errors
/// A sentence that says how it is written.
pub(crate) fn instant_ago(text: &str) -> Result<String, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.to_string());
    }
    let wrong = "write a point in time as RFC 3339 (2027-01-31T12:00:00Z), or as a duration ago (24h, 7d)";
    let ago = seconds(text).ok().and_then(|ago| i64::try_from(ago).ok()).ok_or(wrong)?;
    let at = Timestamp::now().checked_sub(SignedDuration::from_secs(ago)).map_err(|_| wrong)?;
    Ok(at.to_string())
}

/// A flag of `set`: an empty value clears the field.
///
/// # Errors
/// Those of `parse`.
pub(crate) fn clearable<T>(
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Change<T>, String> {
    if text.is_empty() {
        return Ok(Change::Clear);
    }
    parse(text).map(Change::Set)
}

/// Splits a list at commas; blanks around an entry do not count.
pub(crate) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

/// Reads a secret from a file, or from standard input for `-`. One line end after it does not belong to
/// it.
///
/// # Errors
/// When it cannot be read, is not UTF-8 text or is empty.
pub(crate) fn secret_from(path: &Path) -> Result<Secret, Failure> {
    let text = if path == Path::new("-") { read_stdin() } else { read_file(path) };
    let text = text.map_err(|error| {
        Failure::usage(format!("cannot read the secret from {}: {error}", path.display()))
    })?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(Failure::usage(format!("there is no secret in {}: it is empty", path.display())));
    }
    Ok(Secret::from(secret))
}

fn read_file(path: &Path) -> std::io::Result<Zeroizing<String>> {
    fs::read_to_string(path).map(Zeroizing::new)
}

fn read_stdin() -> std::io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(4_096));
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// A line that somebody types unseen.
///
/// # Errors
/// Where the terminal cannot be had.
pub(crate) fn hidden(question: &str) -> Result<Secret, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = io::stdin();
    let failed = |error: rustix::io::Errno| Failure::usage(format!("the terminal does not obey: {error}"));
    let shown = tcgetattr(&stdin).map_err(failed)?;
    let mut unseen = shown.clone();
    unseen.local_modes -= LocalModes::ECHO;
    tcsetattr(&stdin, OptionalActions::Flush, &unseen).map_err(failed)?;
    let line = ask_unseen(question);
    tcsetattr(&stdin, OptionalActions::Flush, &shown).map_err(failed)?;
    Ok(line?)
}

fn ask_unseen(question: &str) -> io::Result<Secret> {
    let mut terminal = io::stderr();
    write!(terminal, "{question}")?;
    terminal.flush()?;
    let mut line = zeroize::Zeroizing::new(String::new());
    io::stdin().read_line(&mut line)?;
    writeln!(terminal)?;
    Ok(Secret::from(line.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units() {
        let cases = [
            ("0", 0),
            ("90s", 90),
            ("10m", 600),
            ("24h", 86_400),
            ("7d", 604_800),
            ("1h30m", 5_400),
            ("2w", 1_209_600),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_duration_without_a_unit_or_with_an_unknown_one_is_refused() {
        for text in ["", "10", "m", "10x", "-5m", "1.5h", "10m5", "99999999999999999w", "5µ"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nothing_is_made_that_has_ended_already() {
        assert!(life("0").is_err() && life("0d").is_err() && life("soon").is_err());
        assert_eq!(life("1d"), Ok(86_400));
    }

    #[test]
    fn a_point_in_time_is_a_date_or_a_duration_from_now() {
        let now: Timestamp = "2026-11-23T18:00:00Z".parse().unwrap();
        assert_eq!(instant("2027-01-31T12:00:00+02:00", now), Ok("2027-01-31T10:00:00Z".to_owned()));
        assert_eq!(instant("24h", now), Ok("2026-11-24T18:00:00Z".to_owned()));
        assert!(instant("tomorrow", now).is_err());
        assert!(instant("999999999w", now).is_err());
    }

    #[test]
    fn an_empty_value_clears() {
        assert_eq!(clearable("", seconds), Ok(Change::Clear));
        assert_eq!(clearable("10m", seconds), Ok(Change::Set(600)));
        assert!(clearable("x", seconds).is_err());
    }

    #[test]
    fn a_list_is_split_at_commas() {
        assert_eq!(list("10.0.0.0/8, fd00::/8,"), ["10.0.0.0/8", "fd00::/8"]);
    }

    #[test]
    fn a_secret_file_loses_one_line_end_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, " s3cret \r\n").unwrap();
        assert_eq!(secret_from(&path).unwrap().expose(), " s3cret ");
        std::fs::write(&path, "\n").unwrap();
        assert!(secret_from(&path).is_err());
        assert!(secret_from(&folder.path().join("absent")).is_err());
    }
}
