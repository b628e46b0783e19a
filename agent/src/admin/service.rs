//! The calls of the admin API, each a question to the graph's thread.

use caracal_proto::admin::admin_server::Admin;
use caracal_proto::admin::{
    EndpointsRequest, EndpointsResponse, PoliciesRequest, PoliciesResponse, StatusRequest, StatusResponse,
};
use tonic::{Request, Response, Status};

use crate::control::{Inbox, Insight, Unanswered};
use crate::health::Health;
use crate::http::Troubles;
use crate::status::answer;

/// Answers the calls of the admin API.
#[derive(Clone, Debug)]
pub struct Service {
    graph: Inbox,
    /// As on the command line.
    datastore: String,
    health: Health,
    troubles: Troubles,
}

impl Service {
    /// A service that asks the graph's thread behind `graph`, which reads `datastore`.
    #[must_use]
    pub fn new(graph: Inbox, datastore: String, health: Health, troubles: Troubles) -> Self {
        Self { graph, datastore, health, troubles }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Insight<'_>) -> T + Send + 'static,
    ) -> Result<Response<T>, Status> {
        match self.graph.ask(question).await {
            Ok(answer) => Ok(Response::new(answer)),
            Err(error @ Unanswered::Busy) => Err(Status::deadline_exceeded(error.to_string())),
            Err(error @ Unanswered::Ended) => Err(Status::unavailable(error.to_string())),
        }
    }
}

#[tonic::async_trait]
impl Admin for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let datastore = self.datastore.clone();
        let (health, troubles) = (self.health.components(), self.troubles.all());
        self.ask(move |insight| answer::status(insight, datastore, &health, &troubles)).await
    }

    async fn endpoints(&self, _: Request<EndpointsRequest>) -> Result<Response<EndpointsResponse>, Status> {
        self.ask(answer::endpoints).await
    }

    async fn policies(&self, _: Request<PoliciesRequest>) -> Result<Response<PoliciesResponse>, Status> {
        self.ask(answer::policies).await
    }
}
