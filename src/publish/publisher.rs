//! Accepts requests, gives each publication an id and passes it to the layer, within limits.

use tokio::time::timeout_at;

use super::batch::Batch;
use super::context::{BatchContext, Outcomes};
use super::outcome::{PublishError, Receipt};
use super::request::PublishRequest;
use super::settings::Settings;
use crate::channels::ForwardQueue;
use crate::event::Target;
use crate::layer::{Control, Layer};

/// The publisher of one instance, shared by its callers.
#[derive(Debug)]
pub(crate) struct Publisher {
    context: BatchContext,
}

impl Publisher {
    /// A publisher to `layer`.
    pub(crate) fn new(settings: Settings, layer: Layer) -> Self {
        Self { context: BatchContext::new(settings, layer) }
    }

    /// The same publisher, which also forwards accepted events to Django's consumers.
    pub(crate) fn with_forwarding(mut self, forward_queue: Option<ForwardQueue>) -> Self {
        self.context.forward_queue = forward_queue;
        self
    }

    /// The publisher's bounds.
    pub(crate) fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// Publishes to one target.
    ///
    /// Dropping the future before it completes publishes nothing and uses no key. Over Redis the
    /// publication may have been sent, as with [`Layer::publish`]; with a key, the request can be
    /// repeated.
    pub(crate) async fn publish(
        &self,
        target: Target,
        request: PublishRequest,
    ) -> Result<Receipt, PublishError> {
        let mut outcomes = self.publish_batch(&[(vec![target], request)]).await;
        outcomes
            .pop()
            .and_then(|mut of_request| of_request.pop())
            .expect("one outcome for one target")
    }

    /// Publishes several requests, each to several targets, in the order given; the answer has the
    /// same shape.
    ///
    /// After the layer's first error the rest is not tried and has the same outcome. So a caller
    /// that repeats what was not accepted, in order, keeps every group's order. Other errors only
    /// concern their request or target.
    pub(crate) async fn publish_batch(
        &self,
        requests: &[(Vec<Target>, PublishRequest)],
    ) -> Vec<Outcomes> {
        let mut batch = Batch::new(&self.context, requests.len());
        for (targets, request) in requests {
            batch.add(targets, request);
        }
        batch.finish().await
    }

    /// Sends a change of membership, or the end of connections, to every instance.
    pub(crate) async fn change(&self, change: Control) -> Result<(), PublishError> {
        match timeout_at(self.context.deadline(), self.context.layer.control(change)).await {
            Ok(sent) => Ok(sent?),
            Err(_) => Err(self.context.busy()),
        }
    }
}
