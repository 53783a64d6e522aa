//! `groupcast init django`: three files for a project, and never over what is there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::Folder;

const MANAGE: &str = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'tienda.settings')\n";

/// A project's folder without a gateway.toml yet.
fn project() -> (Folder, PathBuf) {
    let folder = Folder::with("");
    fs::remove_file(folder.gateway_toml()).unwrap();
    let path = folder.gateway_toml().parent().unwrap().to_owned();
    fs::write(path.join("manage.py"), MANAGE).unwrap();
    (folder, path)
}

/// What was said on stdout of a command that succeeded.
fn said(folder: &Folder, arguments: &[&str]) -> String {
    let output = folder.output(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_project_gets_configuration_helper_and_secrets() {
    let (folder, path) = project();
    let said = said(&folder, &["init", "django"]);
    for part in ["gateway.toml", "groupcast.py", "tienda/settings.py", "include(\"groupcast\")"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    let helper = fs::read_to_string(path.join("groupcast.py")).unwrap();
    assert!(helper.starts_with("\"\"\"Groupcast for Django"), "{helper:.80}");
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    let mode = fs::metadata(path.join("groupcast.env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "secrets are the owner's alone");
    for (name, most) in [("GROUPCAST_API_SECRET", 16), ("GROUPCAST_BACKEND_SECRET", 32)] {
        let line = secrets.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let secret = line.unwrap_or_else(|| panic!("no {name} in {secrets}"));
        assert!(secret.len() >= most, "{name}: {secret}");
        assert!(!said.contains(secret), "secrets are not printed");
    }
}

#[test]
fn what_is_there_is_left_alone_and_force_renews_the_helper_only() {
    let (folder, path) = project();
    said(&folder, &["init", "django"]);
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    fs::write(folder.gateway_toml(), "# mine\n").unwrap();
    fs::write(path.join("groupcast.py"), "# old\n").unwrap();
    let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();

    let again = said(&folder, &["init", "django"]);
    assert_eq!(again.matches("left alone").count(), 3, "{again}");
    assert_eq!((read("gateway.toml"), read("groupcast.py")), ("# mine\n".into(), "# old\n".into()));

    let forced = said(&folder, &["init", "django", "--force"]);
    assert_eq!(forced.matches("left alone").count(), 2, "{forced}");
    assert_eq!((read("gateway.toml"), read("groupcast.env")), ("# mine\n".into(), secrets));
    assert!(read("groupcast.py").starts_with("\"\"\"Groupcast for Django"));
}

#[test]
fn a_folder_without_a_project_is_refused_and_untouched() {
    let folder = Folder::with("# mine\n");
    let output = folder.output(&["init", "django", "--dir", "."]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("manage.py") && said.contains("--dir"), "{said}");
    let files = fs::read_dir(folder.gateway_toml().parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "nothing but the gateway.toml that was there");
}

#[test]
fn it_is_said_in_the_readers_language() {
    let (folder, _) = project();
    let mut command = folder.groupcast(&["init", "django"]);
    let output = command.env("LC_ALL", "es_MX.UTF-8").output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("Siguientes pasos"));
}

#[test]
fn the_configuration_and_the_secrets_written_are_good() {
    let (folder, path) = project();
    said(&folder, &["init", "django"]);
    let mut command = folder.groupcast(&["check"]);
    let secrets = fs::read_to_string(path.join("groupcast.env")).unwrap();
    command.envs(secrets.lines().filter_map(|line| line.split_once('=')));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    for part in ["/groupcast/connect", "/groupcast/call", "usuario_{sub}", "django: send"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
}
