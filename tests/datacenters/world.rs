//! Two datacenters, alpha and beta, and a client of both.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tidewheel::config::Config;
use tidewheel::{Context, Node, NodeBuilder, RunningNode, WorkflowResult};
use tidewheel_schemas::{Name, RunId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::relay::Relay;

pub const ALPHA: u16 = 1;
pub const BETA: u16 = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// What a node answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text_body()))
    }

    pub fn text_body(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn text(&self, field: &str) -> String {
        self.json()[field].as_str().unwrap_or_else(|| panic!("{field} in {}", self.text_body())).to_owned()
    }

    /// The status and the code of a problem.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text_body());
        (self.status, self.text("code"))
    }
}

/// An API to ask.
#[derive(Clone)]
pub struct Api {
    pub url: String,
    http: reqwest::Client,
}

impl Api {
    pub fn at(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        Self { url: format!("http://{address}/v1/namespaces/default"), http }
    }

    /// The same in another namespace.
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { url: self.url.replace("/default", &format!("/{namespace}")), http: self.http.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url))
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.bytes().await.expect("a whole answer").to_vec() }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn post_with_key(&self, path: &str, key: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).header("idempotency-key", key).json(body)).await
    }

    /// Waits until its views list this many runs, which follow what was answered by a moment.
    pub async fn until_listed(&self, count: usize) {
        for _ in 0..600 {
            let listed = self.get("/runs").await.json();
            if listed["runs"].as_array().is_some_and(|runs| runs.len() >= count) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("fewer than {count} runs are listed");
    }

    /// Starts a run that waits; its id.
    pub async fn start_waiting(&self) -> String {
        let answer = self.post("/runs", &json!({"workflow": "wait"})).await;
        assert_eq!(answer.status, 201, "{}", answer.text_body());
        answer.text("run_id")
    }

    /// Waits until a run waits for its signal, so that it stays as it is.
    pub async fn is_waiting(&self, run_id: &str) {
        while self.get(&format!("/runs/{run_id}")).await.json()["version"] != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Announces a body of so many bytes and sends none of it.
    pub async fn announce(&self, path: &str, bytes: usize) -> String {
        let (host, root) = self.url.trim_start_matches("http://").split_once('/').expect("a path");
        let mut stream = TcpStream::connect(host).await.expect("a connection");
        let head = format!(
            "POST /{root}{path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n\
             content-length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("a head sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer, and the end of the connection");
        answer
    }
}

async fn wait(context: Context, _input: Value) -> WorkflowResult<Value> {
    context.signal("go").await
}

async fn echo(_context: Context, input: Value) -> WorkflowResult<Value> {
    Ok(input)
}

pub fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

pub fn label(run_id: &str) -> u16 {
    run_id.parse::<RunId>().expect("a run id").datacenter()
}

/// A node that is the datacenter `own`.
pub fn node(own: &str, label: u16, homes: &[(&str, &str)]) -> NodeBuilder {
    let config = Config {
        datacenter: name(own),
        datacenter_label: label,
        ephemeral: true,
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        namespaces: ["default", "other"].into_iter().map(name).collect(),
        namespace_homes: homes.iter().map(|(namespace, home)| (name(namespace), name(home))).collect(),
        ..Config::default()
    };
    Node::builder().config(config).workflow("wait", wait).workflow("echo", echo)
}

pub struct World {
    pub alpha: Api,
    pub beta: Api,
    /// The ways that the nodes forward by.
    pub to_alpha: Relay,
    pub to_beta: Relay,
    nodes: [RunningNode; 2],
}

impl World {
    pub async fn start() -> Self {
        Self::with_homes(&[]).await
    }

    pub async fn with_homes(homes: &[(&str, &str)]) -> Self {
        let (to_alpha, to_beta) = (Relay::start().await, Relay::start().await);
        let alpha = node("alpha", ALPHA, homes).other_datacenter("beta", BETA, &to_beta.url());
        let beta = node("beta", BETA, homes).other_datacenter("alpha", ALPHA, &to_alpha.url());
        let (alpha, beta) = (alpha.start().await.expect("alpha"), beta.start().await.expect("beta"));
        to_alpha.lead_to(alpha.address());
        to_beta.lead_to(beta.address());
        Self {
            alpha: Api::at(alpha.address()),
            beta: Api::at(beta.address()),
            to_alpha,
            to_beta,
            nodes: [alpha, beta],
        }
    }

    pub async fn stop(self) {
        let [alpha, beta] = self.nodes;
        alpha.stop().await.expect("alpha stops");
        beta.stop().await.expect("beta stops");
    }
}
