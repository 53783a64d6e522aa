//! `groupcast init django` reads a project's settings, writes its files, and overwrites nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::Folder;

const MANAGE: &str = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'tienda.settings')\n";

/// The folder of a project without a gateway.toml.
fn project() -> (Folder, PathBuf) {
    let folder = Folder::with("");
    fs::remove_file(folder.gateway_toml()).unwrap();
    let path = folder.gateway_toml().parent().unwrap().to_owned();
    fs::write(path.join("manage.py"), MANAGE).unwrap();
    (folder, path)
}

/// stdout of a command that succeeded.
fn stdout_of(folder: &Folder, arguments: &[&str]) -> String {
    let output = folder.output(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn writes_configuration_helper_and_secrets_for_a_project() {
    let (folder, path) = project();
    let printed = stdout_of(&folder, &["init", "django"]);
    for part in ["gateway.toml", "groupcast.py", "tienda/settings.py", "include(\"groupcast\")"] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
    let helper = fs::read_to_string(path.join("groupcast.py")).unwrap();
    assert!(helper.starts_with("\"\"\"Groupcast for Django"), "{helper:.80}");
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    let mode = fs::metadata(path.join("groupcast.env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only the owner may read the secrets");
    for (name, most) in [("GROUPCAST_API_SECRET", 16), ("GROUPCAST_BACKEND_SECRET", 32)] {
        let line = secrets.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let secret = line.unwrap_or_else(|| panic!("no {name} in {secrets}"));
        assert!(secret.len() >= most, "{name}: {secret}");
        assert!(!printed.contains(secret), "secrets are not printed");
    }
}

#[test]
fn leaves_existing_files_alone_and_replaces_the_helper_with_force() {
    let (folder, path) = project();
    stdout_of(&folder, &["init", "django"]);
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    fs::write(folder.gateway_toml(), "# mine\n").unwrap();
    fs::write(path.join("groupcast.py"), "# old\n").unwrap();
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();

    let again = stdout_of(&folder, &["init", "django"]);
    assert_eq!(again.matches("existed, unchanged").count(), 4, "{again}");
    assert_eq!((read("gateway.toml"), read("groupcast.py")), ("# mine\n".into(), "# old\n".into()));

    let forced = stdout_of(&folder, &["init", "django", "--force"]);
    assert_eq!(forced.matches("existed, unchanged").count(), 3, "{forced}");
    assert_eq!((read("gateway.toml"), read("groupcast.env")), ("# mine\n".into(), secrets));
    assert!(read("groupcast.py").starts_with("\"\"\"Groupcast for Django"));
}

#[test]
fn refuses_a_folder_without_a_project_and_leaves_it_untouched() {
    let folder = Folder::with("# mine\n");
    let output = folder.output(&["init", "django", "--dir", "."]);
    assert_eq!(output.status.code(), Some(1));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(printed.contains("manage.py") && printed.contains("--dir"), "{printed}");
    let files = fs::read_dir(folder.gateway_toml().parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "nothing but the existing gateway.toml");
}

#[test]
fn prints_in_the_language_of_the_environment() {
    let (folder, _) = project();
    let mut command = folder.groupcast(&["init", "django"]);
    let output = command.env("LC_ALL", "es_MX.UTF-8").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("Siguientes pasos"));
}

#[test]
fn the_configuration_and_secrets_it_writes_are_valid() {
    let (folder, _) = project();
    stdout_of(&folder, &["init", "django"]);
    // The secrets are in groupcast.env, which the gateway reads.
    let printed = stdout_of(&folder, &["check"]);
    for part in ["/groupcast/connect", "/groupcast/call", "user_{sub}", "django: send"] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
}

#[test]
fn keeps_the_secrets_out_of_version_control() {
    let (folder, path) = project();
    fs::write(path.join(".gitignore"), "*.pyc").unwrap();
    let printed = stdout_of(&folder, &["init", "django"]);
    assert!(printed.contains("groupcast.env added"), "{printed}");
    assert_eq!(fs::read_to_string(path.join(".gitignore")).unwrap(), "*.pyc\ngroupcast.env\n");
    stdout_of(&folder, &["init", "django"]);
    assert_eq!(fs::read_to_string(path.join(".gitignore")).unwrap(), "*.pyc\ngroupcast.env\n");
}

#[test]
fn a_variable_that_is_set_counts_and_not_that_of_the_file() {
    let (folder, path) = project();
    stdout_of(&folder, &["init", "django"]);
    fs::write(path.join("groupcast.env"), "GROUPCAST_API_SECRET=only_this_one_of_both\n").unwrap();
    let output = folder.output(&["check"]);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(printed.contains("GROUPCAST_BACKEND_SECRET"), "{printed}");
    assert!(printed.contains("groupcast.env"), "{printed}");
    let mut command = folder.groupcast(&["check"]);
    let output = command.env("GROUPCAST_BACKEND_SECRET", "s".repeat(32)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

// ===== the project's settings =====

const SETTINGS: &str = r#"
from tienda import celery
print("settings may print")
SECRET_KEY = "x"
DEBUG = False
ALLOWED_HOSTS = [".example", "tienda.example"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
ASGI_APPLICATION = "tienda.asgi.application"
CHANNEL_LAYERS = {"default": {
    "BACKEND": "channels_redis.core.RedisChannelLayer",
    "CONFIG": {
        "hosts": [{"address": "redis://:geheim@127.0.0.1:6379/2"}],
        "prefix": "tienda", "expiry": 30, "symmetric_encryption_keys": ["a key of the project"],
    },
}}
"#;
const CELERY: &str = r#"
from celery import Celery
app = Celery("tienda", broker="amqp://guest:geheim@localhost//", backend="RESULTS")
app.conf.result_backend_transport_options = {"global_keyprefix": "tienda_"}
"#;
const ASGI: &str = r#"
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import WebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path, re_path

class Chat(WebsocketConsumer):
    pass

class Notices(WebsocketConsumer):
    pass

inside = URLRouter([path("chat/<int:room>/", Chat.as_asgi()), path("notices/", Notices.as_asgi())])
application = ProtocolTypeRouter({
    "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([
        path("ws/", inside),
        re_path(r"^ws/orders/(?P<pk>[0-9a-f-]{36})/?$", Chat.as_asgi()),
        re_path(r"^ws/(old|older)/$", Chat.as_asgi()),
    ]))),
})
"#;

/// The Python that has Django's libraries.
fn python() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python")
}

