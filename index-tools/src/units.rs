//! Durations, weights and sizes as people write them.

use std::time::Duration;

/// Reads `30`, `30s`, `500ms`, `5m`, `2h` or `30d`; a bare number is seconds.
///
/// # Errors
/// A sentence for the usage message.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration like 30s, 500ms, 5m, 2h or 30d, got {text:?}");
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let seconds_per_unit = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(wrong()),
    };
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|_| wrong())
}

/// Reads the weight of something that is added to a score.
///
/// # Errors
/// A sentence for the usage message.
pub fn parse_weight(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(weight) if weight.is_finite() && weight != 0.0 => Ok(weight),
        _ => Err(format!("a weight is a number other than 0, got {text:?}")),
    }
}

/// Writes a size with a binary unit, like `3.4 MiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// Writes a count with thin groups of three, like `32 640`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

/// Writes microseconds as milliseconds, like `4.2 ms`.
#[must_use]
pub fn micros(us: u64) -> String {
    format!("{:.1} ms", us as f64 / 1000.0)
}

/// Writes seconds with the two units that matter, like `43 s`, `12 min` and `1 h 6 min`.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min", whole / 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Writes a number and its noun, like `1 item` and `2 items`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let check = |text: &str, millis: u64| assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        check("30", 30_000);
        check("1.5s", 1500);
        check("250ms", 250);
        check("5m", 300_000);
        check("2h", 7_200_000);
        check("30d", 2_592_000_000);
        for bad in ["", "s", "5x", "-1", "1e3", "1..2", "99999999999999999999999h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn weights_are_finite_and_not_zero() {
        assert_eq!(parse_weight("-0.5"), Ok(-0.5));
        for bad in ["", "0", "-0.0", "NaN", "inf", "1e40", "much"] {
            assert!(parse_weight(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(32_640), "32 640");
        assert_eq!(count(1_234_567), "1 234 567");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3_565_158), "3.4 MiB");
        assert_eq!(counted(1, "item"), "1 item");
        assert_eq!(counted(1000, "item"), "1 000 items");
        assert_eq!(micros(4217), "4.2 ms");
        assert_eq!([43.4, 720.0, 3961.0].map(seconds), ["43 s", "12 min", "1 h 6 min"]);
    }
}
