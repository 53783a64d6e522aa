//! Publishes one batch of sends and answers each.

use std::sync::Arc;

use crate::event::{Except, Target};
use crate::frame::Frame;
use crate::hub::{Answer, Hub, RequestKind, Send};
use crate::layer::LayerError;
use crate::protocol::{Code, Refusal, outbound};
use crate::publish::{DedupeKey, PublishError, PublishRequest, Publisher, Receipt, Scope};

/// Groups that the layer may refuse in one batch before the rest is refused as well: each costs a
/// round trip, and a full Redis refuses every group.
const MAX_REFUSED: usize = 4;

/// A request to publish, and the place of its send in the batch.
type PlacedRequest = (usize, (Vec<Target>, PublishRequest));

/// What becomes of a send.
type SendOutcome = Result<Receipt, SendError>;

/// Why a send is refused.
#[derive(Debug, Clone)]
struct SendError {
    code: Code,
    message: String,
}

impl SendError {
    fn new(code: Code, error: &impl std::error::Error) -> Self {
        Self { code, message: error.to_string() }
    }
}

/// Publishes sends in order, and answers each.
#[expect(clippy::vec_box, reason = "sends come in boxes, and are moved several times")]
pub(super) async fn publish(batch: Vec<Box<Send>>, hub: &Hub, publisher: &Publisher) {
    let mut outcomes: Vec<Option<SendOutcome>> = batch.iter().map(|_| None).collect();
    let mut requests = Vec::with_capacity(batch.len());
    for (place, send) in batch.iter().enumerate() {
        match request_of(send) {
            Ok(request) => {
                requests.push((place, (vec![Target::Group(send.group.clone())], request)));
            }
            Err(error) => outcomes[place] = Some(Err(error)),
        }
    }
    publish_requests(requests, publisher, &mut outcomes).await;
    for (send, outcome) in batch.into_iter().zip(outcomes) {
        let frame = match outcome.expect("every send has an outcome") {
            Ok(receipt) => outbound::sent(send.id, receipt.id, receipt.position.as_ref()),
            Err(SendError { code, message }) => refusal_frame(send.id, code, message),
        };
        let answer = Answer { to: send.to, kind: RequestKind::Send, frame: Some(frame) };
        hub.answer(send.shard, answer).await;
    }
}

fn request_of(send: &Send) -> Result<PublishRequest, SendError> {
    let mut request = PublishRequest::new(send.event.clone());
    if !send.echo {
        let owner = Some(Arc::clone(&send.sub));
        request.except = Except { connections: vec![send.to], users: Vec::new(), owner };
    }
    let key = send.key.as_deref().map(|text| DedupeKey::new(Scope::User(&send.sub), text));
    request.key = key.transpose().map_err(|error| SendError::new(Code::BadRequest, &error))?;
    Ok(request)
}

/// Publishes, and again without a group that is refused: the others' sends are not that group's
/// fault.
async fn publish_requests(
    mut requests: Vec<PlacedRequest>,
    publisher: &Publisher,
    outcomes: &mut [Option<SendOutcome>],
) {
    for round in 0.. {
        if requests.is_empty() {
            return;
        }
        let (places, sent): (Vec<_>, Vec<_>) = requests.drain(..).unzip();
        let answers: Vec<_> = publisher.publish_batch(&sent).await.into_iter().flatten().collect();
        let first = answers.iter().position(is_refused).filter(|_| round < MAX_REFUSED);
        let refused = first.and_then(|first| sent[first].0.first().cloned());
        for ((place, request), answer) in places.into_iter().zip(sent).zip(answers) {
            let is_refused_with_it = refused.is_some() && is_refused(&answer);
            if is_refused_with_it && request.0.first() != refused.as_ref() {
                requests.push((place, request));
            } else {
                let error = |error| SendError::new(code_of(&error), &error);
                outcomes[place] = Some(answer.map_err(error));
            }
        }
    }
}

/// Whether the layer has refused this publication, or one before it in its batch, for its group.
fn is_refused(answer: &Result<Receipt, PublishError>) -> bool {
    use LayerError::{Behind, Refused};
    matches!(answer, Err(PublishError::Layer(Refused(_) | Behind(_))))
}

fn refusal_frame(id: u64, code: Code, message: String) -> Frame {
    outbound::error(Some(id), &Refusal::new(code, message))
}

fn code_of(error: &PublishError) -> Code {
    match error {
        PublishError::TooLarge { .. } => Code::TooLarge,
        PublishError::KeyReused(_) => Code::DuplicateKey,
        PublishError::TooManyKeys { .. } => Code::Limited,
        PublishError::Busy(_) | PublishError::Layer(_) => Code::Unavailable,
    }
}
