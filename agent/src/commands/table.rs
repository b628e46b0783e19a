//! Answers for people: aligned columns, ages, and what is said of nothing.

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{Table, presets};

/// Writes rows below a head, aligned, two spaces between columns; nothing if there are no rows.
pub(super) fn write<const N: usize>(
    output: &mut impl Write,
    head: [&str; N],
    rows: Vec<[String; N]>,
) -> io::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    writeln!(output, "{}", table.trim_fmt())
}

/// How long ago a time was, in seconds since 1970, as `3.2 s`, `5 min`; `-` for 0.
pub(super) fn age(at: f64) -> String {
    if at == 0.0 {
        return "-".to_owned();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    span((now - at).max(0.0))
}

/// The time of day, UTC, of a time in seconds since 1970.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what is left fits")]
pub(super) fn time_of_day(at: f64) -> String {
    let seconds = at.max(0.0) as u64 % (24 * 60 * 60);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A span of seconds in the largest unit of which there is more than two.
fn span(seconds: f64) -> String {
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;
    const DAY: f64 = 24.0 * HOUR;
    if seconds < 10.0 {
        format!("{seconds:.1} s")
    } else if seconds < 2.0 * MINUTE {
        format!("{seconds:.0} s")
    } else if seconds < 2.0 * HOUR {
        format!("{:.0} min", (seconds / MINUTE).floor())
    } else if seconds < 2.0 * DAY {
        format!("{:.0} h", (seconds / HOUR).floor())
    } else {
        format!("{:.0} d", (seconds / DAY).floor())
    }
}

/// A text, or `-` for an empty one.
pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_one_unit() {
        for (seconds, want) in [
            (0.04, "0.0 s"),
            (9.94, "9.9 s"),
            (119.0, "119 s"),
            (150.0, "2 min"),
            (7199.0, "119 min"),
            (7200.0, "2 h"),
            (172_800.0, "2 d"),
        ] {
            assert_eq!(span(seconds), want, "{seconds}");
        }
        assert_eq!(age(0.0), "-");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = vec![["a".to_owned(), "x".to_owned()], ["long".to_owned(), "-".to_owned()]];
        let mut output = Vec::new();
        write(&mut output, ["NAME", "V"], rows).expect("memory takes everything");
        assert_eq!(String::from_utf8(output).expect("text"), "NAME  V\na     x\nlong  -\n");
    }
}
