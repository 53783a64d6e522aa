//! How a route shows events to its plain connections.
