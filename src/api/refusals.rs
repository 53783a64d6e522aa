//! Converts errors of other rooms into problems.

use crate::event::{EventError, IdError};
use crate::group::NameError;
use crate::http::{Problem, ProblemKind};
use crate::layer::LayerError;
use crate::publish::{KeyError, PublishError};

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        ProblemKind::BadGroup.because(error.to_string())
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        ProblemKind::BadEvent.because(error.to_string())
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        ProblemKind::BadMember.because(error.to_string())
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        ProblemKind::BadKey.because(error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let kind = match error {
            PublishError::TooLarge { .. } => ProblemKind::TooLarge,
            PublishError::KeyReused(_) => ProblemKind::KeyReused,
            PublishError::TooManyKeys { .. } => ProblemKind::TooManyKeys,
            PublishError::Busy(_)
            | PublishError::Layer(LayerError::Full(_) | LayerError::Behind(_)) => ProblemKind::Busy,
            PublishError::Layer(_) => ProblemKind::LayerUnreachable,
        };
        kind.because(error.to_string())
    }
}
