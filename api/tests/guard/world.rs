//! Routes that say who asked, behind the guard, and tokens made by the real fold.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use futures::StreamExt as _;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Method, Request};
use tidewheel_api::token::Secret;
use tidewheel_api::{Auth, Principal, Role, fallback};
use tidewheel_engine::Verdict;
use tidewheel_engine::config::{ConfigFold, ConfigSnapshot};
use tidewheel_schemas::event::{LogCreated, TokenCreated, TokenRevoked, TokenRotated};
use tidewheel_schemas::{
    Author, ConfigEvent, Entity, Envelope, EventId, LogId, Name, Record, TokenId, encode_config,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

pub struct World {
    auth: Auth,
    pub snapshots: watch::Sender<Arc<ConfigSnapshot>>,
    now_us: Arc<AtomicI64>,
    fold: ConfigFold,
    secrets: u8,
}

pub struct Answer {
    pub status: u16,
    pub text: String,
    pub challenge: Option<String>,
}

impl Answer {
    pub fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_str(&self.text).unwrap_or_default();
        json["code"].as_str().unwrap_or_default().to_owned()
    }
}

pub struct Stream {
    feed: mpsc::Sender<&'static str>,
    data: BodyDataStream,
}

impl Stream {
    pub fn send(&self, text: &'static str) {
        self.feed.try_send(text).expect("somebody listens");
    }

    pub async fn next(&mut self) -> Option<String> {
        let chunk = self.data.next().await?.expect("a chunk");
        Some(String::from_utf8(chunk.to_vec()).expect("text"))
    }
}

