//! `[[task]]`: tasks of Celery that browsers may start.

use std::collections::BTreeMap;

use super::ConfigError;
use super::range::{at_least_one, period, within};
use super::raw::{ArgumentEntry, Raw, TaskTable};
use crate::celery::{
    ArgumentShape, BrowserTask, JsonKind, MAX_QUEUE, StartSettings, TaskBroker, is_python_name,
};

/// Longest name of a call or task, bytes.
const MAX_NAME: usize = 255;

/// Queues that operators see at most: each is asked for.
const MAX_QUEUES: usize = 32;

/// The most that a user may be allowed, each of which is remembered.
const MOST: u32 = 10_000;

/// The types of arguments, for errors.
const KINDS: &str = "string, integer, number, boolean, object, array or any, with \"?\" if it may \
                     be missing";

/// The tasks, for which `broker` is where they go.
pub(super) fn tasks(
    raw: &Raw,
    broker: Option<TaskBroker>,
    is_watched: bool,
) -> Result<StartSettings, ConfigError> {
    let mut tasks = BTreeMap::new();
    for (index, table) in raw.task.iter().enumerate() {
        let key = |name: &str| format!("task[{index}].{name}");
        let task = task(table, key)?;
        if tasks.insert(table.call.clone(), task).is_some() {
            let expected = "a name that no other task has";
            return Err(ConfigError::value(key("call"), &table.call, expected));
        }
    }
    if !tasks.is_empty() {
        if broker.is_none() {
            let expected = "Celery's broker, since a [[task]] is started there";
            return Err(ConfigError::value("celery.broker", "\"\"", expected));
        }
        if !is_watched {
            let expected = "Celery's result back end (or celery.events), since who starts a \
                            [[task]] watches it";
            return Err(ConfigError::value("celery.results", "\"\"", expected));
        }
    }
    let key_window = period("api.idempotency_window", raw.api.idempotency_window)?;
    Ok(StartSettings { broker, queues: queues(&raw.celery.queues)?, tasks, key_window })
}

/// The queues that operators see.
fn queues(written: &[String]) -> Result<Vec<String>, ConfigError> {
    if written.len() > MAX_QUEUES {
        let expected = format!("at most {MAX_QUEUES}");
        return Err(ConfigError::value("celery.queues", written.len().to_string(), expected));
    }
    written.iter().try_for_each(|name| check_name("celery.queues", name, MAX_QUEUE))?;
    Ok(written.to_vec())
}

fn check_name(key: &str, value: &str, most: usize) -> Result<(), ConfigError> {
    let is_legal = (1..=most).contains(&value.len()) && !value.chars().any(char::is_control);
    let expected = || format!("1 to {most} bytes without control characters");
    is_legal.then_some(()).ok_or_else(|| ConfigError::value(key, format!("{value:?}"), expected()))
}

fn task(table: &TaskTable, key: impl Fn(&str) -> String) -> Result<BrowserTask, ConfigError> {
    for (name, value, most) in [
        ("call", &table.call, MAX_NAME),
        ("name", &table.name, MAX_NAME),
        ("queue", &table.queue, MAX_QUEUE),
    ] {
        check_name(&key(name), value, most)?;
    }
    let names =
        table.arguments.keys().chain((!table.identity.is_empty()).then_some(&table.identity));
    if let Some(name) = names.into_iter().find(|name| !is_python_name(name)) {
        let expected = "names of arguments in Python";
        return Err(ConfigError::value(key("arguments"), format!("{name:?}"), expected));
    }
    if table.arguments.contains_key(&table.identity) {
        let expected =
            "a name that is none of its arguments: the gateway gives it, never a browser";
        return Err(ConfigError::value(key("identity"), format!("{:?}", table.identity), expected));
    }
    let shape = |(name, entry): (&String, &ArgumentEntry)| {
        let shape = shape(&key(&format!("arguments.{name}")), entry)?;
        Ok((name.clone(), shape))
    };
    let most =
        |name: &str, value: u32| within(&key(name), at_least_one(&key(name), value)?, 1, MOST);
    Ok(BrowserTask {
        name: table.name.clone(),
        queue: table.queue.clone(),
        identity: table.identity.clone(),
        arguments: table.arguments.iter().map(shape).collect::<Result<_, _>>()?,
        per_minute: most("per_minute", table.per_minute)?,
        concurrent: most("concurrent", table.concurrent)?,
        revoke: table.revoke,
        retry: table.retry,
    })
}

