//! Values as people read them.

use std::fmt::Write as _;

/// A span of time in its two largest units: `45s`, `12m`, `3h10m`, `2d4h`.
pub fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let two = |large: i64, unit: char, small: i64, of: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{of}"),
    };
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, _) => two(hours, 'h', minutes, 'm'),
        (..10, _, _) => two(days, 'd', hours, 'h'),
        _ => format!("{days}d"),
    }
}

/// `a`, `a and b`, `a, b and c`; of more than four the first three and how many more.
pub fn enumeration(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [a, b, c, rest @ ..] if rest.len() > 1 => format!("{a}, {b}, {c} and {} more", rest.len()),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The same text as the beginning of a sentence.
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// How commands are written that a person copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// `mirrorfleet` or `kubectl mirrorfleet`.
    pub name: String,
    /// Flags that choose the cluster, for ours and for kubectl alike: `--context prod`.
    pub cluster: Vec<String>,
}

impl Program {
    /// A command of ours about a Mirror.
    pub fn ours(&self, command: &str, mirror: &str, namespace: &str) -> String {
        self.line(&format!("{} {command} {mirror}", self.name), namespace)
    }

    /// A command of kubectl.
    pub fn kubectl(&self, command: &str, namespace: &str) -> String {
        self.line(&format!("kubectl {command}"), namespace)
    }

    fn line(&self, command: &str, namespace: &str) -> String {
        let mut line = format!("{command} -n {namespace}");
        for flag in &self.cluster {
            // Writing to a String cannot fail.
            let _ = write!(line, " {flag}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        for (seconds, text) in [
            (-5, "0s"),
            (45, "45s"),
            (61, "1m"),
            (3600, "1h"),
            (11_400, "3h10m"),
            (187_200, "2d4h"),
            (864_000, "10d"),
            (1_000_000, "11d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn names_are_enumerated() {
        let names = |count: usize| -> Vec<String> { (0..count).map(|n| n.to_string()).collect() };
        let told: Vec<String> = (0..6).map(|count| enumeration(&names(count))).collect();
        let wanted = [
            "",
            "0",
            "0 and 1",
            "0, 1 and 2",
            "0, 1, 2 and 3",
            "0, 1, 2 and 2 more",
        ];
        assert_eq!(told, wanted);
    }
}
