//! States and events as Celery writes them, and the watcher over a real Redis.

mod counting;
mod reporting;
mod states;
mod watching;
