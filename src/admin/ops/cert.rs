//! Certificates: which file speaks for which name, how long yet, and what is wrong with it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Context;
use crate::admin::op::{Class, Example, Operation, Refusal};
use crate::net::certs::{CertSet, CertSource, Certificate};
use crate::time::Now;

/// Lists the certificates in use, or, while the server is down, those of the settings.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Certificates {
    pub certificates: Vec<Shown>,
    /// What is wrong, or soon will be.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shown {
    /// Subject alternative names; a wildcard starts with `*.`.
    pub names: Vec<String>,
    /// Our hosts that it is shown for.
    pub hosts: Vec<String>,
    pub issuer: String,
    pub self_signed: bool,
    pub not_before: String,
    pub not_after: String,
    /// Whole days that it is valid yet; below zero once it has expired.
    pub days_left: i64,
    pub file: String,
}

impl Operation for List {
    const NAME: &'static str = "cert.list";
    const SUMMARY: &'static str = "List the certificates, their names, issuers and days left";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"{"certificates": [{"names": ["example.org", "*.example.org"],
            "hosts": ["example.org"], "issuer": "C=US, O=Let's Encrypt, CN=E7",
            "self_signed": false, "not_before": "2026-10-01T00:00:00.000Z",
            "not_after": "2026-12-30T00:00:00.000Z", "days_left": 37,
            "file": "/etc/letsencrypt/live/example.org/fullchain.pem"}], "warnings": []}"#,
    };
    type Output = Certificates;

    async fn run(self, cx: &Context) -> Result<Certificates, Refusal> {
        let Some(server) = cx.server() else { return of_settings(cx).await };
        Ok(show(cx, &server.certs().current(), Vec::new()))
    }
}

/// Each host's files by themselves, so that one broken file does not hide the others.
async fn of_settings(cx: &Context) -> Result<Certificates, Refusal> {
    let sources: Vec<CertSource> = cx
        .config()
        .hosts
        .iter()
        .map(|host| CertSource { chain: host.tls.certificate.clone(), key: host.tls.key.clone() })
        .collect();
    let read = tokio::task::spawn_blocking(move || {
        let (good, bad): (Vec<_>, Vec<_>) = sources
            .into_iter()
            .partition(|source| CertSet::read(std::slice::from_ref(source)).is_ok());
        let faults: Vec<String> = bad
            .iter()
            .filter_map(|source| CertSet::read(std::slice::from_ref(source)).err())
            .map(|error| error.to_string())
            .collect();
        (CertSet::read(&good), faults)
    });
    let (set, faults) = read.await.map_err(|error| Refusal::bug(&error))?;
    let set = set.map_err(|error| Refusal::unavailable(error.to_string()))?;
    Ok(show(cx, &set, faults))
}

fn show(cx: &Context, set: &CertSet, mut warnings: Vec<String>) -> Certificates {
    let now = Now::read();
    let hosts: Vec<&str> = cx.config().hosts.iter().map(|host| host.domain.as_str()).collect();
    let is_shown_for = |certificate: &Certificate, host: &str| {
        set.choose(Some(host), now).is_some_and(|chosen| std::ptr::eq(&**chosen, certificate))
    };
    let certificates = set.certificates().iter().map(|certificate| Shown {
        names: certificate.names.clone(),
        hosts: hosts
            .iter()
            .filter(|host| certificate.covers(host) && is_shown_for(certificate, host))
            .map(|host| (*host).to_owned())
            .collect(),
        issuer: certificate.issuer.clone(),
        self_signed: certificate.self_signed,
        not_before: certificate.not_before.to_xmpp(),
        not_after: certificate.not_after.to_xmpp(),
        days_left: (certificate.not_after.secs() - now.secs()).div_euclid(86_400),
        file: certificate.path.display().to_string(),
    });
    let certificates = certificates.collect();
    warnings.extend(set.warnings(&hosts, now).iter().map(ToString::to_string));
    Certificates { certificates, warnings }
}

/// Reads the files again, now rather than within a minute.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {}

impl Operation for Reload {
    const NAME: &'static str = "cert.reload";
    const SUMMARY: &'static str = "Read the certificate files again";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example =
        Example { arguments: "{}", output: r#"{"certificates": [], "warnings": []}"# };
    type Output = Certificates;

    async fn run(self, cx: &Context) -> Result<Certificates, Refusal> {
        let server = cx.running()?.clone();
        let read = tokio::task::spawn_blocking(move || server.certs().reload()).await;
        read.map_err(|error| Refusal::bug(&error))?.map_err(|error| {
            Refusal::unavailable(error.to_string()).help("the old certificates stay in use")
        })?;
        List {}.run(cx).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::ops::testing;
    use crate::net::certs::write_self_signed;

    #[tokio::test]
    async fn broken_files_are_told_beside_the_good_ones() {
        let (_dir, cx) = testing::context().await;
        let file = &cx.config().host("a.org").unwrap().tls.certificate;
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        write_self_signed(file, &["a.org".to_owned()], Now::read()).unwrap();
        let list = List {}.run(&cx).await.unwrap();
        assert_eq!(list.certificates.len(), 1);
        let shown = &list.certificates[0];
        assert_eq!(
            (&shown.names[..], &shown.hosts[..]),
            (&["a.org".into()][..], &["a.org".into()][..])
        );
        assert!(shown.self_signed && shown.days_left > 300);
        assert!(list.warnings.iter().any(|text| text.contains("cannot read")), "{list:?}");
        assert!(list.warnings.iter().any(|text| text.contains("no certificate names b.org")));
        assert!(Reload {}.run(&cx).await.unwrap_err().text.contains("not running"));
    }
}
