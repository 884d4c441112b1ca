//! The report that can be read again.

use super::{Outcome, Record, Subject, Totals, section};
use anyhow::Context;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

pub(super) fn document(subjects: &[Subject]) -> String {
    let subjects: Vec<Value> = subjects.iter().map(subject).collect();
    format!("{:#}\n", json!({ "subjects": subjects }))
}

fn subject(subject: &Subject) -> Value {
    let Totals { passed, failed, skipped } = Totals::of(&subject.records);
    json!({
        "name": subject.name,
        "version": subject.version,
        "passed": passed,
        "failed": failed,
        "skipped": skipped,
        "cases": subject.records.iter().map(record).collect::<Vec<_>>(),
    })
}

pub(super) fn record(record: &Record) -> Value {
    json!({
        "case": record.case,
        "section": section(&record.case),
        "level": record.level,
        "clause": record.clause,
        "result": record.outcome.word(),
        "reason": record.outcome.reason(),
        "milliseconds": record.milliseconds,
    })
}

/// The subjects of a report of before.
///
/// # Errors
/// The file cannot be read, or is not such a report.
pub(crate) fn load(path: &Path) -> anyhow::Result<Vec<Subject>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let report: Value = serde_json::from_str(&text)
        .with_context(|| format!("{} is not a report", path.display()))?;
    let subjects = report["subjects"]
        .as_array()
        .with_context(|| format!("{} has no subjects", path.display()))?;
    Ok(subjects.iter().map(load_subject).collect())
}

fn load_subject(from: &Value) -> Subject {
    let cases = from["cases"].as_array().map(Vec::as_slice).unwrap_or_default();
    Subject {
        name: text(&from["name"]),
        version: text(&from["version"]),
        records: cases.iter().map(load_record).collect(),
    }
}

fn load_record(from: &Value) -> Record {
    let reason = text(&from["reason"]);
    Record {
        case: text(&from["case"]),
        level: text(&from["level"]),
        clause: text(&from["clause"]),
        outcome: match from["result"].as_str() {
            Some("passed") => Outcome::Passed,
            Some("skipped") => Outcome::Skipped(reason),
            _ => Outcome::Failed(reason),
        },
        milliseconds: from["milliseconds"].as_u64().unwrap_or_default(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
