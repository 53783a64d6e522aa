//! What a run adds to the routers of both listeners.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;

use super::host::only_local;
use super::page;
use super::session::Session;
use super::site::Site;
use crate::publish::Publisher;

impl Session {
    /// Adds the page, or the site, to the public listener, and restricts both listeners to names of
    /// this machine. The API listens at `api`.
    pub(crate) fn extend(
        self,
        (browsers, back_ends): (Router, Router),
        publisher: &Arc<Publisher>,
        api: SocketAddr,
    ) -> (Router, Router) {
        let browsers = match self.site.clone() {
            Some(site) => Site::new(site).in_front_of(browsers),
            None => browsers.merge(page::router(&self, Arc::clone(publisher), api)),
        };
        let hosts = &self.hosts;
        (only_local(browsers, Arc::clone(hosts)), only_local(back_ends, Arc::clone(hosts)))
    }
}
