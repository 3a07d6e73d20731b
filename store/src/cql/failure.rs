//! What the driver's errors mean: whether trying again helps, and what to tell the operator. One line each, without
//! secrets.

use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PrepareError, RequestAttemptError,
};

use super::options::CqlStoreOptions;
use crate::StoreError;

/// A failed request.
#[derive(Debug)]
pub(super) enum Failure {
    /// Trying again may help.
    Transient(String),
    /// The table is not there.
    NoTable,
    /// The database will never take this.
    Refused(String),
    /// Trying again does not help.
    Final(StoreError),
}

impl Failure {
    /// As the error of an operation on `table`.
    pub(super) fn on(self, table: &'static str, generation: u32) -> StoreError {
        match self {
            Self::NoTable => StoreError::UnknownTable { table, generation },
            Self::Refused(what) => StoreError::Refused { table, what },
            other => other.general(),
        }
    }

    /// As the error of an operation on no table of ours.
    pub(super) fn general(self) -> StoreError {
        match self {
            Self::Transient(what) => StoreError::Unavailable(what),
            Self::NoTable => StoreError::Failed("a table of the database is missing".to_owned()),
            Self::Refused(what) => StoreError::Failed(what),
            Self::Final(error) => error,
        }
    }
}

/// Tells errors apart for one store.
#[derive(Debug, Clone)]
pub(super) struct Judge {
    user: String,
    grant: String,
}

impl Judge {
    pub(super) fn new(options: &CqlStoreOptions) -> Self {
        let user = options.user.clone().unwrap_or_else(|| "(none)".to_owned());
        let permissions = ["CREATE", "ALTER", "DROP", "SELECT", "MODIFY"];
        let grants = permissions
            .map(|permission| format!("GRANT {permission} ON KEYSPACE {} TO \"{user}\"", options.keyspace));
        Self { user, grant: grants.join("; ") }
    }

    /// What a failed request means.
    pub(super) fn request(&self, error: &ExecutionError) -> Failure {
        match error {
            ExecutionError::LastAttemptError(error) => self.attempt(error),
            ExecutionError::PrepareError(error) => self.prepare(error),
            ExecutionError::ConnectionPoolError(error) => self.pool(error),
            ExecutionError::BadQuery(error) => Failure::Refused(line(error)),
            ExecutionError::EmptyPlan => {
                Failure::Transient("no node of the datacenter is connected".to_owned())
            }
            other => Failure::Transient(line(other)),
        }
    }

    /// What a failed preparation means.
    pub(super) fn prepare(&self, error: &PrepareError) -> Failure {
        match error {
            PrepareError::ConnectionPoolError(error) => self.pool(error),
            PrepareError::AllAttemptsFailed { first_attempt } => self.attempt(first_attempt),
            other => Failure::Transient(line(other)),
        }
    }

    fn attempt(&self, error: &RequestAttemptError) -> Failure {
        match error {
            RequestAttemptError::DbError(error, reason) => self.database(error, reason),
            RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
                Failure::Refused(line(error))
            }
            other => Failure::Transient(line(other)),
        }
    }

    fn database(&self, error: &DbError, reason: &str) -> Failure {
        let reason = line(&reason);
        match error {
            DbError::Unauthorized => {
                Failure::Final(StoreError::Forbidden { reason, grant: self.grant.clone() })
            }
            DbError::AuthenticationError => Failure::Final(self.credentials(reason)),
            // What a table that was dropped is called differs: "unconfigured table", "table x does not exist".
            DbError::Invalid
                if reason.contains("unconfigured table")
                    || reason.contains("table") && reason.contains("does not exist") =>
            {
                Failure::NoTable
            }
            DbError::Invalid
            | DbError::SyntaxError
            | DbError::ConfigError
            | DbError::FunctionFailure { .. }
            | DbError::AlreadyExists { .. } => Failure::Refused(reason),
            other => Failure::Transient(format!("{} ({reason})", line(other))),
        }
    }

    fn credentials(&self, reason: String) -> StoreError {
        StoreError::Credentials { user: self.user.clone(), reason }
    }

    fn pool(&self, error: &ConnectionPoolError) -> Failure {
        let ConnectionPoolError::Broken {
            last_connection_error: ConnectionError::ConnectionSetupRequestError(setup),
        } = error
        else {
            return Failure::Transient(line(error));
        };
        match setup.get_error() {
            ConnectionSetupRequestErrorKind::DbError(
                DbError::AuthenticationError | DbError::Unauthorized,
                reason,
            ) => Failure::Final(self.credentials(line(reason))),
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                Failure::Final(self.credentials("it asks for a user and a password".to_owned()))
            }
            other => Failure::Transient(line(other)),
        }
    }

    /// Why connecting failed.
    pub(super) fn connecting(&self, error: &NewSessionError, options: &CqlStoreOptions) -> StoreError {
        match error {
            NewSessionError::MetadataError(MetadataError::ConnectionPoolError(error)) => {
                match self.pool(error) {
                    Failure::Transient(reason) => StoreError::Unavailable(format!(
                        "none of {} answers: {reason}",
                        options.nodes().join(", ")
                    )),
                    other => other.general(),
                }
            }
            NewSessionError::FailedToResolveAnyHostname(names) => StoreError::Unavailable(format!(
                "no address is known for {}; correct the contact points of the store",
                names.join(", ")
            )),
            NewSessionError::EmptyKnownNodesList | NewSessionError::IllegalConfig(_) => {
                StoreError::Failed(line(error))
            }
            other => StoreError::Unavailable(line(other)),
        }
    }
}

/// Any text as one line.
pub(super) fn line(text: &(impl std::fmt::Display + ?Sized)) -> String {
    text.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge() -> Judge {
        let mut options = CqlStoreOptions::new(["a"], "dc1", "views");
        options.user = Some("projector".into());
        Judge::new(&options)
    }

    fn failure(error: DbError, reason: &str) -> Failure {
        let attempt = RequestAttemptError::DbError(error, reason.to_owned());
        judge().request(&ExecutionError::LastAttemptError(attempt))
    }

    #[test]
    fn permissions_name_what_to_grant_to_whom() {
        let failure = failure(DbError::Unauthorized, "User x has no MODIFY permission").general().to_string();
        assert!(failure.contains("GRANT MODIFY ON KEYSPACE views TO \"projector\""), "{failure}");
        assert_eq!(failure.lines().count(), 1);
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        assert!(matches!(failure(DbError::Overloaded, ""), Failure::Transient(_)));
        assert!(matches!(failure(DbError::Invalid, "Mutation of 17MiB is too large"), Failure::Refused(_)));
        assert!(matches!(failure(DbError::Invalid, "unconfigured table runs_g1"), Failure::NoTable));
        assert!(matches!(failure(DbError::Invalid, "table runs_g1 does not exist"), Failure::NoTable));
        assert!(matches!(failure(DbError::AuthenticationError, ""), Failure::Final(_)));
    }
}
