//! Where the hub counts the members of groups.

use std::sync::Arc;

use super::Redis;
use crate::group::MemberCounts;

impl Redis {
    /// Groups take turns by them.
    pub(in crate::layer) fn member_counts(&self) -> Arc<MemberCounts> {
        self.0.lag_limit.member_counts()
    }
}
