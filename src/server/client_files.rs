//! Serves the client library: compressed in advance, with ETags, and at addresses that may be
//! cached forever.

use axum::Router;
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE,
    ETAG, IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;

/// Where the client library's files are.
pub(crate) const CLIENT_PATH: &str = "/client/v1/";

/// Addresses and hashes of the files, written by the build of the client.
const MANIFEST: &str = include_str!("../../client-js/dist/manifest.json");

/// `v1` in the path promises compatibility, not identical bytes: revalidated after an hour.
const CACHE: &str = "public, max-age=3600";
/// The address has the content's hash in it.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// One file in its encodings.
#[derive(Clone, Copy)]
struct File {
    name: &'static str,
    plain: &'static [u8],
    brotli: &'static [u8],
    gzip: &'static [u8],
}

/// Every encoding of a file in `client-js/dist`.
macro_rules! file {
    ($name:literal) => {
        File {
            name: $name,
            plain: include_bytes!(concat!("../../client-js/dist/", $name)),
            brotli: include_bytes!(concat!("../../client-js/dist/", $name, ".br")),
            gzip: include_bytes!(concat!("../../client-js/dist/", $name, ".gz")),
        }
    };
}

/// The module, the classic script and the module without loops, each also with whole sentences in
/// its errors, and the element that shows a task's progress.
const FILES: [File; 7] = [
    file!("groupcast.js"),
    file!("groupcast.global.js"),
    file!("groupcast.core.js"),
    file!("groupcast.development.js"),
    file!("groupcast.global.development.js"),
    file!("groupcast.core.development.js"),
    file!("progress.js"),
];
const TYPES: &str = include_str!("../../client-js/dist/groupcast.d.ts");

#[derive(Deserialize)]
struct Manifest {
    files: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    url: String,
    integrity: String,
}

/// Each file at a stable address and at one with its hash, the types, and the manifest.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let manifest: Manifest = serde_json::from_str(MANIFEST).expect("a test reads the manifest");
    let mut router = Router::new()
        .route("/client/v1/manifest.json", get(|| text(MANIFEST, "application/json")))
        .route("/client/v1/groupcast.d.ts", get(|| text(TYPES, "text/plain; charset=utf-8")));
    for listed in manifest.files {
        let file = FILES.into_iter().find(|file| file.name == listed.name);
        let file = file.expect("a test compares the manifest with the files");
        // Weak: the encodings differ in bytes and share it (RFC 9110 section 8.8.1).
        let tag = HeaderValue::from_str(&format!("W/\"{}\"", listed.integrity));
        let tag = tag.expect("hashes in Base64 are legal header values");
        let lasting = (format!("/client/v1/{}", file.name), CACHE);
        for (path, cache) in [lasting, (listed.url, IMMUTABLE)] {
            let tag = tag.clone();
            let answer =
                move |headers: HeaderMap| async move { file.answer(&headers, &tag, cache) };
            router = router.route(&path, get(answer));
        }
    }
    router
}

impl File {
    fn answer(self, asked: &HeaderMap, tag: &HeaderValue, cache: &'static str) -> Response {
        let common: [(HeaderName, HeaderValue); 4] = [
            (ETAG, tag.clone()),
            (CACHE_CONTROL, HeaderValue::from_static(cache)),
            (VARY, HeaderValue::from_static("Accept-Encoding")),
            open(),
        ];
        if holds(asked, tag) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let kind = (CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
        let sniff = (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let (encoding, bytes) = match () {
            () if accepts(asked, "br") => (Some("br"), self.brotli),
            () if accepts(asked, "gzip") => (Some("gzip"), self.gzip),
            () => (None, self.plain),
        };
        let mut response = (common, [kind, sniff], bytes).into_response();
        if let Some(encoding) = encoding {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

async fn text(body: &'static str, kind: &'static str) -> Response {
    let kind = (CONTENT_TYPE, HeaderValue::from_static(kind));
    let cache = (CACHE_CONTROL, HeaderValue::from_static(CACHE));
    ([kind, cache, open()], body).into_response()
}

/// A site imports the client from the gateway's host, which is another origin: without this header
/// browsers fetch a module and then refuse to run it, and check no integrity.
fn open() -> (HeaderName, HeaderValue) {
    (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
}

/// Whether the client has the version of `tag`, compared weakly (RFC 9110 section 13.1.2).
fn holds(asked: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |tag: &'_ str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let held = tag.to_str().map(opaque).unwrap_or_default();
    let tags = asked.get_all(IF_NONE_MATCH).into_iter().filter_map(|tags| tags.to_str().ok());
    let mut tags = tags.flat_map(|tags| tags.split(',')).map(str::trim);
    tags.any(|one| one == "*" || opaque(one) == held)
}

/// Whether `encoding` is listed, and not with a quality of zero (RFC 9110 section 12.5.3).
fn accepts(asked: &HeaderMap, encoding: &str) -> bool {
    let lists = asked.get_all(ACCEPT_ENCODING).into_iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        let quality = parameters.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case(encoding) && quality.is_ok_and(|quality| quality > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn uses_an_encoding_that_the_client_accepts() {
        for (value, taken) in [
            ("br", true),
            ("gzip, deflate, br", true),
            ("gzip, BR;q=0.5", true),
            ("br;q=0", false),
            ("br;q=x", false),
            ("gzip", false),
            ("brotli", false),
            ("", false),
        ] {
            assert_eq!(accepts(&asking(ACCEPT_ENCODING, value), "br"), taken, "{value}");
        }
        assert!(!accepts(&HeaderMap::new(), "gzip"));
    }

    #[test]
    fn recognizes_an_etag_in_a_list_weak_or_as_a_star() {
        let tag = HeaderValue::from_static("W/\"a\"");
        for (value, held) in
            [("\"a\"", true), ("\"b\", W/\"a\"", true), ("*", true), ("\"b\"", false), ("a", false)]
        {
            assert_eq!(holds(&asking(IF_NONE_MATCH, value), &tag), held, "{value}");
        }
    }

    #[test]
    fn serves_exactly_the_files_of_the_manifest() {
        let manifest: Manifest = serde_json::from_str(MANIFEST).unwrap();
        let listed = manifest.files.iter().map(|listed| &*listed.name).collect::<Vec<_>>();
        assert_eq!(listed, FILES.map(|file| file.name));
        let _: Router = router();
    }
}
