//! How ThingsBoard stores what is written as a number (thingsboard page, section 9.1, "Values").
//!
//! A decimal is kept as its digits and a scale, so that whether it is a whole number is seen before
//! anything is rounded. Whole numbers are integers unless they are written with a point and without an
//! exponent (`1.0` is a double, `1.5e3` is 1500); beyond 64 bits they become text. A fraction is a double
//! up to 16 places behind the point, text beyond that.

use super::telemetry::Value;

/// The longest text that a number with an exponent is written out to, in characters; `1e999999999` stays
/// as it was written.
const LONGEST_PLAIN: i64 = 1_024;

/// Most places behind the point that a double is trusted with.
const MOST_PLACES: i64 = 16;

/// The value of a JSON number. `None` if `literal` is no decimal number.
pub(super) fn value_of(literal: &str) -> Option<Value> {
    let decimal = Decimal::parse(literal)?;
    if decimal.is_whole() && !is_simple_double(literal) {
        return Some(decimal.to_i64().map_or_else(|| decimal.plain_text(literal), Value::Integer));
    }
    let double = literal.parse::<f64>().ok().filter(|double| double.is_finite());
    match double {
        Some(double) if decimal.scale <= MOST_PLACES => Some(Value::Double(double)),
        _ => Some(decimal.plain_text(literal)),
    }
}

/// Whether a text looks like a number: digits with at most one point, not at the end, and perhaps a minus
/// before them. So `007` and `.5` do, `1e5`, `+1`, `1.` and `NaN` do not.
pub(super) fn looks_like_a_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let points = digits.bytes().filter(|byte| *byte == b'.').count();
    let rest_are_digits = digits.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit());
    !digits.is_empty() && rest_are_digits && points <= 1 && !digits.ends_with('.')
}

/// The whole part of a number, if it fits.
pub(super) fn whole_part(literal: &str) -> Option<i64> {
    Decimal::parse(literal)?.truncated().to_i64()
}

fn is_simple_double(literal: &str) -> bool {
    literal.contains('.') && !literal.contains(['e', 'E'])
}

/// `digits` × 10^−`scale`, negated if `negative`.
struct Decimal {
    negative: bool,
    digits: String,
    scale: i64,
}

