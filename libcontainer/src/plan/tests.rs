//! Tests of whole plans.

mod fields;
