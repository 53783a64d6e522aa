//! `groupcast init django` writes three files, and never overwrites what exists.

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
    assert_eq!(again.matches("existed, unchanged").count(), 3, "{again}");
    assert_eq!((read("gateway.toml"), read("groupcast.py")), ("# mine\n".into(), "# old\n".into()));

    let forced = stdout_of(&folder, &["init", "django", "--force"]);
    assert_eq!(forced.matches("existed, unchanged").count(), 2, "{forced}");
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
    let (folder, path) = project();
    stdout_of(&folder, &["init", "django"]);
    let mut command = folder.groupcast(&["check"]);
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    command.envs(secrets.lines().filter_map(|line| line.split_once('=')));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    for part in ["/groupcast/connect", "/groupcast/call", "user_{sub}", "django: send"] {
        assert!(printed.contains(part), "{part} is missing in\n{printed}");
    }
}
