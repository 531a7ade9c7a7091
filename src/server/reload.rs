//! New settings without a restart: everything that may fail is prepared first; then all of it comes
//! into force, or none.

use std::sync::Arc;

use super::Server;
use super::boot::{BootError, cert_sources};
use crate::access::lint;
use crate::access::rule::Decision;
use crate::config::history::{Cause, History};
use crate::config::{self, Change, Config, ConfigError, HostConfig};
use crate::muc;
use crate::net::certs::CertSet;
use crate::router::Control;
use crate::time::Now;
use crate::xml::stream_error::{StreamCondition, StreamError};

/// Why the old settings stay in force.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Prepare(#[from] BootError),
}

impl Server {
    /// Reads the config file again and applies what differs. Returns what did.
    ///
    /// # Errors
    /// What is wrong with the file, a certificate or a listener; nothing has changed then.
    pub async fn reload(self: &Arc<Self>) -> Result<Vec<Change>, ReloadError> {
        let result = self.try_reload().await;
        match &result {
            Ok(changes) if changes.is_empty() => tracing::info!("settings read again: no change"),
            Ok(changes) => {
                for change in changes {
                    tracing::info!("settings: {change}");
                }
            }
            Err(error) => tracing::error!(%error, "the old settings stay in force"),
        }
        result
    }

    async fn try_reload(self: &Arc<Self>) -> Result<Vec<Change>, ReloadError> {
        // Held to the end: one reload at a time.
        let mut doors = self.doors.lock().await;
        let text = config::read(&self.config_file)
            .map_err(|error| ConfigError::unreadable(&self.config_file, &error))?;
        let groups = self.router.store.groups().snapshot();
        let checked = config::parse(&text, &self.config_file)?;
        let checked = lint::judge(checked, &self.config_file, Some(&groups))?;
        for warning in &checked.warnings {
            tracing::warn!("{}: {warning}", self.config_file.display());
        }
        let new = Arc::new(checked.config);
        let old = self.router.config.load_full();
        let changes = config::diff(&old, &new);

        let sources = cert_sources(&new, Now::read())?;
        CertSet::read(&sources).map_err(BootError::from)?;
        let prepared = doors.prepare(&new.listen).map_err(BootError::from)?;

        self.certs.replace(sources).map_err(BootError::from)?;
        self.router.config.store(Arc::clone(&new));
        muc::service::install(&self.router, &old.hosts);
        self.telemetry.set_levels(&new.log);
        self.streams.set_limits(&new.limits);
        doors.commit(self, prepared);
        crate::admin::keys::warn_of_idle_words(&new);
        self.dismiss(&old, &new);
        self.turn_out(&old, &new);
        self.remember(&text, "config.reload", &changes);
        Ok(changes)
    }

    /// Notes the text that is in force now, unless whoever brought it has done so.
    pub(super) fn remember(&self, text: &str, what: &str, changes: &[Change]) {
        let history = History::new(&self.router.config.load().data_dir);
        let cause = Cause { what, ..Cause::default() };
        if let Err(error) = history.note(Now::read(), cause, text, changes) {
            tracing::warn!(%error, "the settings in force could not be noted in their history");
        }
    }

    /// Ends the sessions of accounts that may not sign in any more. Those whose address is not known
    /// wait for their client since before the server started; they are asked when it comes back.
    fn turn_out(&self, old: &Config, new: &Config) {
        let same = |host: &Arc<HostConfig>| {
            old.host(&host.domain).is_some_and(|old| old.sign_in == host.sign_in)
        };
        if old.rules == new.rules && new.hosts.iter().all(same) {
            return;
        }
        for session in self.router.sessions.all() {
            let Some(host) = new.host(session.jid.domain()) else { continue };
            let Some(address) = session.facts.lock().address.map(|peer| peer.ip()) else {
                continue;
            };
            let bare = session.jid.bare();
            let decision =
                self.router.decide(&host.sign_in, &host.domain, Some(&bare), Some(address));
            if !decision.allowed {
                let Decision { rule, because, .. } = &decision;
                tracing::info!(jid = %session.jid, rule, "session ended: {because}");
                let text = "The rules of this server do not let you sign in any more.";
                let error = StreamError::with_text(StreamCondition::PolicyViolation, text);
                session.mailbox.control(Control::Close(error));
            }
        }
    }

    /// Ends the streams of hosts and components that are gone, and of components whose secret
    /// changed.
    fn dismiss(&self, old: &Config, new: &Config) {
        if old.hosts.iter().any(|host| new.host(&host.domain).is_none()) {
            for session in self.router.sessions.all() {
                if new.host(session.jid.domain()).is_none() {
                    let error = StreamError::new(StreamCondition::HostGone);
                    session.mailbox.control(Control::Close(error));
                }
            }
        }
        for component in &old.components {
            if new.component(&component.domain) != Some(component)
                && let Some(service) = self.router.services.get(&component.domain)
            {
                let error = StreamError::new(StreamCondition::Reset);
                service.mailbox.control(Control::Close(error));
            }
        }
    }
}
