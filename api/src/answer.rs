//! JSON answers: how every route writes one. What is in them is said where the routes are.

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::code::Code;
use crate::problem::Problem;

/// A JSON answer.
pub fn json(status: StatusCode, answer: &impl Serialize) -> Response {
    let mut body = Vec::with_capacity(512);
    match serde_json::to_writer(&mut body, answer) {
        Ok(()) => {
            let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (status, content_type, body).into_response()
        }
        Err(error) => {
            Problem::new(Code::Internal, format!("the answer cannot be written: {error}")).into_response()
        }
    }
}
