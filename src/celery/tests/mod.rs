//! States as Celery writes them, and the watcher over a real Redis.

mod states;
mod watching;
