//! Tests of whole plans.

mod fields;
mod whole;
