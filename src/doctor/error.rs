//! Why there is no diagnosis.

use crate::backend::BackendError;
use crate::identity::IdentityError;
use crate::layer::LayerError;

/// Why a configuration cannot be examined.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    /// An address of Redis is malformed.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The back end's settings are unusable.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The settings of tokens are unusable.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}
