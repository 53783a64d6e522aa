//! `groupcast dev`: keys for one run, and a page or a site on the same origin as the WebSockets.

mod host;
mod page;
mod routers;
mod session;
mod site;

pub use session::{DevError, Options, Session};
pub use site::SiteAddress;
