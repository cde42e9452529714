//! Bringing a known key: the wire between the dealer of an import and the members.
//!
//! The protocol itself runs with whoever holds the key (`mpc_core::import`). This only carries signed broadcasts in both directions.

use proto::v1;

use crate::connect::Client;
use crate::error::Error;

/// An import under way.
#[derive(Debug)]
pub struct Import {
    client: Client,
    request_id: [u8; 32],
    /// The first that was told: it may be a member's broadcast already.
    first: Option<v1::DkgProgress>,
    stream: tonic::Streaming<v1::DkgProgress>,
}

impl Client {
    /// Begins an import: the members are told what key to expect and from whom.
    ///
    /// # Errors
    /// As [`Client::create_key_on`].
    pub async fn begin_import(&self, request: v1::CreateKeyRequest) -> Result<Import, Error> {
        let mut stream = self
            .operator()
            .create_key(request)
            .await
            .map_err(|status| self.refused(&status))?
            .into_inner();
        let first = stream
            .message()
            .await
            .map_err(|status| self.refused(&status))?;
        let first = first.ok_or_else(|| Error::wrong_answer("the import told nothing"))?;
        if let Some(failure) = &first.failure {
            return Err(Error::from_failure(failure));
        }
        let request_id = <[u8; 32]>::try_from(first.request_id.as_ref())
            .map_err(|_| Error::wrong_answer("a request id of another length"))?;
        Ok(Import {
            client: self.clone(),
            request_id,
            first: Some(first),
            stream,
        })
    }
}

impl Import {
    /// The name of the import, which the dealer's session needs.
    #[must_use]
    pub const fn request_id(&self) -> [u8; 32] {
        self.request_id
    }

    /// What happened next: a stage, or in `said` a member's signed broadcast. `None` at the end.
    ///
    /// # Errors
    /// [`Error::Stop`] when a member broke the protocol, [`Error::Retry`] when one was silent.
    pub async fn next(&mut self) -> Result<Option<v1::DkgProgress>, Error> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        let progress = self.stream.message().await;
        let progress = progress.map_err(|status| self.client.refused(&status))?;
        match progress
            .as_ref()
            .and_then(|progress| progress.failure.as_ref())
        {
            Some(failure) => Err(Error::from_failure(failure)),
            None => Ok(progress),
        }
    }

    /// Passes the dealer's signed broadcast on to every member.
    ///
    /// # Errors
    /// [`crate::Fix::Unknown`] when the import is over.
    pub async fn say(&self, envelope: Vec<u8>) -> Result<(), Error> {
        let message = v1::ImportMessage {
            request_id: self.request_id.to_vec().into(),
            attempt: 0,
            envelope: envelope.into(),
        };
        let passed = self.client.operator().import_message(message).await;
        passed.map_err(|status| self.client.refused(&status))?;
        Ok(())
    }
}
