//! The calls of the admin API, each a question to the graph's thread.

use std::path::PathBuf;
use std::sync::Arc;

use caracal_proto::admin::admin_server::Admin;
use caracal_proto::admin::{
    ConfigRequest, ConfigResponse, EndpointsRequest, EndpointsResponse, ExplainRequest, ExplainResponse, FlowsRequest,
    FlowsResponse, PoliciesRequest, PoliciesResponse, StatusRequest, StatusResponse,
};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::cli::Datastore;
use crate::configuration;
use crate::control::{Concern, Inbox, Insight, Unanswered};
use crate::explain::{Explained, KEPT_FOR, Kept, Question};
use crate::health::Health;
use crate::http::Troubles;
use crate::status::answer;

/// Answers the calls of the admin API.
#[derive(Clone, Debug)]
pub struct Service {
    graph: Inbox,
    /// As on the command line.
    datastore: Datastore,
    /// The file of parameters, if one was named.
    config_file: Option<PathBuf>,
    health: Health,
    troubles: Troubles,
    /// What was read of the datastore to say why.
    kept: Kept,
    /// One for each question that may be worked at.
    turns: Arc<Semaphore>,
}

impl Service {
    /// A service that asks the graph's thread behind `graph`, which reads `datastore`.
    #[must_use]
    pub fn new(graph: Inbox, datastore: Datastore, health: Health, troubles: Troubles) -> Self {
        Self {
            graph,
            datastore,
            config_file: None,
            health,
            troubles,
            kept: Kept::default(),
            turns: Arc::new(Semaphore::new(1)),
        }
    }

    /// The same with a file of parameters, which has a say in what `explain` answers.
    #[must_use]
    pub fn with_config_file(self, config_file: Option<PathBuf>) -> Self {
        Self { config_file, ..self }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Insight<'_>) -> T + Send + 'static,
    ) -> Result<Response<T>, Status> {
        self.graph.ask(question).await.map(Response::new).map_err(unanswered)
    }
}

fn no_answer(error: anyhow::Error) -> Status {
    Status::failed_precondition(format!("{error:#}"))
}

fn unanswered(error: Unanswered) -> Status {
    match error {
        Unanswered::Busy => Status::deadline_exceeded(error.to_string()),
        Unanswered::Ended => Status::unavailable(error.to_string()),
    }
}

#[tonic::async_trait]
impl Admin for Service {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        let datastore = self.datastore.to_string();
        let (health, troubles) = (self.health.components(), self.troubles.all());
        self.ask(move |insight| answer::status(insight, datastore, &health, &troubles)).await
    }

    async fn endpoints(&self, _: Request<EndpointsRequest>) -> Result<Response<EndpointsResponse>, Status> {
        let endpoints = self.ask(answer::Endpoints::all).await?;
        Ok(endpoints.map(|endpoints| endpoints.answer()))
    }

    async fn policies(&self, _: Request<PoliciesRequest>) -> Result<Response<PoliciesResponse>, Status> {
        self.graph.count().await;
        self.ask(answer::policies).await
    }

    async fn flows(&self, request: Request<FlowsRequest>) -> Result<Response<FlowsResponse>, Status> {
        let FlowsRequest { after } = *request.get_ref();
        self.ask(move |insight| answer::flows(insight, after)).await
    }

    async fn config(&self, _: Request<ConfigRequest>) -> Result<Response<ConfigResponse>, Status> {
        self.ask(|insight| configuration::answer::answer(insight.calculator.configuration())).await
    }

    async fn explain(&self, request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        let question =
            Question::from_request(request.get_ref()).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (Datastore::File(directory), config_file) = (self.datastore.clone(), self.config_file.clone());
        // One at a time: what is kept of the datastore serves one, and who waits takes no thread.
        let turn =
            Arc::clone(&self.turns).acquire_owned().await.map_err(|error| Status::internal(error.to_string()))?;
        let (kept, graph, runtime) = (self.kept.clone(), self.graph.clone(), Handle::current());
        // The datastore is read beside the graph's thread, which goes on meanwhile.
        let explained = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // A refused object has an earlier version in force, which no manifest says.
            let look = |concern: Concern| runtime.block_on(graph.in_force(concern));
            kept.explain(&directory, config_file.as_deref(), &question, &look)
        });
        let Explained { text, json, workloads } = match explained.await {
            Ok(Ok(explained)) => explained,
            Ok(Err(error)) => return Err(error.downcast().map_or_else(no_answer, unanswered)),
            Err(error) => return Err(Status::internal(error.to_string())),
        };
        let kept = self.kept.clone();
        tokio::spawn(async move {
            tokio::time::sleep(KEPT_FOR).await;
            kept.forget_unused();
        });
        let endpoints = self.ask(move |insight| answer::Endpoints::workloads(insight, &workloads)).await?;
        let EndpointsResponse { endpoints } = endpoints.into_inner().answer();
        Ok(Response::new(ExplainResponse { text, json, endpoints }))
    }
}
