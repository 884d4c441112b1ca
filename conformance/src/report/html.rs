//! One HTML file: the matrix case by subject, with the reason of each failure.

use super::{Outcome, Record, Subject, Totals, escape, section};

const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
table{border-collapse:collapse;margin:1em 0}th,td{border:1px solid #ccc;padding:.25em .6em;text-align:left;vertical-align:top}\
th{background:#f3f3f3}thead th{position:sticky;top:0}.number{text-align:right}\
.passed{background:#dff2df}.failed{background:#f9d6d5}.skipped{background:#f4f0d9}.absent{color:#999}\
summary{cursor:pointer}pre{white-space:pre-wrap;max-width:40em;margin:.3em 0}.clause{color:#666}\
h2{margin-bottom:.2em}tr.section th{background:#e4e9f0}\
@media(prefers-color-scheme:dark){body{background:#1b1b1b;color:#ddd}th{background:#2a2a2a}th,td{border-color:#444}\
.passed{background:#1f3b1f}.failed{background:#55211f}.skipped{background:#443f22}.clause{color:#999}tr.section th{background:#26303c}}";

/// Shows what contains the text that was typed, or only what is not the same
/// for all.
const SCRIPT: &str = "\
const text=document.getElementById('text'),only=document.getElementById('only');\
function show(){const wanted=text.value.toLowerCase();for(const row of document.querySelectorAll('tr.case'))\
row.hidden=!(row.textContent.toLowerCase().includes(wanted)&&(!only.checked||row.querySelector('.failed')));}\
text.addEventListener('input',show);only.addEventListener('change',show);";

pub(super) fn document(subjects: &[Subject]) -> String {
    let names: String =
        subjects.iter().map(|subject| format!("<th>{}</th>", escape(&subject.name))).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>OCI runtime conformance</title>\n\
         <style>{STYLE}</style></head><body>\n<h1>OCI runtime conformance</h1>\n{}\n\
         <p><label>Show <input id=\"text\" placeholder=\"part of a name or reason\"></label> \
         <label><input id=\"only\" type=\"checkbox\"> only what somebody fails</label></p>\n\
         <table><thead><tr><th>Case</th><th>Level</th>{names}</tr></thead>\n<tbody>\n{}</tbody></table>\n\
         <script>{SCRIPT}</script>\n</body></html>\n",
        overview(subjects),
        rows(subjects),
    )
}

fn overview(subjects: &[Subject]) -> String {
    let rows: String = subjects
        .iter()
        .map(|subject| {
            let Totals { passed, failed, skipped } = Totals::of(&subject.records);
            format!(
                "<tr><td>{}</td><td>{}</td><td class=\"number\">{passed}</td><td class=\"number\">{failed}</td><td class=\"number\">{skipped}</td></tr>\n",
                escape(&subject.name),
                escape(&subject.version),
            )
        })
        .collect();
    format!(
        "<table><tr><th>Runtime</th><th>Version</th><th>passed</th><th>failed</th><th>skipped</th></tr>\n{rows}</table>"
    )
}

/// Every case that any subject ran, in the order of the first that did.
fn cases(subjects: &[Subject]) -> Vec<&Record> {
    let mut found: Vec<&Record> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for record in subjects.iter().flat_map(|subject| &subject.records) {
        if seen.insert(&record.case) {
            found.push(record);
        }
    }
    found
}

fn rows(subjects: &[Subject]) -> String {
    let mut text = String::new();
    let mut before = "";
    for case in cases(subjects) {
        if section(&case.case) != before {
            before = section(&case.case);
            let width = subjects.len() + 2;
            text.push_str(&format!(
                "<tr class=\"section\"><th colspan=\"{width}\">{}</th></tr>\n",
                escape(before)
            ));
        }
        let cells: String = subjects.iter().map(|subject| cell(subject, &case.case)).collect();
        text.push_str(&format!(
            "<tr class=\"case\"><td>{}<br><span class=\"clause\">{}</span></td><td>{}</td>{cells}</tr>\n",
            escape(&case.case),
            escape(&case.clause),
            escape(&case.level),
        ));
    }
    text
}

fn cell(subject: &Subject, case: &str) -> String {
    let Some(record) = subject.records.iter().find(|record| record.case == case) else {
        return "<td class=\"absent\">not run</td>".to_owned();
    };
    let word = record.outcome.word();
    match &record.outcome {
        Outcome::Passed => format!("<td class=\"{word}\">{word}</td>"),
        Outcome::Failed(why) | Outcome::Skipped(why) => format!(
            "<td class=\"{word}\"><details><summary>{word}</summary><pre>{}</pre></details></td>",
            escape(why)
        ),
    }
}
