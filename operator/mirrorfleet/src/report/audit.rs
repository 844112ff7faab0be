//! What an audit found, for people and for programs.

use fleet_sync::AuditReport;
use fleet_types::{Reason, counted};
use indicatif::HumanBytes;

use super::{OutputFormat, line, print, print_json, without};
use crate::failure::Failure;

/// Writes what an audit found.
pub fn print_audit(report: &AuditReport, format: OutputFormat) -> Result<(), Failure> {
    match format {
        OutputFormat::Json => print_json(report),
        OutputFormat::Text => print(&audit_text(report)),
    }
}

fn audit_text(report: &AuditReport) -> String {
    let mut text = match report.reason {
        Reason::Audited => format!("{}: as it should be\n", report.mirror),
        reason => format!("{}: NOT as it should be ({reason})\n", report.mirror),
    };
    line(&mut text, format_args!("  {}", report.message));
    line(&mut text, format_args!("  asked     {}", report.url));
    for unit in &report.units {
        let state = match (unit.reason, unit.message.as_str()) {
            (Reason::Audited, _) => "verified".to_owned(),
            // Said above.
            (reason, message) if report.message.starts_with(message) => reason.to_string(),
            (reason, message) => format!("{reason}: {}", without(&unit.unit, message)),
        };
        line(
            &mut text,
            format_args!("  suite     {}: {state}", unit.unit),
        );
    }
    let shares = [
        ("indices", &report.indices, "by every name"),
        ("absent", &report.absent, "clients can do without"),
        ("listed", &report.listed, ""),
        ("drawn", &report.sampled, ""),
    ];
    for (word, share, note) in shares.into_iter().filter(|(_, share, _)| share.files > 0) {
        let (files, bytes) = (counted(share.files, "file"), HumanBytes(share.bytes));
        let note = match note {
            "" => String::new(),
            note => format!(" ({note})"),
        };
        line(
            &mut text,
            format_args!("  {word:<8}  {files}, {bytes}{note}"),
        );
    }
    for finding in &report.findings {
        let (path, reason) = (&finding.path, finding.reason);
        line(
            &mut text,
            format_args!("    ! {path}: {reason}: {}", finding.message),
        );
    }
    let told = report.findings.len() as u64;
    if report.findings_total > told {
        let more = counted(report.findings_total - told, "more finding");
        line(&mut text, format_args!("    ! … and {more}"));
    }
    line(
        &mut text,
        format_args!(
            "  to find out: {}, {}, {:.1} s; --seed {} draws the same files again",
            counted(report.requests, "request"),
            HumanBytes(report.bytes_fetched),
            report.seconds,
            report.seed
        ),
    );
    text
}
