mod api_keys;
mod keys;
mod policy;
mod support;
mod templates;
mod times;
mod tokens;
