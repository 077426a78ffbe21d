//! What a connection is allowed to say at the moment: nothing but the proof of
//! who it is, anything, or that proof again (KIP-368).
//!
//! A proof of SASL comes in frames of its own (SaslHandshake 1 and up), or, with
//! SaslHandshake 0, as bare tokens in the place of requests.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use pluvio_foundation::random::secret_bytes;
use pluvio_wire_kafka::Request;
use pluvio_wire_kafka::frame::{self, LENGTH_BYTES};
use pluvio_wire_kafka::sasl::{MECHANISMS, Mechanism, Plain, SaslError, ScramChallenge, ScramFirst};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{Authentication, PROOF_TIME, REFUSAL_DELAY, Security};
use crate::DoorError;
use crate::kafka::broker::Broker;
use crate::kafka::codes::Code;
use crate::kafka::dispatch::{Call, Decoded, Peer, begin, decode};
use crate::kafka::guard::Rights;
use crate::kafka::writer::Answer;

/// What follows an answer.
pub(crate) enum Turn {
    /// The next request.
    Goes(Answer),
    /// The connection's end.
    Ends(Answer),
}

/// How far a proof has come.
#[derive(Debug)]
enum Step {
    /// None was begun.
    Idle,
    /// The mechanism is chosen.
    Chosen(Mechanism),
    /// A user was challenged.
    Challenged(String, Box<ScramChallenge>),
}

/// One connection's side of it.
#[derive(Debug)]
pub(crate) struct Session {
    broker: Arc<Broker>,
    peer: Peer,
    /// If peers prove themselves by SASL.
    sasl: Option<Arc<Security>>,
    /// Whether nobody can listen to the connection.
    private: bool,
    /// The user, once proven or if there is nothing to prove.
    proven: bool,
    user: Option<String>,
    step: Step,
    /// Whether tokens come without a request around them.
    bare: bool,
    prove_until: Instant,
    expires_at_ms: Option<u64>,
    /// The place among those that have not proven who they are.
    newcomer: Option<OwnedSemaphorePermit>,
}

impl Session {
    /// A session of a peer at `address`; `certificate` is the user that its
    /// certificate names.
    pub fn new(
        broker: &Arc<Broker>,
        address: std::net::SocketAddr,
        certificate: Option<&str>,
        newcomer: OwnedSemaphorePermit,
    ) -> Self {
        let security = broker.options.security.as_ref();
        let host: Arc<str> = address.ip().to_string().into();
        let by = security.map_or(Authentication::None, |it| it.authentication);
        let rights = match (security, by, certificate) {
            (Some(security), Authentication::Tls, Some(user)) => Rights::of_user(security, user, host),
            _ => Rights::of_unknown(security, host),
        };
        let peer = Peer {
            host: format!("/{}", address.ip()).into(),
            rights,
            pace: Arc::default(),
            muted: Arc::default(),
        };
        let proven = match by {
            Authentication::None => true,
            Authentication::Sasl => false,
            Authentication::Tls => certificate.is_some(),
        };
        Self {
            peer,
            sasl: security.filter(|_| by == Authentication::Sasl).cloned(),
            private: address.ip().is_loopback() || security.is_some_and(|it| it.tls.is_some()),
            proven,
            user: None,
            step: Step::Idle,
            bare: false,
            prove_until: Instant::now() + PROOF_TIME,
            expires_at_ms: None,
            newcomer: (!proven).then_some(newcomer),
            broker: Arc::clone(broker),
        }
    }

