//! API keys: create, list, revoke.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::admin::op::{Class, Example, Operation, Refusal, RefusalKind};
use crate::admin::{Context, Grants, keys};
use crate::config::grant::Grant;
use crate::config::value::{self, IpNet, Secret, Span};
use crate::store::api_keys::{ApiKey, ApiKeyRow};
use crate::time::Now;

/// Bytes of a key's name.
const NAME_BYTES_MAX: usize = 256;
/// Words, hosts or networks of one key.
const WORDS_MAX: usize = 100;

/// Makes a key. It is shown once, in the answer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// For the list and the audit; no two keys have the same.
    pub name: String,
    /// What it may ask for: names of operations or commands, with `*` for any text, `[tag:…]`,
    /// `[class:safe]`, and `!…` for what is taken away again.
    pub operations: Vec<String>,
    /// Only on these hosts; on the whole server if empty.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Only from these networks, as in `192.0.2.0/24`; from everywhere if empty.
    #[serde(default)]
    pub networks: Vec<String>,
    /// How long it lives, as in `30d`; for ever if left out.
    #[serde(default)]
    pub expires_in: Option<String>,
    /// `operator`, or `viewer` for a key that only looks, and not at what people write.
    #[serde(default)]
    pub role: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    pub name: String,
    /// The key itself. It is stored nowhere and not shown again.
    pub key: String,
    /// XEP-0082 time.
    pub expires: Option<String>,
    /// The same, as a length of time.
    pub expires_in_secs: Option<u64>,
    pub operations: Vec<String>,
}

impl Operation for Create {
    const NAME: &'static str = "api_key.create";
    const SUMMARY: &'static str = "Make a key for a program that calls the HTTP API";
    const CLASS: Class = Class::Reversible;
    const EXAMPLE: Example = Example {
        arguments: r#"{"name": "website", "operations": ["account.check_password", "register"],
                       "hosts": ["example.org"], "networks": ["192.0.2.0/24"], "expires_in": "365d"}"#,
        output: r#"{"name": "website", "key": "coucou_Q2Jp…", "expires": "2027-11-23T20:00:00Z",
                    "expires_in_secs": 31536000, "operations": ["account.check_password", "register"]}"#,
    };
    type Output = Created;

    fn target(&self) -> String {
        self.name.clone()
    }

    fn host(&self) -> Option<String> {
        match self.hosts.as_slice() {
            [host] => Some(host.clone()),
            _ => None,
        }
    }

    async fn run(self, cx: &Context) -> Result<Created, Refusal> {
        check_name(&self.name)?;
        let bounded = |what: &str, list: &[String]| match list.len() {
            0..=WORDS_MAX => Ok(()),
            _ => Err(Refusal::usage(format!("more than {WORDS_MAX} {what} for one key"))),
        };
        bounded("operations", &self.operations)?;
        bounded("hosts", &self.hosts)?;
        bounded("networks", &self.networks)?;
        let grant = Grant::parse(self.operations.iter().map(String::as_str)).map_err(|reason| {
            Refusal::usage(format!("operations: {reason}"))
                .help("`coucou api --list` shows all operations")
        })?;
        if let Some(word) = keys::idle_words(&grant).first() {
            return Err(Refusal::usage(format!("operations: {word:?} is no operation"))
                .help("`coucou api --list` shows all operations"));
        }
        if self.operations.iter().all(|word| word.starts_with('!')) {
            return Err(Refusal::usage("operations: nothing is granted")
                .help("[\"*\"] stands for everything that the role allows"));
        }
        let hosts = self.hosts.iter().map(|host| known_host(cx, host)).collect::<Result<_, _>>()?;
        let networks = self
            .networks
            .iter()
            .map(|net| match net.parse::<IpNet>() {
                Ok(net) => Ok(net.to_string()),
                Err(reason) => Err(Refusal::usage(format!("networks: {net:?} {reason}"))),
            })
            .collect::<Result<_, _>>()?;
        let role_name = self.role.unwrap_or_else(|| "operator".to_owned());
        let role = keys::role(&role_name).ok_or_else(|| {
            Refusal::usage(format!("role: {role_name:?} is neither operator nor viewer"))
        })?;
        let created = Now::read();
        let life = self.expires_in.as_deref().map(life).transpose()?;
        let wanted = Grants { grant, hosts };
        keys::within(cx, role, &wanted)?;
        let operations = wanted.grant.words();
        let row = ApiKeyRow {
            name: self.name.clone(),
            role: role_name,
            operations: operations.clone(),
            hosts: wanted.hosts,
            networks,
            created,
            created_by: cx.actor().map(|actor| actor.who.clone()).unwrap_or_default(),
            expires: life.map(|life| created.plus(life)),
            last_used: None,
        };
        let key = ApiKey::generate()?;
        let expires = row.expires.map(|at| at.to_xmpp());
        if !cx.store().api_keys().create(&key, row).await? {
            let text = format!("there is an API key {:?} already", self.name);
            return Err(Refusal::new(RefusalKind::Conflict, text)
                .help("choose another name, or revoke the old key first"));
        }
        let expires_in_secs = life.map(|life| life.as_secs());
        let key = key.reveal().to_owned();
        Ok(Created { name: self.name, key, expires, expires_in_secs, operations })
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let fits = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.chars().all(|c| c.is_alphanumeric() || "._-@ ".contains(c));
    if fits {
        return Ok(());
    }
    Err(Refusal::usage(format!(
        "{name:?} cannot name a key: use up to {NAME_BYTES_MAX} bytes of letters, digits, dots, \
         dashes and spaces"
    )))
}

