//! Why a command failed: one sentence for people, one exit code for scripts.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// What went wrong, by what somebody has to do about it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Change the configuration, then try again.
    Configuration(Box<dyn Error>),
    /// Change the machine, or what else runs on it.
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
