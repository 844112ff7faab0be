//! An API server in memory, as far as the controller's reads and writes need one.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// Keeps objects by their path. Cheap to clone.
#[derive(Clone, Default)]
pub struct Api(Arc<Mutex<Objects>>);

#[derive(Default)]
struct Objects {
    /// As text, which takes a tenth of a value's memory.
    by_path: BTreeMap<String, String>,
    version: u64,
    writes: Vec<String>,
    refused: Option<String>,
    /// Requests that are being answered, and the most that there were at once.
    in_flight: usize,
    most_in_flight: usize,
}

impl Api {
    pub fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                api.begin();
                // It takes its time, in which others ask.
                tokio::task::yield_now().await;
                let mut objects = api.0.lock().unwrap();
                objects.in_flight -= 1;
                let (code, answer) = objects.answer(head.method.as_str(), head.uri.path(), &body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        Client::new(service, "ns")
    }

    fn begin(&self) {
        let mut objects = self.0.lock().unwrap();
        objects.in_flight += 1;
        objects.most_in_flight = objects.most_in_flight.max(objects.in_flight);
    }

    /// The most requests that it was asked at once.
    pub fn most_in_flight(&self) -> usize {
        self.0.lock().unwrap().most_in_flight
    }

    /// Puts an object in place as somebody else would; gives it back with uid and version.
    pub fn put(&self, path: &str, object: Value) -> Value {
        self.0.lock().unwrap().keep(path, object)
    }

    /// The objects of a kind, by its plural.
    pub fn all(&self, plural: &str) -> Vec<Value> {
        let objects = self.0.lock().unwrap();
        let of_kind = |path: &&String| path.split('/').rev().nth(1) == Some(plural);
        let paths = objects.by_path.keys().filter(of_kind);
        paths.map(|path| objects.get(path).unwrap()).collect()
    }

    /// Refuses every write to an object whose path holds `part` from now on.
    pub fn refuse(&self, part: &str) {
        self.0.lock().unwrap().refused = Some(part.to_owned());
    }

    /// Method and path of each write that was carried out.
    pub fn writes(&self) -> Vec<String> {
        self.0.lock().unwrap().writes.clone()
    }
}

impl Objects {
    fn get(&self, path: &str) -> Option<Value> {
        Some(serde_json::from_str(self.by_path.get(path)?).unwrap())
    }

    fn keep(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        let meta = &mut object["metadata"];
        meta["resourceVersion"] = json!(self.version.to_string());
        if meta["uid"].is_null() {
            meta["uid"] = json!(format!("uid-{}", self.version));
        }
        self.by_path.insert(path.to_owned(), object.to_string());
        object
    }

    fn answer(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let (path, of_status) = match path.strip_suffix("/status") {
            Some(path) => (path.to_owned(), true),
            None if method == "POST" => {
                let name = body["metadata"]["name"].as_str().unwrap_or("unnamed");
                (format!("{path}/{name}"), false)
            }
            None => (path.to_owned(), false),
        };
        let known = self.get(&path);
        if method == "GET" {
            return known.map_or(failure(404, "NotFound"), |known| (200, known));
        }
        if self
            .refused
            .as_ref()
            .is_some_and(|part| path.contains(part))
        {
            return failure(403, "Forbidden");
        }
        let seen = &body["metadata"]["resourceVersion"];
        let answer = match (method, known) {
            ("POST", Some(_)) => return failure(409, "AlreadyExists"),
            ("POST", None) => (201, self.keep(&path, body.clone())),
            ("DELETE", Some(_)) => {
                self.by_path.remove(&path);
                (200, json!({"kind": "Status", "status": "Success"}))
            }
            ("PATCH", Some(known))
                if !seen.is_null() && known["metadata"]["resourceVersion"] != *seen =>
            {
                return failure(409, "Conflict");
            }
            ("PATCH", Some(mut known)) => {
                match of_status {
                    true => known["status"] = body["status"].clone(),
                    false => merge(&mut known, body),
                }
                (200, self.keep(&path, known))
            }
            _ => return failure(404, "NotFound"),
        };
        self.writes.push(format!("{method} {path}"));
        answer
    }
}

fn failure(code: u16, reason: &str) -> (u16, Value) {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": reason});
    (code, status)
}

/// A JSON merge patch.
fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    for (key, value) in patch {
        match value {
            Value::Null => {
                object.as_object_mut().map(|object| object.remove(key));
            }
            value => merge(&mut object[key], value),
        }
    }
}
