//! The one integration binary: real processes, real sockets, each file named after what it shows.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

// What is typed: exit codes, sentences on stderr, the first line of the log.
mod commands;
// The rooms and their order, files and their length.
mod architecture;
