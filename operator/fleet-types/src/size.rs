//! Numbers of bytes as people read them.

/// Three digits and a binary unit; whole bytes below 1 KiB.
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        // 1023.5 would be printed as 1024.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match value < 9.95 {
        true => format!("{value:.1} {unit}"),
        false => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let shown = [0, 1023, 1024, 10_189, 1_048_575, 1_073_741_824, u64::MAX].map(human_size);
        assert_eq!(
            shown,
            [
                "0 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB", "1.0 GiB", "16 EiB"
            ]
        );
    }
}