/// A project with channel layer, routing and Celery.
fn whole_project(settings: &str, results: &str) -> (Folder, PathBuf) {
    let (folder, path) = project();
    let package = path.join("tienda");
    fs::create_dir(&package).unwrap();
    let celery = CELERY.replace("RESULTS", results);
    let files = [("__init__.py", ""), ("settings.py", settings), ("celery.py", &celery)];
    for (name, text) in files.into_iter().chain([("asgi.py", ASGI)]) {
        fs::write(package.join(name), text).unwrap();
    }
    (folder, path)
}

#[test]
fn reads_channel_layer_routing_hosts_and_celery_from_the_settings() {
    let (folder, path) = whole_project(SETTINGS, "rpc://");
    let python = python();
    let printed = stdout_of(&folder, &["init", "django", "--python", python.to_str().unwrap()]);
    for part in [
        "core, 127.0.0.1:6379/2, prefix \"tienda\"",
        "! 100 messages at most",
        "\"channel_capacity\": {\"groupcast.*\": 10000}",
        "broker amqp, results rpc: progress of tasks takes groupcast.celery.install(app)",
        "4 paths of routing.py, 1 to be written by you",
    ] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
    assert!(!printed.contains("geheim"), "passwords are not printed\n{printed}");

    let written = fs::read_to_string(folder.gateway_toml()).unwrap();
    for part in [
        "host = \"tienda.example\"",
        "headers = { \"X-Forwarded-Proto\" = \"https\" }",
        "path = \"/ws/chat/{room}/\"\njoin = [\"user_{sub}\"]\nallow = \"hook\"",
        "path = \"/ws/notices/\"",
        "path = \"/ws/orders/{pk}/\"",
        "# routing.py has \"^ws/(old|older)/$\" for Chat",
        "receive = [\"core\"]",
        "prefix = \"tienda\"",
        "capacity = 10000",
        "expiry = \"30s\"",
    ] {
        assert!(written.contains(part), "{part} is missing in\n{written}");
    }
    assert!(!written.contains("geheim") && !written.contains("a key of"), "{written}");
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    assert!(
        secrets.contains("GROUPCAST_LAYER_URL='redis://:geheim@127.0.0.1:6379/2'"),
        "{secrets}"
    );

    let check = stdout_of(&folder, &["check"]);
    for part in ["/ws/chat/{room}/", "core"] {
        assert!(check.contains(part), "{part} is missing in\n{check}");
    }
}

