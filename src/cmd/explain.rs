//! `groupcast explain`: why an operation is allowed or denied.

use std::process::ExitCode;

use clap::Args;
use groupcast::identity::{HookClaims, Identity, Operation, Policy, Verifier};
use serde_json::{Map, Value};

use super::{ConfigFile, Failure};
use groupcast::clock::unix_seconds;

/// Explain why an operation is allowed or denied for a user
///
/// Exits with 0 if it is allowed and with 1 if it is denied.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  groupcast explain --sub 7 join user_7
  groupcast explain --sub 7 --claim tenant=north send north.notices
  groupcast explain --token \"$TOKEN\" call mark_read")]
pub(super) struct Explain {
    #[command(flatten)]
    file: ConfigFile,
    /// The user: one whose token has this sub and no groups or grants
    #[arg(long, required_unless_present = "token", conflicts_with = "token")]
    sub: Option<String>,
    /// A claim of that token; may be repeated
    #[arg(long = "claim", value_parser = super::token::parse_claim, value_name = "NAME=VALUE",
          conflicts_with = "token")]
    claims: Vec<(String, Value)>,
    /// The user: the owner of this token, which is verified
    #[arg(long)]
    token: Option<String>,
    /// join, send, call, presence or history
    operation: Operation,
    /// Name of the group or call
    name: String,
}

impl Explain {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let settings = self.file.load()?.identity;
        let verifier = Verifier::new(&settings).map_err(Failure::configuration)?;
        let identity = self.identity(&verifier).map_err(Failure::start)?;
        let policy = Policy::new(&settings.grants);
        let explanation = policy.explain(&identity, self.operation, &self.name);
        println!("{explanation}");
        Ok(if explanation.allowed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn identity(&self, verifier: &Verifier) -> Result<Identity, groupcast::identity::TokenError> {
        if let Some(token) = &self.token {
            return verifier.verify(token, unix_seconds());
        }
        let claims: Map<String, Value> = self.claims.iter().cloned().collect();
        verifier.hook_identity(HookClaims {
            sub: self.sub.as_deref().unwrap_or_default(),
            expires_at: None,
            groups: &[],
            claims: &claims,
            session: None,
        })
    }
}
