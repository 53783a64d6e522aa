//! `groupcast init django`: writes the configuration, the helper and their shared secrets.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::configuration::{USER_GROUP, gateway_toml, more_variables};
use super::notes::notes;
use super::project::{Project, python_of, settings_module};
use crate::cmd::language::Language;
use crate::cmd::{Failure, random_text};

/// Write gateway.toml, groupcast.py and groupcast.env into a Django project
///
/// The project's own Python is run to read its settings: channel layer, routing, hosts, Celery.
/// Existing files are left unchanged. With --force, groupcast.py, which contains no settings, is
/// replaced by the one of this version. Where the helper is installed as a package, groupcast.py is
/// not written. groupcast.env is added to .gitignore.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast init django
  groupcast init django --dir ../shop --python ../shop/.venv/bin/python
  groupcast init django --force        after an update of groupcast: renews groupcast.py")]
pub(super) struct Django {
    /// The folder with manage.py
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    dir: PathBuf,
    /// The Python of the project [default: of the active environment, of .venv, venv or env in the
    /// folder, or python3]
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Replace groupcast.py
    #[arg(long)]
    force: bool,
}

const HELPER: &str = include_str!("../../../client-python/single/groupcast.py");
const ENV_FILE: &str = "groupcast.env";

/// Readable by every user.
const SOURCE: u32 = 0o644;
/// Readable by the owner alone.
const SECRET: u32 = 0o600;

/// What was done with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FileOutcome {
    Written,
    Replaced,
    Extended,
    Kept,
}

impl Django {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let manage = fs::read_to_string(self.dir.join("manage.py")).map_err(|error| {
            let folder = self.dir.display();
            let cause = format!("{folder} has no readable manage.py: {error}");
            Failure::start(format!("{cause}; --dir names the folder of the Django project"))
        })?;
        let project = self.read(&manage);
        let outcomes =
            self.write(project.as_ref().unwrap_or(&Project::default())).map_err(Failure::start)?;
        self.report(&manage, &project, &outcomes).map_err(Failure::start)?;
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self, manage: &str) -> Result<Project, String> {
        let module = settings_module(manage).unwrap_or_default();
        let python = self.python.as_deref().map(std::path::absolute).transpose();
        let python = python.map_err(|error| error.to_string())?;
        Project::read(&self.dir, &python.unwrap_or_else(|| python_of(&self.dir)), module)
    }

    /// Writes the files. Returns what was done with each.
    fn write(&self, project: &Project) -> Result<Vec<(&'static str, FileOutcome)>, String> {
        let language = Language::of_environment();
        let group = language.pick(USER_GROUP, r#""usuario_{sub}""#);
        let configuration = gateway_toml(project, group);
        let mut outcomes =
            vec![("gateway.toml", self.create("gateway.toml", &configuration, SOURCE)?)];
        if !project.is_package || self.dir.join("groupcast.py").exists() {
            let helper = match self.force {
                true => self.replace("groupcast.py", HELPER)?,
                false => self.create("groupcast.py", HELPER, SOURCE)?,
            };
            outcomes.push(("groupcast.py", helper));
        }
        outcomes.push((ENV_FILE, self.create(ENV_FILE, &secrets(project)?, SECRET)?));
        outcomes.push((".gitignore", self.ignore()?));
        Ok(outcomes)
    }

    /// Keeps the secrets out of version control.
    fn ignore(&self) -> Result<FileOutcome, String> {
        let path = self.dir.join(".gitignore");
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        if text.lines().any(|line| line.trim().trim_start_matches('/') == ENV_FILE) {
            return Ok(FileOutcome::Kept);
        }
        let outcome = if path.exists() { FileOutcome::Extended } else { FileOutcome::Written };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        fs::write(&path, format!("{text}{ENV_FILE}\n"))
            .map_err(|error| cannot_write(&path, &error))?;
        Ok(outcome)
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

    fn report(
        &self,
        manage: &str,
        project: &Result<Project, String>,
        outcomes: &[(&str, FileOutcome)],
    ) -> io::Result<()> {
        let language = Language::of_environment();
        let mut out = io::stdout().lock();
        for (name, outcome) in outcomes {
            let word = match outcome {
                FileOutcome::Written => language.pick("written", "escrito"),
                FileOutcome::Replaced => language.pick("replaced", "renovado"),
                FileOutcome::Extended => language.pick("groupcast.env added", "con groupcast.env"),
                FileOutcome::Kept => language.pick("existed, unchanged", "ya estaba, sin cambios"),
            };
            writeln!(out, "  {:<24} {word}", self.dir.join(name).display())?;
        }
        writeln!(out)?;
        for note in notes(project, language) {
            writeln!(out, "  {note}")?;
        }
        let is_package = project.as_ref().is_ok_and(|project| project.is_package);
        let app = if is_package { "groupcast" } else { "groupcast.GroupcastConfig" };
        let package = settings_module(manage).and_then(|module| module.split('.').next());
        let steps = language.pick(STEPS, PASOS).replace("PROJECT", package.unwrap_or("<project>"));
        writeln!(out, "{}", steps.replace("APP", app))
    }
}

/// groupcast.env: new secrets, and those that the project's settings have.
fn secrets(project: &Project) -> Result<String, String> {
    let mut text = format!(
        "# For the gateway and for Django: the same in both. Not for version control.\n\
         GROUPCAST_API_SECRET={}\nGROUPCAST_BACKEND_SECRET={}\n",
        random_text::<24>()?,
        random_text::<32>()?,
    );
    for (name, value) in more_variables(project) {
        // As a shell and both readers take it; what has a line break or a quote cannot be written.
        if value.contains(['\n', '\'']) {
            return Err(format!(
                "{name} cannot be written into {ENV_FILE}: it has a quote or a line break"
            ));
        }
        let _ = writeln!(text, "{name}='{value}'");
    }
    Ok(text)
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

const STEPS: &str = r#"
Next:
  1. PROJECT/settings.py
       INSTALLED_APPS = [..., "APP"]
  2. PROJECT/urls.py
       path("groupcast/", include("groupcast")),
  3. gateway.toml: the groups that each [[route]] joins
  4. Check, and start both; the secrets are in groupcast.env:
       python manage.py check
       python manage.py runserver & groupcast dev --backend http://127.0.0.1:8000
     and open http://127.0.0.1:8080; in production it is: groupcast serve
"#;

const PASOS: &str = r#"
Siguientes pasos:
  1. PROJECT/settings.py
       INSTALLED_APPS = [..., "APP"]
  2. PROJECT/urls.py
       path("groupcast/", include("groupcast")),
  3. gateway.toml: los grupos a los que une cada [[route]]
  4. Comprobar y arrancar los dos; los secretos están en groupcast.env:
       python manage.py check
       python manage.py runserver & groupcast dev --backend http://127.0.0.1:8000
     y abrir http://127.0.0.1:8080; en producción es: groupcast serve
"#;
