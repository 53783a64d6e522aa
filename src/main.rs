//! The `groupcast` command.

mod cmd;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cmd::run(cmd::Cli::parse()) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("groupcast: {failure}");
            failure.exit_code()
        }
    }
}