fn known_host(cx: &Context, host: &str) -> Result<String, Refusal> {
    let host = value::domain(host)
        .map_err(|reason| Refusal::usage(format!("hosts: {host:?} {reason}")))?;
    match cx.config().serves(&host) {
        true => Ok(host),
        false => Err(Refusal::not_found(format!("{host} is not a host of this server"))),
    }
}

fn life(text: &str) -> Result<Duration, Refusal> {
    match text.parse::<Span>() {
        Ok(Span(life)) if !life.is_zero() => Ok(life),
        Ok(_) => Err(Refusal::usage("expires_in: a key that lives for no time is none")),
        Err(reason) => Err(Refusal::usage(format!("expires_in: {text:?} {reason}"))
            .help("write a length of time, as in \"30d\"")),
    }
}

/// Lists the keys; the keys themselves are not kept.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct List {}

/// A key as operators see it. Times are XEP-0082 text, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    pub name: String,
    pub role: String,
    pub operations: Vec<String>,
    pub hosts: Vec<String>,
    pub networks: Vec<String>,
    pub created: String,
    pub created_by: String,
    pub expires: Option<String>,
    pub expired: bool,
    /// Until then, as a length of time.
    pub expires_in_secs: Option<u64>,
    pub last_used: Option<String>,
}

impl Operation for List {
    const NAME: &'static str = "api_key.list";
    const SUMMARY: &'static str = "List the API keys and what they may do";
    const CLASS: Class = Class::Safe;
    const EXAMPLE: Example = Example {
        arguments: "{}",
        output: r#"[{"name": "website", "role": "operator", "operations": ["register"],
                     "hosts": ["example.org"], "networks": ["192.0.2.0/24"],
                     "created": "2026-11-23T20:00:00Z", "created_by": "uid=0(root)",
                     "expires": null, "expired": false, "expires_in_secs": null, "last_used": null}]"#,
    };
    type Output = Vec<Listed>;

    async fn run(self, cx: &Context) -> Result<Vec<Listed>, Refusal> {
        let now = Now::read();
        let rows = cx.store().api_keys().list().await?;
        Ok(rows
            .into_iter()
            .map(|row| Listed {
                expired: row.is_expired(now),
                expires_in_secs: row.expires.map(|at| at.since(now).as_secs()),
                name: row.name,
                role: row.role,
                operations: row.operations,
                hosts: row.hosts,
                networks: row.networks,
                created: row.created.to_xmpp(),
                created_by: row.created_by,
                expires: row.expires.map(|at| at.to_xmpp()),
                last_used: row.last_used.map(|at| at.to_xmpp()),
            })
            .collect())
    }
}

/// Ends a key, by its name or by itself.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// The key itself, for whoever finds one where it should not be.
    #[serde(default)]
    pub key: Option<Secret>,
}

