//! The page of the console: files compiled into the binary, served while a key may use them.

use axum::Router;

use crate::http::file;
use crate::identity::{ApiKeys, Right};

const PAGE: &[u8] = include_bytes!("page/index.html");
const STYLE: &[u8] = include_bytes!("page/console.css");
const FRAME: &[u8] = include_bytes!("page/console.js");
const VIEWS: &[u8] = include_bytes!("page/views.js");
const PARTS: &[u8] = include_bytes!("page/parts.js");
const OPERATIONS: &[u8] = include_bytes!("page/operations.js");
const WORDS: &[u8] = include_bytes!("page/words.js");

/// Most bytes of all files: the page opens at once over a slow line.
#[cfg(test)]
const MAX_BYTES: usize = 60_000;

/// The files, if any key has the right `console`. They hold nothing secret: data needs the key.
pub(crate) fn page<S: Clone + Send + Sync + 'static>(keys: &ApiKeys) -> Router<S> {
    if !keys.any_has(Right::Console) {
        return Router::new();
    }
    let script = |bytes| file(bytes, "text/javascript", "no-cache");
    Router::new()
        .route("/console", file(PAGE, "text/html", "no-cache"))
        .route("/console/page/console.css", file(STYLE, "text/css", "no-cache"))
        .route("/console/page/console.js", script(FRAME))
        .route("/console/page/views.js", script(VIEWS))
        .route("/console/page/operations.js", script(OPERATIONS))
        .route("/console/page/parts.js", script(PARTS))
        .route("/console/page/words.js", script(WORDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small() {
        let files = [PAGE, STYLE, FRAME, VIEWS, OPERATIONS, PARTS, WORDS];
        let bytes = files.iter().map(|file| file.len()).sum::<usize>();
        assert!(bytes <= MAX_BYTES, "{bytes} bytes");
    }

    #[test]
    fn scripts_make_no_markup_of_texts() {
        for script in [FRAME, VIEWS, OPERATIONS, PARTS, WORDS] {
            let text = std::str::from_utf8(script).expect("UTF-8");
            for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "write("] {
                assert!(!text.contains(forbidden), "{forbidden}");
            }
        }
    }

    #[test]
    fn both_languages_have_the_same_words() {
        let text = std::str::from_utf8(WORDS).expect("UTF-8");
        let (english, spanish) = text.split_once("const es = {").expect("two languages");
        let keys = |part: &str| {
            let part = part.split("};").next().unwrap_or_default();
            let words = part.split([',', '{', '\n']).map(str::trim);
            let key = |word: &str| word.split_once(": '").map(|(key, _)| key.to_owned());
            let mut keys: Vec<_> = words.filter_map(key).collect();
            keys.sort_unstable();
            keys
        };
        let english = keys(english.split_once("const en = {").expect("English").1);
        assert!(english.len() > 120, "{}", english.len());
        assert_eq!(english, keys(spanish));
    }
}
