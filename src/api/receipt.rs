//! The members of an accepted publication, alone or as one result of a batch.

use serde::Serialize;

use crate::publish::Receipt;

/// The id of an accepted publication and, where the group keeps a history, its position.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Receipt)]
pub(super) struct ReceiptBody<'a> {
    /// The publication's id; clients see it with events of groups without history.
    #[schema(pattern = "^[A-Za-z0-9_-]{22}$")]
    id: String,
    /// The epoch of the group's history, where it keeps one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    epoch: Option<&'a str>,
    /// The publication's number in that epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    offset: Option<u64>,
}

impl<'a> From<&'a Receipt> for ReceiptBody<'a> {
    fn from(receipt: &'a Receipt) -> Self {
        let position = receipt.position.as_ref();
        Self {
            id: receipt.id.to_string(),
            epoch: position.map(|position| &*position.epoch),
            offset: position.map(|position| position.offset),
        }
    }
}
