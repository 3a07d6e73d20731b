//! The one table of problem codes: their frozen texts, statuses and titles. Not their details.

use http::StatusCode;
use tidewheel_engine::Rejection;

macro_rules! codes {
    ($($variant:ident = $text:literal, $status:ident, $title:literal;)+) => {
        /// What went wrong, as a stable word a program can branch on. Texts are frozen: appended, never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $text, "`: ", $title, ".")] $variant),+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The frozen text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// A short title for people, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// The URI of the problem type (RFC 9457).
            pub const fn type_uri(self) -> &'static str {
                match self { $(Self::$variant => concat!("urn:tidewheel:problem:", $text)),+ }
            }
        }
    };
}

codes! {
    MalformedRequest = "malformed_request", BAD_REQUEST, "The request cannot be read";
    InvalidJson = "invalid_json", BAD_REQUEST, "The body is not valid JSON";
    InvalidField = "invalid_field", UNPROCESSABLE_ENTITY, "A field has a value it cannot have";
    MissingField = "missing_field", UNPROCESSABLE_ENTITY, "A field is missing";
    UnknownField = "unknown_field", UNPROCESSABLE_ENTITY, "A field is not known here";
    InvalidName = "invalid_name", UNPROCESSABLE_ENTITY, "A name does not follow the rule of names";
    OverLimit = "over_limit", UNPROCESSABLE_ENTITY, "A value is over its limit";
    InvalidParameter = "invalid_parameter", UNPROCESSABLE_ENTITY, "A parameter has a value it cannot have";
    MissingParameter = "missing_parameter", UNPROCESSABLE_ENTITY, "A parameter is missing";
    UnknownParameter = "unknown_parameter", UNPROCESSABLE_ENTITY, "A parameter is not known here";
    InvalidCursor = "invalid_cursor", UNPROCESSABLE_ENTITY, "The cursor cannot be used here";
    InvalidPosition = "invalid_position", UNPROCESSABLE_ENTITY, "The position cannot be read";
    ForeignPosition = "foreign_position", UNPROCESSABLE_ENTITY, "The position belongs to a log not read here";
    InvalidIdempotencyKey = "invalid_idempotency_key", UNPROCESSABLE_ENTITY, "The Idempotency-Key cannot be used";
    WorkflowNotFound = "workflow_not_found", UNPROCESSABLE_ENTITY, "There is no such workflow";
    DatacenterNotFound = "datacenter_not_found", UNPROCESSABLE_ENTITY, "There is no such datacenter";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is over its limit";
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "A payload is over its limit";
    BatchTooLong = "batch_too_long", PAYLOAD_TOO_LARGE, "The batch has too many lines";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The content type is not one read here";
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "The request took too long to arrive";
    RouteNotFound = "route_not_found", NOT_FOUND, "There is no such route";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The route does not take this method";
    NamespaceNotFound = "namespace_not_found", NOT_FOUND, "There is no such namespace";
    RunNotFound = "run_not_found", NOT_FOUND, "There is no such run";
    WrongNamespace = "wrong_namespace", NOT_FOUND, "The run belongs to another namespace";
    RunFinished = "run_finished", CONFLICT, "The run has ended";
    TooManySignals = "too_many_signals", CONFLICT, "The run has too many signals waiting";
    SignalUnread = "signal_unread", CONFLICT, "The run ended before it read the signal";
    NotParked = "not_parked", CONFLICT, "The run is not parked";
    LocationTaken = "location_taken", CONFLICT, "The location has its result already";
    WrongPartition = "wrong_partition", CONFLICT, "The record lies in the wrong partition";
    Undecodable = "undecodable", CONFLICT, "The record cannot be read";
    WrongAuthor = "wrong_author", CONFLICT, "The author may not write this event";
    NotInFold = "not_in_fold", CONFLICT, "The event is not part of the fold in force";
    RunParked = "run_parked", CONFLICT, "The run is parked";
    Void = "void", CONFLICT, "The record changes nothing";
    FoldUnknown = "fold_unknown", CONFLICT, "A process does not know the fold version";
    Stale = "stale", CONFLICT, "The record was not let through";
    Overloaded = "overloaded", TOO_MANY_REQUESTS, "The log takes no more for now";
    Lagging = "lagging", TOO_MANY_REQUESTS, "The views are too far behind the log";
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something failed that should not have";
    DatacenterMismatch = "datacenter_mismatch", BAD_GATEWAY, "The request was forwarded to the wrong datacenter";
    DatacenterUnreachable = "datacenter_unreachable", SERVICE_UNAVAILABLE, "The datacenter does not answer";
    OutcomeUnknown = "outcome_unknown", SERVICE_UNAVAILABLE, "Whether it happened is not known yet";
    NotReady = "not_ready", SERVICE_UNAVAILABLE, "The node is not ready";
    LogUnavailable = "log_unavailable", SERVICE_UNAVAILABLE, "The log takes no appends";
    ViewUnavailable = "view_unavailable", SERVICE_UNAVAILABLE, "The views cannot be read";
    NamespaceExists = "namespace_exists", CONFLICT, "There is such a namespace already";
    TokenExists = "token_exists", CONFLICT, "There is such a token already";
    TokenNotFound = "token_not_found", NOT_FOUND, "There is no such token";
    TokenRevoked = "token_revoked", CONFLICT, "The token was revoked";
    VersionConflict = "version_conflict", CONFLICT, "It was changed meanwhile";
    ReplayNotFound = "replay_not_found", NOT_FOUND, "There is no such replay";
    ReplayEnded = "replay_ended", CONFLICT, "The replay has ended";
    ReplayRunning = "replay_running", CONFLICT, "A replay is running";
    GenerationNotFound = "generation_not_found", NOT_FOUND, "There is no such generation";
    GenerationActive = "generation_active", CONFLICT, "The generation is active";
    TooManyGenerations = "too_many_generations", CONFLICT, "There are too many generations";
    TooManyMendings = "too_many_mendings", CONFLICT, "It was mended too often";
    NotReadyToActivate = "not_ready_to_activate", CONFLICT, "The generation is not ready to be read";
    LogTrimmed = "log_trimmed", CONFLICT, "The log lacks what is needed";
    VerificationRunning = "verification_running", CONFLICT, "A verification is running";
    NothingToReplay = "nothing_to_replay", UNPROCESSABLE_ENTITY, "The scope holds nothing";
    TokenMissing = "token_missing", UNAUTHORIZED, "An access token is needed";
    TokenRefused = "token_refused", UNAUTHORIZED, "The access token is not valid";
    Forbidden = "forbidden", FORBIDDEN, "The access token does not allow this";
    ConfigUnavailable = "config_unavailable", SERVICE_UNAVAILABLE, "The configuration cannot be changed now";
    NoArchive = "no_archive", CONFLICT, "No archive is configured";
    ArchiveUnusable = "archive_unusable", CONFLICT, "The archive cannot be used for this";
    ArchiveUnavailable = "archive_unavailable", SERVICE_UNAVAILABLE, "The archive does not answer";
    PositionNotReached = "position_not_reached", GATEWAY_TIMEOUT, "The views have not reached the position";
}

