//! What `init django` says about the settings that it found.

use groupcast::layer::RedisSettings;

use super::configuration::{CAPACITY, DEFAULT_CAPACITY, follows_events, received, shows_tasks};
use super::project::{CeleryApp, ChannelLayer, Project};
use crate::cmd::language::Language;

/// One sentence for each thing that was found, or that has to be done.
pub(super) fn notes(project: &Result<Project, String>, language: Language) -> Vec<String> {
    let project = match project {
        Ok(project) => project,
        Err(problem) => {
            let said = language.pick(
                "The settings could not be read, so gateway.toml has defaults. Set what they need, \
                 or name the project's Python by --python; then remove gateway.toml and repeat",
                "No se pudo leer la configuración, así que gateway.toml lleva valores por \
                 defecto. Defina lo que necesita, o indique el Python del proyecto con --python; \
                 luego borre gateway.toml y repita",
            );
            return vec![format!("{said}: {problem}")];
        }
    };
    let mut notes = vec![format!("Django {}", project.django)];
    notes.extend(project.layer.as_ref().and_then(|layer| of_layer(layer, language)));
    notes.extend(project.layer.as_ref().and_then(|layer| of_capacity(layer, language)));
    notes.extend(project.celery.as_ref().map(|celery| of_celery(celery, language)));
    notes.extend(of_routing(project, language));
    notes
}

fn of_layer(layer: &ChannelLayer, language: Language) -> Option<String> {
    let backend = &layer.backend;
    let Some(receive) = &layer.receive else {
        let said = language.pick(
            "the gateway does not receive it. Use channels_redis, or groupcast.send",
            "el gateway no la recibe. Use channels_redis, o groupcast.send",
        );
        return Some(format!("CHANNEL_LAYERS: {backend}: {said}"));
    };
    let url = layer.url.as_deref().unwrap_or("?");
    if received(layer).is_none() {
        let why = RedisSettings::new(url).err().map(|error| error.to_string());
        let said = language.pick("write [layer] yourself", "escriba usted [layer]");
        return Some(format!("CHANNEL_LAYERS: {}: {said}", why.unwrap_or_default()));
    }
    let shown = url.rsplit_once('@').map_or(url, |(_, host)| host);
    let mut note = format!("CHANNEL_LAYERS: {receive}, {shown}, prefix {:?}", layer.prefix);
    if layer.hosts > 1 {
        note += language.pick(
            "; of its hosts, the gateway reads the first only",
            "; de sus hosts, el gateway lee solo el primero",
        );
    }
    Some(note)
}

/// A `channel_capacity` that was forgotten.
fn of_capacity(layer: &ChannelLayer, language: Language) -> Option<String> {
    let is_core = layer.receive.as_deref() == Some("core");
    (is_core && layer.capacity <= DEFAULT_CAPACITY).then(|| {
        let capacity = layer.capacity;
        let said = language.pick(
            "messages at most wait for all browsers, and Channels drops others silently. Add to \
             CONFIG of CHANNEL_LAYERS",
            "mensajes a lo sumo esperan para todos los navegadores, y Channels descarta los demás \
             en silencio. Añada a CONFIG de CHANNEL_LAYERS",
        );
        format!("! {capacity} {said}: \"channel_capacity\": {{\"groupcast.*\": {CAPACITY}}}")
    })
}

fn of_celery(celery: &CeleryApp, language: Language) -> String {
    let broker = celery.broker.split(':').next().unwrap_or_default();
    let names = language.pick("results", "resultados");
    let none = language.pick("none", "ninguno");
    let scheme = celery.results.split(':').next().filter(|scheme| !scheme.is_empty());
    let mut note = format!("Celery: broker {broker}, {names} {}", scheme.unwrap_or(none));
    if !shows_tasks(celery) && !follows_events(celery) {
        note += language.pick(
            ": the states of tasks take a Redis result back end, or Redis or RabbitMQ as broker",
            ": los estados de las tareas piden un result backend Redis, o un broker Redis o \
             RabbitMQ",
        );
    } else if !shows_tasks(celery) && !celery.is_installed {
        note += language.pick(
            ": progress of tasks takes groupcast.celery.install(app) in celery.py, and workers \
             with -E",
            ": el progreso de las tareas pide groupcast.celery.install(app) en celery.py, y \
             workers con -E",
        );
    }
    note
}

fn of_routing(project: &Project, language: Language) -> Option<String> {
    if let Some(problem) = &project.routing_problem {
        let said = language.pick(
            "The routing could not be read: write a [[route]] for each path",
            "No se pudo leer el routing: escriba una [[route]] por cada ruta",
        );
        return Some(format!("! {said} ({problem})"));
    }
    let count = project.routes.len() + project.patterns.len();
    (count > 0).then(|| {
        let said = language.pick("paths of routing.py", "rutas de routing.py");
        let mut note = format!("{count} {said}");
        if !project.patterns.is_empty() {
            let left = project.patterns.len();
            let said = language.pick("to be written by you", "por escribir");
            note += &format!(", {left} {said}");
        }
        note
    })
}
