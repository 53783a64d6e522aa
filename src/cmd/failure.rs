//! Why a command failed: a message for people and an exit code for scripts.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// A failure, by what has to be changed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration.
    Configuration(Box<dyn Error>),
    /// The machine, or another process on it.
    Start(Box<dyn Error>),
}

/// `EX_USAGE` of sysexits: supervisors can be told not to restart on it.
const BAD_CONFIGURATION: u8 = 64;

impl Failure {
    pub(crate) fn configuration(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Configuration(error.into())
    }

    pub(crate) fn start(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Start(error.into())
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) => ExitCode::from(BAD_CONFIGURATION),
            Self::Start(_) => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Failure {
    /// The error and all of its causes, each after a colon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Configuration(error) | Self::Start(error)) = self;
        write!(f, "{error}")?;
        let mut cause = error.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