    /// Until when the peer must have proven who it is; `None` once it has.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.proven).then_some(self.prove_until)
    }

    /// Who is on the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Begins the work of a frame. An error closes the connection.
    pub async fn take(&mut self, frame: Bytes) -> Result<Turn, DoorError> {
        if let (Some(security), true) = (&self.sasl, self.bare && !matches!(self.step, Step::Idle)) {
            let security = Arc::clone(security);
            return self.bare_token(&security, &frame).await;
        }
        let key = frame.first_chunk().map_or(-1, |key| i16::from_be_bytes(*key));
        let proves = [ApiKey::ApiVersions, ApiKey::SaslHandshake, ApiKey::SaslAuthenticate];
        if !proves.iter().any(|allowed| *allowed as i16 == key) {
            self.check_proven()?;
        }
        let (call, request) = match decode(&self.broker, &self.peer, frame)? {
            Decoded::Answered(answer) => return Ok(Turn::Goes(answer)),
            Decoded::Request(call, request) => (call, request),
        };
        match (&self.sasl, request) {
            (Some(_), Request::SaslHandshake(request)) => self.handshake(&call, &request),
            (Some(security), Request::SaslAuthenticate(request)) => {
                let security = Arc::clone(security);
                self.authenticate(&security, &call, request).await
            }
            (_, request) => Ok(Turn::Goes(begin(call, request)?)),
        }
    }

    fn check_proven(&self) -> Result<(), DoorError> {
        if !self.proven {
            return Err(DoorError::Unproven("it sent a request before it proved who it is"));
        }
        let now_ms = self.broker.monotonic_ms();
        match self.expires_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
            true => Err(DoorError::Unproven("its session ended and it did not prove again who it is")),
            false => Ok(()),
        }
    }

    /// What may be chosen: a password is not sent where others can listen.
    fn offered(&self) -> impl Iterator<Item = Mechanism> + use<> {
        let private = self.private;
        MECHANISMS.into_iter().filter(move |mechanism| private || *mechanism != Mechanism::Plain)
    }

    fn handshake(&mut self, call: &Call, request: &SaslHandshakeRequest) -> Result<Turn, DoorError> {
        let names = self.offered().map(|mechanism| StrBytes::from_static_str(mechanism.name()));
        let response = SaslHandshakeResponse::default().with_mechanisms(names.collect());
        let chosen = self.offered().find(|mechanism| *mechanism.name() == *request.mechanism);
        let Some(mechanism) = chosen.filter(|_| matches!(self.step, Step::Idle)) else {
            let code = match chosen {
                None => Code::UnsupportedSaslMechanism,
                Some(_) => Code::IllegalSaslState,
            };
            let answer = call.reply(ApiKey::SaslHandshake as i16, &response.with_error_code(code.code()))?;
            return Ok(Turn::Ends(Answer::Ready(answer)));
        };
        self.step = Step::Chosen(mechanism);
        self.bare = call.version() == 0;
        Ok(Turn::Goes(Answer::Ready(call.reply(ApiKey::SaslHandshake as i16, &response)?)))
    }

    async fn authenticate(
        &mut self,
        security: &Arc<Security>,
        call: &Call,
        request: SaslAuthenticateRequest,
    ) -> Result<Turn, DoorError> {
        let response = SaslAuthenticateResponse::default();
        let key = ApiKey::SaslAuthenticate as i16;
        if matches!(self.step, Step::Idle) {
            let answer = response.with_error_code(Code::IllegalSaslState.code());
            return Ok(Turn::Ends(Answer::Ready(call.reply(key, &answer)?)));
        }
        match self.token(security, &request.auth_bytes).await {
            Ok(token) => {
                let mut answer = response.with_auth_bytes(token.into());
                if call.version() >= 1 && self.expires_at_ms.is_some() {
                    let lifetime_ms = i64::try_from(security.session_lifetime_ms).unwrap_or(i64::MAX);
                    answer = answer.with_session_lifetime_ms(lifetime_ms);
                }
                Ok(Turn::Goes(Answer::Ready(call.reply(key, &answer)?)))
            }
            Err(error) => {
                self.refused(&error).await;
                let message = StrBytes::from_string(format!("authentication failed: {error}"));
                let answer = response
                    .with_error_code(Code::SaslAuthenticationFailed.code())
                    .with_error_message(Some(message));
                Ok(Turn::Ends(Answer::Ready(call.reply(key, &answer)?)))
            }
        }
    }

    async fn bare_token(&mut self, security: &Arc<Security>, token: &Bytes) -> Result<Turn, DoorError> {
        match self.token(security, token).await {
            Ok(token) => {
                let mut out = BytesMut::with_capacity(LENGTH_BYTES + token.len());
                out.put_i32(0);
                out.put_slice(&token);
                Ok(Turn::Goes(Answer::Ready(frame::seal(out)?.into())))
            }
            Err(error) => {
                // There is no way to say it: the end of the connection does.
                self.refused(&error).await;
                Ok(Turn::Ends(Answer::None))
            }
        }
    }

    /// Tells the operator, now and then, and lets the peer wait.
    async fn refused(&self, error: &SaslError) {
        self.broker.counters.refused_proofs.add(1);
        let (host, refusals) = (&self.peer.host, self.broker.counters.refused_proofs.get());
        if self.broker.complaints.is_due(self.broker.monotonic_ms()) {
            tracing::warn!(%host, %error, refusals, "authentication failed");
        }
        tokio::time::sleep(REFUSAL_DELAY).await;
    }

    /// One token of a proof: gives the token to answer with.
    async fn token(&mut self, security: &Arc<Security>, token: &[u8]) -> Result<Vec<u8>, SaslError> {
        match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Idle => Err(SaslError::Malformed { what: "token", reason: "no mechanism was chosen" }),
            Step::Chosen(Mechanism::Plain) => {
                let Plain { user, password } = Plain::decode(token)?;
                if !security.is_password(&user, password).await {
                    return Err(SaslError::Refused);
                }
                self.prove(security, user)?;
                Ok(Vec::new())
            }
            Step::Chosen(mechanism) => {
                let first = ScramFirst::decode(token)?;
                let user = first.user.clone();
                let hash = mechanism.hash().ok_or(SaslError::Refused)?;
                let (challenge, message) = first.challenge(security.credential(&user, hash), &nonce()?);
                self.step = Step::Challenged(user, Box::new(challenge));
                Ok(message)
            }
            Step::Challenged(user, challenge) => {
                let message = challenge.verify(token)?;
                self.prove(security, user)?;
                Ok(message)
            }
        }
    }

    /// The peer has proven to be this user; who proves it again must be the same.
    fn prove(&mut self, security: &Arc<Security>, user: String) -> Result<(), SaslError> {
        if self.user.as_ref().is_some_and(|before| *before != user) {
            let reason = "a connection stays with the user that opened it";
            return Err(SaslError::Malformed { what: "proof", reason });
        }
        self.peer.rights = Rights::of_user(security, &user, self.peer.rights.host());
        self.user = Some(user);
        self.proven = true;
        self.newcomer = None;
        let lifetime_ms = security.session_lifetime_ms;
        self.expires_at_ms = (lifetime_ms > 0).then(|| self.broker.monotonic_ms() + lifetime_ms);
        Ok(())
    }
}

/// The server's part of a nonce.
fn nonce() -> Result<String, SaslError> {
    let no_randomness = |_| SaslError::Server("the system has no randomness to give".into());
    let bytes = secret_bytes::<18>().map_err(no_randomness)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