fn shape(key: &str, entry: &ArgumentEntry) -> Result<ArgumentShape, ConfigError> {
    let (kind, is_optional, min, max) = match entry {
        ArgumentEntry::Table(table) => (table.r#type, table.optional, table.min, table.max),
        ArgumentEntry::Kind(text) => {
            let name = text.strip_suffix('?');
            let kind = kind(name.unwrap_or(text))
                .ok_or_else(|| ConfigError::value(key, format!("{text:?}"), KINDS))?;
            (kind, name.is_some(), None, None)
        }
    };
    if let (Some(min), Some(max)) = (min, max)
        && min > max
    {
        return Err(ConfigError::value(key, format!("min = {min}"), format!("at most max, {max}")));
    }
    Ok(ArgumentShape { kind, is_optional, min, max })
}

/// A type by its name.
fn kind(name: &str) -> Option<JsonKind> {
    serde_json::from_value(name.into()).ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::celery::{BrowserTask, JsonKind, RevokeMode, TaskBroker};
    use crate::config::{Config, Variables};

    const CELERY: &str = "[celery]\nresults = \"redis://127.0.0.1/1\"\n\
                          broker = \"redis://127.0.0.1/3\"\nbroker_prefix = \"site_\"\n";

    fn load(text: &str) -> Result<Config, String> {
        let config = Config::parse(Path::new("gateway.toml"), text, Variables::new());
        config.map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))
    }

    fn task(keys: &str) -> Result<BrowserTask, String> {
        let text = format!("{CELERY}[[task]]\ncall = \"cut\"\nname = \"photos.cut\"\n{keys}");
        load(&text).map(|config| config.celery.start.tasks["cut"].clone())
    }

    #[test]
    fn reads_a_task_and_the_shape_of_its_arguments() {
        let keys = "identity = \"user\"\nrevoke = \"running\"\n\
                    arguments = { photo = { type = \"integer\", min = 1 }, title = \"string?\" }";
        let task = task(keys).unwrap();
        assert_eq!((task.queue.as_str(), task.identity.as_str()), ("celery", "user"));
        assert_eq!(task.revoke, RevokeMode::Running);
        let (photo, title) = (&task.arguments["photo"], &task.arguments["title"]);
        assert_eq!(
            (photo.kind, photo.min, photo.is_optional),
            (JsonKind::Integer, Some(1.0), false)
        );
        assert_eq!((title.kind, title.is_optional), (JsonKind::String, true));
    }

    #[test]
    fn operators_see_these_queues_and_have_these_tasks_done_again() {
        let task = |keys| task(keys).unwrap();
        assert!(task("retry = true").retry && !task("").retry);
        let queues = |line: &str| load(&format!("{CELERY}{line}")).map(|it| it.celery.start.queues);
        assert_eq!(queues("").unwrap(), ["celery"]);
        assert_eq!(queues("queues = [\"a\", \"b\"]").unwrap(), ["a", "b"]);
        assert!(queues("queues = [\"\"]").unwrap_err().contains("celery.queues"));
    }

    #[test]
    fn tasks_go_to_the_broker_by_its_own_names() {
        let config = load(CELERY).unwrap();
        let Some(TaskBroker::Redis { key_prefix, control, .. }) = config.celery.start.broker else {
            panic!("a Redis");
        };
        assert_eq!((key_prefix.as_str(), control.as_str()), ("site_", "site_/3.celery.pidbox"));
    }

    #[test]
    fn names_what_cannot_be_used() {
        for (keys, word) in [
            ("queue = \"\"", "task[0].queue"),
            ("arguments = { photo = \"int\" }", "task[0].arguments.photo"),
            ("arguments = { \"a b\" = \"any\" }", "task[0].arguments"),
            ("arguments = { sub = \"string\" }", "task[0].identity"),
            ("arguments = { a = { type = \"any\", min = 2, max = 1 } }", "task[0].arguments.a"),
            ("per_minute = 0", "task[0].per_minute"),
            ("concurrent = 1_000_000", "task[0].concurrent"),
            ("[[task]]\ncall = \"cut\"\nname = \"other\"", "task[1].call"),
        ] {
            let error = task(keys).unwrap_err();
            assert!(error.contains(word), "{keys}: {error}");
        }
        let nowhere = "[[task]]\ncall = \"cut\"\nname = \"photos.cut\"";
        assert!(load(nowhere).unwrap_err().contains("celery.broker"));
        let broker = "[celery]\nbroker = \"redis://127.0.0.1\"\n";
        assert!(load(&format!("{broker}{nowhere}")).unwrap_err().contains("celery.results"));
    }
}
