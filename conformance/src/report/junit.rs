//! JUnit's XML: a suite for each subject, a class for each section.

use super::{Outcome, Record, Subject, Totals, escape, section};

pub(super) fn document(subjects: &[Subject]) -> String {
    let suites: String = subjects.iter().map(suite).collect();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{suites}</testsuites>\n")
}

fn suite(subject: &Subject) -> String {
    let Totals { failed, skipped, .. } = Totals::of(&subject.records);
    let cases: String = subject.records.iter().map(|record| case(subject, record)).collect();
    format!(
        "<testsuite name=\"{}\" tests=\"{}\" failures=\"{failed}\" skipped=\"{skipped}\">\n{cases}</testsuite>\n",
        escape(&subject.name),
        subject.records.len(),
    )
}

fn case(subject: &Subject, record: &Record) -> String {
    let seconds = record.milliseconds as f64 / 1000.0;
    let class = format!("{}.{}", subject.name, section(&record.case));
    let body = match &record.outcome {
        Outcome::Passed => String::new(),
        Outcome::Skipped(why) => format!("<skipped message=\"{}\"/>", escape(why)),
        Outcome::Failed(why) => {
            format!("<failure message=\"{}\">{}</failure>", escape(&record.clause), escape(why))
        }
    };
    format!(
        "<testcase classname=\"{}\" name=\"{}\" time=\"{seconds:.3}\">{body}</testcase>\n",
        escape(&class),
        escape(&record.case),
    )
}