#[test]
fn says_in_words_what_keeps_the_settings_from_being_read() {
    let forgotten = "import os\nSECRET_KEY = os.environ['TIENDA_SECRET']\n";
    let (folder, _) = whole_project(forgotten, "rpc://");
    let python = python();
    for (python, part) in [
        (python.to_str().unwrap(), "KeyError: 'TIENDA_SECRET'"),
        ("/nowhere/python", "cannot be run"),
        ("/bin/true", "ended without an answer"),
    ] {
        let printed = stdout_of(&folder, &["init", "django", "--python", python]);
        for part in [part, python, "gateway.toml has defaults", "--python"] {
            assert!(printed.contains(part), "{part} is missing in\n{printed}");
        }
    }
    stdout_of(&folder, &["check"]);
}

#[test]
fn tells_a_channel_layer_that_the_gateway_does_not_receive() {
    let memory = "SECRET_KEY = 'x'\nCHANNEL_LAYERS = {'default': {'BACKEND': \
                  'channels.layers.InMemoryChannelLayer'}}\n";
    let (folder, _) = whole_project(memory, "rpc://");
    let python = python();
    let printed = stdout_of(&folder, &["init", "django", "--python", python.to_str().unwrap()]);
    assert!(printed.contains("InMemoryChannelLayer: the gateway does not receive it"), "{printed}");
    let written = fs::read_to_string(folder.gateway_toml()).unwrap();
    assert!(!written.lines().any(|line| line == "[layer]"), "{written}");
}

#[test]
fn writes_the_broker_where_the_result_back_end_cannot_be_read() {
    let (folder, path) = whole_project(SETTINGS, "rpc://");
    let python = python();
    stdout_of(&folder, &["init", "django", "--python", python.to_str().unwrap()]);
    let written = fs::read_to_string(folder.gateway_toml()).unwrap();
    assert!(written.contains("# events: GROUPCAST_CELERY_EVENTS in groupcast.env"), "{written}");
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    let line = "GROUPCAST_CELERY_EVENTS='amqp://guest:geheim@localhost//'";
    assert!(secrets.contains(line), "{secrets}");
    let mut check = folder.groupcast(&["check"]);
    check.env("GROUPCAST_CELERY_EVENTS", "amqp://guest:geheim@localhost//");
    let printed = String::from_utf8(check.output().unwrap().stdout).unwrap();
    assert!(printed.contains("from events of Celery's workers on RabbitMQ"), "{printed}");
    assert!(printed.contains("progress takes groupcast.celery.install(app)"), "{printed}");
}

#[test]
fn writes_a_result_back_end_whose_tasks_browsers_can_watch() {
    let (folder, path) = whole_project(SETTINGS, "redis://:geheim@127.0.0.1:6379/1");
    let python = python();
    let printed = stdout_of(&folder, &["init", "django", "--python", python.to_str().unwrap()]);
    assert!(printed.contains("Celery: broker amqp, results redis"), "{printed}");
    assert!(!printed.contains("install(app)") && !printed.contains("geheim"), "{printed}");
    let written = fs::read_to_string(folder.gateway_toml()).unwrap();
    assert!(
        written.contains("[celery]") && written.contains("key_prefix = \"tienda_\""),
        "{written}"
    );
    assert!(!written.contains("geheim"), "{written}");
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    let line = "GROUPCAST_CELERY_RESULTS='redis://:geheim@127.0.0.1:6379/1'";
    assert!(secrets.contains(line), "{secrets}");
    stdout_of(&folder, &["check"]);
}
