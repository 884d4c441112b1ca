//! Tests of whole plans.

mod fields;
mod mounts;
mod whole;
