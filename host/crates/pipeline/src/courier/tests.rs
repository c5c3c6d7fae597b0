//! Couriers under faults: what is stored, in which order, and what becomes of the rest.

mod edits;
mod generations;
mod holding;
mod moving;
mod schedule;
mod sending;
