//! Messages as Celery writes them: a task by its message protocol 2, and a command to all workers.

use aws_lc_rs::rand;
use data_encoding::{BASE64, HEXLOWER};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::excerpt::excerpt;

/// Longest name of a queue, bytes: that of a routing key in AMQP.
pub(crate) const MAX_QUEUE: usize = 255;

/// Characters of the arguments that workers' events and logs show.
const MAX_SHOWN: usize = 500;

/// A task to be carried out.
pub(super) struct TaskMessage<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) arguments: &'a Map<String, Value>,
}

/// Whether Python takes it as the name of an argument.
pub(crate) fn is_python_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

/// A random id in the form that Celery uses, a UUID of version 4; `None` = the system has no
/// randomness.
pub(super) fn random_id() -> Option<String> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).ok()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = HEXLOWER.encode(&bytes);
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    Some(parts.join("-"))
}

impl TaskMessage<'_> {
    /// The headers of the protocol.
    pub(super) fn headers(&self) -> Map<String, Value> {
        let shown = excerpt(&Value::Object(self.arguments.clone()).to_string(), MAX_SHOWN);
        let headers = json!({
            "lang": "py",
            "task": self.name,
            "id": self.id,
            "shadow": null,
            "eta": null,
            "expires": null,
            "group": null,
            "group_index": null,
            "retries": 0,
            "timelimit": [null, null],
            "root_id": self.id,
            "parent_id": null,
            "argsrepr": "()",
            "kwargsrepr": shown,
            "origin": "groupcast",
            "ignore_result": false,
            "replaced_task_nesting": 0,
            "stamped_headers": null,
            "stamps": {},
        });
        match headers {
            Value::Object(headers) => headers,
            _ => Map::new(),
        }
    }

    /// The body: arguments by position, those by name, and what follows the task.
    pub(super) fn body(&self) -> Vec<u8> {
        let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
        json!([[], self.arguments, embed]).to_string().into_bytes()
    }
}

/// The body of the command to forget a task, and to end the process that carries it out.
pub(super) fn revocation(id: &str, terminate: bool) -> Vec<u8> {
    let arguments = json!({"task_id": id, "terminate": terminate, "signal": "SIGTERM"});
    let (destination, pattern, matcher) = ((), (), ());
    json!({"method": "revoke", "arguments": arguments, "destination": destination,
           "pattern": pattern, "matcher": matcher})
    .to_string()
    .into_bytes()
}

/// A message of kombu's Redis transport.
#[derive(Serialize)]
struct Envelope<'a> {
    body: String,
    #[serde(rename = "content-encoding")]
    content_encoding: &'static str,
    #[serde(rename = "content-type")]
    content_type: &'static str,
    headers: Map<String, Value>,
    properties: Properties<'a>,
}

#[derive(Serialize)]
struct Properties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    delivery_mode: u8,
    delivery_info: DeliveryInfo<'a>,
    priority: u8,
    body_encoding: &'static str,
    /// Workers acknowledge by it, so no two messages may have the same.
    delivery_tag: &'a str,
}

#[derive(Serialize)]
struct DeliveryInfo<'a> {
    exchange: &'a str,
    routing_key: &'a str,
}

/// Where a message of kombu's Redis transport goes.
pub(super) struct Destination<'a> {
    pub(super) exchange: &'a str,
    pub(super) routing_key: &'a str,
}

/// A message for kombu's Redis transport. A worker that reads anything else there ends.
pub(super) fn enveloped(
    to: &Destination<'_>,
    id: Option<&str>,
    delivery_tag: &str,
    headers: Map<String, Value>,
    body: &[u8],
) -> Vec<u8> {
    let Destination { exchange, routing_key } = *to;
    let properties = Properties {
        correlation_id: id,
        delivery_mode: 2,
        delivery_info: DeliveryInfo { exchange, routing_key },
        priority: 0,
        body_encoding: "base64",
        delivery_tag,
    };
    let envelope = Envelope {
        body: BASE64.encode(body),
        content_encoding: "utf-8",
        content_type: "application/json",
        headers,
        properties,
    };
    serde_json::to_vec(&envelope).expect("text and JSON always serialize")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Celery 5.7 wrote.
    fn recorded() -> Value {
        let text = include_str!("../../../tests/golden/celery-task.json");
        serde_json::from_str(text).expect("the recording is JSON")
    }

    fn kinds(value: &Value) -> Vec<String> {
        let object = value.as_object().expect("an object");
        let mut kinds: Vec<_> = object
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name}: {:?}", std::mem::discriminant(value)))
            .collect();
        kinds.sort();
        kinds
    }

    #[test]
    fn writes_a_task_as_celery_does() {
        let arguments = json!({"b": 3}).as_object().cloned().unwrap_or_default();
        let id = "11111111-2222-4333-8444-555555555555";
        let task = TaskMessage { id, name: "imagenes.procesar", arguments: &arguments };
        let to = Destination { exchange: "", routing_key: "celery" };
        let body = task.body();
        let written = enveloped(&to, Some(id), "tag", task.headers(), &body);
        let written: Value = serde_json::from_slice(&written).unwrap();
        let mut recorded = recorded();
        // Where a caller waits for results by rpc://; nobody does here.
        recorded["properties"].as_object_mut().unwrap().remove("reply_to");
        recorded["headers"].as_object_mut().unwrap().remove("mi_cabecera");
        assert_eq!(kinds(&written), kinds(&recorded));
        for part in ["headers", "properties"] {
            assert_eq!(kinds(&written[part]), kinds(&recorded[part]), "{part}");
        }
        let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body, json!([[], {"b": 3}, embed]));
    }

    #[test]
    fn ids_are_those_of_celery() {
        let (one, other) = (random_id().unwrap(), random_id().unwrap());
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
    }
}