pub fn token_id(number: u8) -> TokenId {
    TokenId::random([number; 16])
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

impl World {
    pub fn new(is_required: bool) -> Self {
        let snapshots =
            watch::Sender::new(Arc::new(ConfigSnapshot { is_complete: true, ..ConfigSnapshot::default() }));
        let now_us = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&now_us);
        let auth =
            Auth::new(is_required, snapshots.subscribe(), Arc::new(move || clock.load(Ordering::SeqCst)));
        let mut world = Self { auth, snapshots, now_us, fold: ConfigFold::new(0), secrets: 0 };
        let created = LogCreated { log_id: LogId::random([1; 16]), epoch_us: 1, partitions: 1, fold: 1 };
        let author = Author::Candidate { process: "test".into() };
        world.append(Entity::Partition(0), author, created.into());
        world
    }

    pub fn set_now_us(&self, now_us: i64) {
        self.now_us.store(now_us, Ordering::SeqCst);
    }

    fn append(&mut self, entity: Entity, author: Author, event: ConfigEvent) {
        let offset = self.fold.control().next_offset;
        let envelope = Envelope {
            event_id: EventId::random([offset as u8; 16]),
            entity,
            namespace: None,
            recorded_at_us: 0,
            cause: None,
            traceparent: None,
            author,
        };
        let new = encode_config(&envelope, &event).expect("a record");
        let record = Record { offset, key: new.key, headers: new.headers, value: new.value };
        let transition = self.fold.apply(&record).expect("the fold is total");
        assert_eq!(transition.verdict, Verdict::Accepted);
        if let Some(after) = transition.after {
            self.snapshots.send_modify(|snapshot| Arc::make_mut(snapshot).put(after));
        }
    }

    fn ingest(&mut self, token_id: TokenId, event: ConfigEvent) {
        self.append(Entity::Token(token_id), Author::Ingest { principal: "test".into() }, event);
    }

    fn secret(&mut self, token_id: Option<TokenId>) -> Secret {
        self.secrets += 1;
        Secret::new(token_id.unwrap_or_else(|| self::token_id(self.secrets)), [self.secrets; 32])
    }

    pub fn create(&mut self, roles: &[Role], namespaces: Option<&[&str]>) -> Secret {
        let secret = self.secret(None);
        let event = TokenCreated {
            name: name("of-a-test"),
            hash: secret.hash(),
            roles: roles.iter().map(|role| name(role.as_str())).collect(),
            namespaces: namespaces.map(|names| names.iter().copied().map(name).collect()),
        };
        self.ingest(secret.token_id(), event.into());
        secret
    }

    pub fn rotate(&mut self, token_id: TokenId, previous_until_us: i64) -> Secret {
        let secret = self.secret(Some(token_id));
        let event = TokenRotated { hash: secret.hash(), previous_until_us, expected_version: None };
        self.ingest(token_id, event.into());
        secret
    }

    pub fn revoke(&mut self, token_id: TokenId) {
        self.ingest(token_id, TokenRevoked { reason: String::new() }.into());
    }

    fn guarded(&self, router: Router) -> Router {
        let guard = axum::middleware::from_fn_with_state(self.auth.clone(), tidewheel_api::auth::guard);
        router.route_layer(guard).fallback(fallback::not_found)
    }

    /// Asks one of these routes, each of which answers with who asked.
    pub async fn ask(
        &self,
        routes: &[(&str, &str)],
        method: &str,
        path: &str,
        token: Option<&str>,
    ) -> Answer {
        self.ask_as(routes, method, path, token.map(|token| format!("Bearer {token}")).as_deref()).await
    }

    /// As [`Self::ask`], with the whole header.
    pub async fn ask_as(
        &self,
        routes: &[(&str, &str)],
        method: &str,
        path: &str,
        authorization: Option<&str>,
    ) -> Answer {
        let mut router = Router::new();
        for (method, path) in routes {
            let method: Method = method.parse().expect("a method");
            let filter = MethodFilter::try_from(method).expect("a method that routes have");
            router =
                router.route(path, on(filter, |principal: Principal| async move { principal.0.to_string() }));
        }
        let request = request(method, path, authorization);
        answer(self.guarded(router).oneshot(request).await.expect("an answer")).await
    }

    /// Opens an answer of this type that says one thing at once, and the rest as it is fed.
    pub async fn open(&self, content_type: &'static str, token: &str) -> Stream {
        let (feed, fed) = mpsc::channel::<&'static str>(16);
        feed.try_send("data: 1\n\n").expect("somebody listens");
        let fed = Arc::new(parking_lot::Mutex::new(Some(fed)));
        let route = move || {
            let fed = fed.lock().take().expect("asked once");
            let stream = futures::stream::unfold(fed, |mut fed| async move {
                fed.recv().await.map(|text| (Ok::<_, std::convert::Infallible>(text), fed))
            });
            async move { ([(CONTENT_TYPE, content_type)], Body::from_stream(stream)).into_response() }
        };
        let router = self.guarded(Router::new().route("/v1/status", axum::routing::get(route)));
        let authorization = format!("Bearer {token}");
        let request = request("GET", "/v1/status", Some(&authorization));
        let response = router.oneshot(request).await.expect("an answer");
        assert_eq!(response.status(), 200);
        Stream { feed, data: response.into_body().into_data_stream() }
    }

    /// Asks a route that never answers.
    pub fn begin_waiting(&self, token: &str) -> JoinHandle<Answer> {
        let route = || std::future::pending::<String>();
        let router = self.guarded(Router::new().route("/v1/status", axum::routing::get(route)));
        let authorization = format!("Bearer {token}");
        let request = request("GET", "/v1/status", Some(&authorization));
        tokio::spawn(async move { answer(router.oneshot(request).await.expect("an answer")).await })
    }
}

fn request(method: &str, path: &str, authorization: Option<&str>) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    if let Some(authorization) = authorization {
        builder = builder.header(AUTHORIZATION, authorization);
    }
    builder.body(Body::empty()).expect("a request")
}

async fn answer(response: Response) -> Answer {
    let status = response.status().as_u16();
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    let challenge = challenge.map(|value| value.to_str().expect("text").to_owned());
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    Answer { status, text: String::from_utf8(bytes.to_vec()).expect("text"), challenge }
}
