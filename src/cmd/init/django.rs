//! `groupcast init django`: writes the configuration, the helper and their shared secrets.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cmd::language::Language;
use crate::cmd::{Failure, random_text};

/// Write gateway.toml, groupcast.py and groupcast.env into a Django project
///
/// Existing files are left unchanged. With --force, groupcast.py, which contains no settings, is
/// replaced by the one of this version.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast init django
  groupcast init django --dir ../shop
  groupcast init django --force        after an update of groupcast: renews groupcast.py")]
pub(super) struct Django {
    /// The folder with manage.py
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    dir: PathBuf,
    /// Replace groupcast.py
    #[arg(long)]
    force: bool,
}

const GATEWAY_TOML: &str = include_str!("gateway.toml");
const HELPER: &str = include_str!("../../../client-python/single/groupcast.py");

/// Readable by every user.
const SOURCE: u32 = 0o644;
/// Readable by the owner alone.
const SECRET: u32 = 0o600;

/// What was done with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileOutcome {
    Written,
    Replaced,
    Kept,
}

impl Django {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let manage = fs::read_to_string(self.dir.join("manage.py")).map_err(|error| {
            let folder = self.dir.display();
            let cause = format!("{folder} has no readable manage.py: {error}");
            Failure::start(format!("{cause}; --dir names the folder of the Django project"))
        })?;
        let outcomes = self.write().map_err(Failure::start)?;
        self.report(project(&manage), outcomes).map_err(Failure::start)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Writes the files. Returns what was done with each.
    fn write(&self) -> Result<[(&'static str, FileOutcome); 3], String> {
        let secrets = format!(
            "# For the gateway and for Django: the same in both. Not for version control.\n\
             GROUPCAST_API_SECRET={}\nGROUPCAST_BACKEND_SECRET={}\n",
            random_text::<24>()?,
            random_text::<32>()?,
        );
        let helper = match self.force {
            true => self.replace("groupcast.py", HELPER)?,
            false => self.create("groupcast.py", HELPER, SOURCE)?,
        };
        Ok([
            ("gateway.toml", self.create("gateway.toml", &configuration(), SOURCE)?),
            ("groupcast.py", helper),
            ("groupcast.env", self.create("groupcast.env", &secrets, SECRET)?),
        ])
    }

    /// Writes a file unless it exists.
    fn create(&self, name: &str, content: &str, mode: u32) -> Result<FileOutcome, String> {
        let path = self.dir.join(name);
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
        match opened.and_then(|mut file| file.write_all(content.as_bytes())) {
            Ok(()) => Ok(FileOutcome::Written),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(FileOutcome::Kept),
            Err(error) => Err(cannot_write(&path, &error)),
        }
    }

    fn replace(&self, name: &str, content: &str) -> Result<FileOutcome, String> {
        let path = self.dir.join(name);
        let outcome = if path.exists() { FileOutcome::Replaced } else { FileOutcome::Written };
        fs::write(&path, content).map_err(|error| cannot_write(&path, &error))?;
        Ok(outcome)
    }

    fn report(&self, project: &str, outcomes: [(&str, FileOutcome); 3]) -> io::Result<()> {
        let language = Language::of_environment();
        let mut out = io::stdout().lock();
        for (name, outcome) in outcomes {
            let word = match outcome {
                FileOutcome::Written => language.pick("written", "escrito"),
                FileOutcome::Replaced => language.pick("replaced", "renovado"),
                FileOutcome::Kept => language.pick("existed, unchanged", "ya estaba, sin cambios"),
            };
            writeln!(out, "  {:<24} {word}", self.dir.join(name).display())?;
        }
        let steps = language.pick(STEPS, PASOS).replace("PROJECT", project);
        writeln!(out, "{steps}")
    }
}

/// The group of a user is called as in the documents of the same language.
fn configuration() -> String {
    let group = Language::of_environment().pick(r#""user_{sub}""#, r#""usuario_{sub}""#);
    GATEWAY_TOML.replace(r#""user_{sub}""#, group)
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

/// The package of settings.py and urls.py, as manage.py names it.
fn project(manage: &str) -> &str {
    let settings = manage.split("DJANGO_SETTINGS_MODULE").nth(1).unwrap_or_default();
    // What follows the name is the call's next argument: `", "shop.settings")`.
    let module = settings.split(['"', '\'']).nth(2).unwrap_or_default();
    match module.split('.').next() {
        Some(package) if !package.is_empty() => package,
        _ => "<project>",
    }
}

const STEPS: &str = r#"
Next:
  1. PROJECT/settings.py (with: import os)
       GROUPCAST = {
           "API": "http://127.0.0.1:8081",
           "KEY": os.environ["GROUPCAST_API_SECRET"],
           "SECRET": os.environ["GROUPCAST_BACKEND_SECRET"],
       }
  2. PROJECT/urls.py
       path("groupcast/", include("groupcast")),
  3. gateway.toml: a [[route]] for each path of routing.py
  4. Start both with the same secrets, which stay out of version control:
       set -a; . ./groupcast.env; set +a
       python manage.py runserver & groupcast dev --backend http://127.0.0.1:8000
     and open http://127.0.0.1:8080; in production it is: groupcast serve
"#;

const PASOS: &str = r#"
Siguientes pasos:
  1. PROJECT/settings.py (con: import os)
       GROUPCAST = {
           "API": "http://127.0.0.1:8081",
           "KEY": os.environ["GROUPCAST_API_SECRET"],
           "SECRET": os.environ["GROUPCAST_BACKEND_SECRET"],
       }
  2. PROJECT/urls.py
       path("groupcast/", include("groupcast")),
  3. gateway.toml: una [[route]] por cada ruta de routing.py
  4. Arrancar los dos con los mismos secretos, que no van al control de versiones:
       set -a; . ./groupcast.env; set +a
       python manage.py runserver & groupcast dev --backend http://127.0.0.1:8000
     y abrir http://127.0.0.1:8080; en producción es: groupcast serve
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_project_from_manage_py() {
        let made = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')";
        assert_eq!(project(made), "shop");
        let split = "setdefault(\n    \"DJANGO_SETTINGS_MODULE\",\n    \"shop.settings.prod\",\n)";
        assert_eq!(project(split), "shop");
        assert_eq!(project("import shop"), "<project>");
    }
}