impl Code {
    /// The code of a fold's rejection; its text is the rejection's own.
    pub const fn of_rejection(rejection: Rejection) -> Self {
        match rejection {
            Rejection::RunNotFound => Self::RunNotFound,
            Rejection::RunFinished => Self::RunFinished,
            Rejection::WrongNamespace => Self::WrongNamespace,
            Rejection::TooManySignals => Self::TooManySignals,
            Rejection::SignalUnread => Self::SignalUnread,
            Rejection::NotParked => Self::NotParked,
            Rejection::LocationTaken => Self::LocationTaken,
            Rejection::WrongPartition => Self::WrongPartition,
            Rejection::Undecodable => Self::Undecodable,
            Rejection::WrongAuthor => Self::WrongAuthor,
            Rejection::NotInFold => Self::NotInFold,
            Rejection::RunParked => Self::RunParked,
            Rejection::Void => Self::Void,
            Rejection::NamespaceExists => Self::NamespaceExists,
            Rejection::TokenExists => Self::TokenExists,
            Rejection::TokenNotFound => Self::TokenNotFound,
            Rejection::TokenRevoked => Self::TokenRevoked,
            Rejection::VersionConflict => Self::VersionConflict,
            Rejection::ReplayNotFound => Self::ReplayNotFound,
            Rejection::ReplayEnded => Self::ReplayEnded,
            Rejection::ReplayRunning => Self::ReplayRunning,
            Rejection::GenerationNotFound => Self::GenerationNotFound,
            Rejection::GenerationActive => Self::GenerationActive,
            Rejection::TooManyGenerations => Self::TooManyGenerations,
            Rejection::TooManyMendings => Self::TooManyMendings,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_keeps_its_own_code() {
        for rejection in Rejection::ALL {
            assert_eq!(Code::of_rejection(*rejection).as_str(), rejection.code());
        }
    }

    #[test]
    fn no_two_codes_share_a_text_and_every_one_is_an_error() {
        let texts: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
            assert!(code.as_str().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        }
    }
}
