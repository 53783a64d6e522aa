//! A certificate authority of one's own, by OpenSSL: its files end with the value.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A key of the kind that is made fastest.
const KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/// An authority that certifies servers and clients.
pub(crate) struct Authority {
    folder: PathBuf,
}

/// The files of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Certified {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("groupcast-authority-{}-{number}", std::process::id());
        let authority = Self { folder: std::env::temp_dir().join(name) };
        fs::create_dir_all(&authority.folder).unwrap();
        let extension = ["-addext", "basicConstraints=critical,CA:TRUE"];
        authority.run(Command::new("openssl"), "ca", "30", &extension);
        authority
    }

    /// The authority's own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// A file of this name in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A certificate for `localhost`, 127.0.0.1 and `name`, which is also that of its files.
    pub(crate) fn certify(&self, name: &str) -> Certified {
        self.issue(Command::new("openssl"), name)
    }

    /// One that was valid for some days in 2020.
    pub(crate) fn certify_expired(&self, name: &str) -> Certified {
        let mut faked = Command::new("faketime");
        faked.args(["2020-05-05 05:05:05", "openssl"]);
        self.issue(faked, name)
    }

    fn issue(&self, command: Command, name: &str) -> Certified {
        let names = format!("subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:{name}");
        let (ca, key) = (self.certificate(), self.file("ca.key"));
        let (ca, key) = (ca.to_str().unwrap(), key.to_str().unwrap());
        let leaf = "basicConstraints=critical,CA:FALSE";
        let more = ["-CA", ca, "-CAkey", key, "-addext", leaf, "-addext", &names];
        self.run(command, name, "10", &more)
    }

    fn run(&self, mut command: Command, name: &str, days: &str, more: &[&str]) -> Certified {
        let file = |end| self.folder.join(format!("{name}.{end}"));
        let made = Certified { certificate: file("pem"), key: file("key") };
        command.args(["req", "-x509", "-days", days, "-subj", &format!("/CN={name}")]);
        command.args(KEY).args(more);
        command.arg("-keyout").arg(&made.key).arg("-out").arg(&made.certificate);
        let output = command.stdin(Stdio::null()).output().expect("openssl and faketime run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made
    }
}

impl Certified {
    /// Takes the place of another certificate's files, as a rotation does.
    pub(crate) fn replace(&self, other: &Self) {
        let copy = |from: &Path, to: &Path| {
            let next = to.with_extension("next");
            fs::copy(from, &next).unwrap();
            fs::rename(next, to).unwrap();
        };
        copy(&self.key, &other.key);
        copy(&self.certificate, &other.certificate);
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