impl Decimal {
    fn parse(literal: &str) -> Option<Self> {
        let (negative, unsigned) = match literal.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, literal),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let places = i64::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits, scale: places - i64::from(exponent) })
    }

    /// The digits without zeros at the end, and the scale that belongs to them. Zero has scale 0.
    fn stripped(&self) -> (&str, i64) {
        let digits = self.digits.trim_end_matches('0');
        if digits.is_empty() {
            return ("0", 0);
        }
        let zeros = self.digits.len() - digits.len();
        (digits, self.scale.saturating_sub_unsigned(zeros as u64))
    }

    fn is_whole(&self) -> bool {
        self.stripped().1 <= 0
    }

    fn to_i64(&self) -> Option<i64> {
        let (digits, scale) = self.stripped();
        let power = u32::try_from(scale.checked_neg()?).ok()?;
        let unscaled = digits.parse::<i128>().ok()?;
        let value = unscaled.checked_mul(10_i128.checked_pow(power)?)?;
        i64::try_from(if self.negative { -value } else { value }).ok()
    }

    fn truncated(&self) -> Self {
        let places = usize::try_from(self.scale).unwrap_or(0);
        let kept = self.digits.len().saturating_sub(places);
        let digits: String = self.digits.chars().take(kept).collect();
        let digits = if digits.is_empty() { "0".to_owned() } else { digits };
        Self { negative: self.negative, digits, scale: self.scale.min(0) }
    }

    /// All digits without an exponent.
    fn plain_text(&self, literal: &str) -> Value {
        let digits = self.digits.trim_start_matches('0');
        let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        if self.scale.abs() > LONGEST_PLAIN.max(length) {
            return Value::Text(literal.to_owned());
        }
        let sign = if self.negative { "-" } else { "" };
        let places = usize::try_from(self.scale).unwrap_or(0);
        let zeros = usize::try_from(-self.scale).unwrap_or(0);
        let padded = format!("{digits:0>width$}{:0<zeros$}", "", width = places + 1);
        let (whole, fraction) = padded.split_at(padded.len() - places);
        let point = if places > 0 { "." } else { "" };
        Value::Text(format!("{sign}{whole}{point}{fraction}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<Value> {
        Some(Value::Text(text.to_owned()))
    }

    #[test]
    fn whole_numbers_are_integers_unless_written_with_a_point() {
        for (literal, value) in [
            ("0", Value::Integer(0)),
            ("-0", Value::Integer(0)),
            ("007", Value::Integer(7)),
            ("1e5", Value::Integer(100_000)),
            ("1.5e3", Value::Integer(1_500)),
            ("1.50E+1", Value::Integer(15)),
            ("100e-2", Value::Integer(1)),
            ("9223372036854775807", Value::Integer(i64::MAX)),
            ("-9223372036854775808", Value::Integer(i64::MIN)),
            ("1.0", Value::Double(1.0)),
            ("0e999999999", Value::Integer(0)),
        ] {
            assert_eq!(value_of(literal), Some(value), "{literal}");
        }
    }

    #[test]
    fn fractions_are_doubles_up_to_sixteen_places() {
        assert_eq!(value_of("22.5"), Some(Value::Double(22.5)));
        assert_eq!(value_of("-.5"), Some(Value::Double(-0.5)));
        assert_eq!(value_of("1.5e-3"), Some(Value::Double(0.0015)));
        assert_eq!(value_of("0.1234567890123456"), Some(Value::Double(0.123_456_789_012_345_6)));
        assert_eq!(value_of("0.12345678901234567"), text("0.12345678901234567"));
        assert_eq!(value_of("-1.25e-20"), text("-0.0000000000000000000125"));
    }

    #[test]
    fn what_no_number_type_holds_becomes_text() {
        assert_eq!(value_of("9223372036854775808"), text("9223372036854775808"));
        assert_eq!(value_of("-1e20"), text("-100000000000000000000"));
        assert_eq!(value_of("1e999"), text(&format!("1{}", "0".repeat(999))));
        assert_eq!(value_of("123456789012345678901.50e1"), text("1234567890123456789015.0"));
        assert_eq!(value_of("1e999999999"), text("1e999999999"));
        assert_eq!(value_of("1e-999999999"), text("1e-999999999"));
        let long = format!("1{}.5", "0".repeat(400));
        assert_eq!(value_of(&long), text(&long));
        assert_eq!(value_of("1e99999999999"), None);
        assert_eq!(value_of("abc"), None);
        assert_eq!(value_of(""), None);
    }

    #[test]
    fn a_text_looks_like_a_number_as_thingsboard_sees_it() {
        for text in ["0", "007", "-1", "1.5", ".5", "-.5", "9223372036854775808"] {
            assert!(looks_like_a_number(text), "{text}");
        }
        for text in [
            "", "-", ".", "1.", "+1", "1e5", "1e999", "NaN", "inf", "Infinity", " 1", "1 ", "1.2.3", "0x1",
            "--1",
        ] {
            assert!(!looks_like_a_number(text), "{text}");
        }
    }

    #[test]
    fn the_whole_part_is_cut_not_rounded() {
        for (literal, whole) in [
            ("1700000000000", Some(1_700_000_000_000)),
            ("1.9", Some(1)),
            ("-1.9", Some(-1)),
            ("1.7e3", Some(1_700)),
            ("0.1", Some(0)),
            ("1e-5", Some(0)),
            ("9223372036854775808", None),
            ("x", None),
        ] {
            assert_eq!(whole_part(literal), whole, "{literal}");
        }
    }
}