impl Operation for Revoke {
    const NAME: &'static str = "api_key.revoke";
    const SUMMARY: &'static str = "End an API key";
    const CLASS: Class = Class::Destructive;
    const EXAMPLE: Example = Example { arguments: r#"{"name": "website"}"#, output: "null" };
    type Output = ();

    fn target(&self) -> String {
        self.name.clone().unwrap_or_default()
    }

    fn host(&self) -> Option<String> {
        None
    }

    fn to_wire(&self) -> Value {
        serde_json::json!({
            "name": self.name,
            "key": self.key.as_ref().map(Secret::reveal),
        })
    }

    async fn run(self, cx: &Context) -> Result<(), Refusal> {
        let keys = cx.store().api_keys();
        let revoked = match (self.name, self.key) {
            (Some(name), None) => keys.revoke(name).await?,
            (None, Some(key)) => match ApiKey::presented(key.reveal()) {
                Some(key) => keys.revoke_key(&key).await?,
                None => false,
            },
            _ => return Err(Refusal::usage("either name or key says which key to end")),
        };
        match revoked {
            true => Ok(()),
            false => Err(Refusal::not_found("there is no such API key")
                .help("`coucou api-key list` shows them all")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::{Actor, Role, Scope, run, testing};

    async fn ask(
        cx: &Context,
        actor: &Actor,
        name: &str,
        arguments: Value,
    ) -> Result<Value, String> {
        run::run(cx, actor, name, arguments).await.map_err(|refusal| refusal.text)
    }

    #[tokio::test]
    async fn a_key_is_made_listed_and_ended() {
        let (_dir, cx) = testing::offline();
        let owner = Actor::new("uid=0", "test", Role::Owner);
        let wanted = json!({"name": "ci", "operations": ["account.*"], "networks": ["192.0.2.1"]});
        let made = ask(&cx, &owner, "api_key.create", wanted.clone()).await.unwrap();
        let key = made["key"].as_str().unwrap().to_owned();
        assert!(key.starts_with("coucou_") && key.len() == 50, "{key}");
        let again = ask(&cx, &owner, "api_key.create", wanted).await.unwrap_err();
        assert_eq!(again, "there is an API key \"ci\" already");
        let listed = ask(&cx, &owner, "api_key.list", Value::Null).await.unwrap();
        assert_eq!(listed[0]["networks"], json!(["192.0.2.1/32"]));
        assert!(!listed.to_string().contains(&key));
        ask(&cx, &owner, "api_key.revoke", json!({"key": key})).await.unwrap();
        let gone = ask(&cx, &owner, "api_key.revoke", json!({"name": "ci"})).await.unwrap_err();
        assert_eq!(gone, "there is no such API key");
        let query = crate::store::audit::AuditQuery { max: 9, ..Default::default() };
        for (_, act) in cx.store().audit().list(query).await.unwrap() {
            assert!(!act.detail.contains(&key), "{}", act.detail);
        }
    }

    #[tokio::test]
    async fn what_a_key_cannot_be_is_told() {
        let (_dir, cx) = testing::offline();
        let owner = Actor::new("uid=0", "test", Role::Owner);
        for (wanted, told) in [
            (json!({"name": "", "operations": ["*"]}), "cannot name a key"),
            (json!({"name": "a", "operations": []}), "nothing is granted"),
            (json!({"name": "a", "operations": ["!register"]}), "nothing is granted"),
            (json!({"name": "a", "operations": ["registre"]}), "is no operation"),
            (json!({"name": "a", "operations": ["*", "!registre"]}), "is no operation"),
            (json!({"name": "a", "operations": ["x y"]}), "is not the name of an operation"),
            (json!({"name": "a", "operations": ["*"], "hosts": ["b.example"]}), "not a host"),
            (json!({"name": "a", "operations": ["*"], "networks": ["b"]}), "not an IP address"),
            (json!({"name": "a", "operations": ["*"], "expires_in": "soon"}), "expires_in"),
            (json!({"name": "a", "operations": ["*"], "role": "owner"}), "neither operator nor"),
        ] {
            let refused = ask(&cx, &owner, "api_key.create", wanted).await.unwrap_err();
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[tokio::test]
    async fn nobody_gives_on_what_he_has_not() {
        let (_dir, cx) = testing::offline();
        let scoped = |words: &[&str], hosts: &[&str]| {
            let grant = Grant::parse(words.iter().copied()).unwrap();
            let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            let scope = Scope { grants: vec![Grants { grant, hosts }], of: "boss".to_owned() };
            let actor = Actor::new("boss", "test", Role::Operator);
            Actor { scope: Some(scope.into()), ..actor }
        };
        let boss = scoped(&["api_key.*", "[class:safe]"], &[]);
        let wanted = json!({"name": "a", "operations": ["*"]});
        let refused = ask(&cx, &boss, "api_key.create", wanted).await.unwrap_err();
        assert!(refused.starts_with("boss has no grant of"), "{refused}");
        let wanted = json!({"name": "a", "operations": ["account.list", "status"]});
        ask(&cx, &boss, "api_key.create", wanted).await.unwrap();
        let local = scoped(&["*"], &["example.org"]);
        let wanted = json!({"name": "b", "operations": ["*"]});
        assert!(ask(&cx, &local, "api_key.create", wanted).await.is_err());
        let wanted = json!({"name": "b", "operations": ["*"], "hosts": ["example.org"]});
        ask(&cx, &local, "api_key.create", wanted).await.unwrap();
    }
}
