//! `connector = 'kafka'`: the options that reach a cluster elsewhere. Those of the
//! connection have the names that Kafka's own clients use.

use datafusion::sql::sqlparser::parser::Parser;
use pluvio_catalog::{
    Changes, Delivery, FormatDef, KafkaDef, KafkaSinkDef, KafkaSourceDef, SaslDef, Secret, SinkDef,
    SinkTarget, StartAt, TlsDef,
};

use super::Options;
use super::command::{Command, identifier, next_position};
use super::create::{csv, start_at};
use crate::QueryError;

const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// The cluster of a stream; `None` if its topic is in our own log.
pub fn source(options: &mut Options) -> Result<Option<KafkaSourceDef>, QueryError> {
    let cluster = cluster(options)?;
    let start = options.value("start", |text| match start_at(text) {
        Ok(StartAt::Time(_)) => Err("a time belongs to a stream whose topic is ours"),
        other => other,
    })?;
    match (cluster, start) {
        (Some(cluster), start) => Ok(Some(KafkaSourceDef { cluster, start: start.unwrap_or_default() })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(QueryError::invalid("the option \"start\" goes with connector = 'kafka'")),
    }
}

/// `CREATE SINK name FROM view WITH (connector = 'kafka', …)`, after FROM.
pub fn sink(parser: &mut Parser<'_>, name: String) -> Result<Command, QueryError> {
    let from = identifier(parser)?;
    let at_options = next_position(parser);
    let mut options = Options::parse(parser)?;
    let cluster = cluster(&mut options)?;
    let topic = options.text("topic");
    let (delimiter, null) = csv(&mut options)?;
    let format = options.value("format", |text| match text {
        "json" => Ok(FormatDef::Json),
        "csv" => Ok(FormatDef::Csv { delimiter: delimiter.unwrap_or(','), null: null.clone() }),
        "debezium" | "debezium-json" => Ok(FormatDef::Debezium),
        _ => Err("it is 'json', 'csv' or 'debezium'"),
    })?;
    let changes = options.value("changes", |text| match text {
        "append" => Ok(Changes::Append),
        "upsert" => Ok(Changes::Upsert),
        _ => Err("it is 'append' or 'upsert'"),
    })?;
    let changes = match (&format, changes) {
        (Some(FormatDef::Debezium), None) => Changes::Rows,
        (Some(FormatDef::Debezium), Some(_)) => {
            let message = "format = 'debezium' tells changes by itself: leave the option \"changes\" out";
            return Err(QueryError::invalid(message).at(at_options));
        }
        (_, changes) => changes.unwrap_or_default(),
    };
    let key = options.text("key");
    let delivery = options.value("delivery", |text| match text {
        "exactly_once" => Ok(Delivery::ExactlyOnce),
        "at_least_once" => Ok(Delivery::AtLeastOnce),
        _ => Err("it is 'exactly_once' or 'at_least_once'"),
    })?;
    let commit_interval_ms = options.duration_ms("commit_interval")?.unwrap_or(0);
    let commit_bytes = options.bytes("commit_bytes")?.unwrap_or(0);
    options.finish()?;
    let missing = |what: &str| {
        let example = "WITH (connector = 'kafka', brokers = 'host:9092', topic = 'name')";
        QueryError::invalid(format!("the sink needs {what}: {example}; or INTO LAKE 'name' FROM view"))
            .at(at_options)
    };
    let kafka = cluster.ok_or_else(|| missing("connector = 'kafka'"))?;
    let topic = topic.ok_or_else(|| missing("a topic"))?;
    let target = KafkaSinkDef {
        kafka,
        topic,
        format: format.unwrap_or(FormatDef::Json),
        key,
        changes,
        delivery: delivery.unwrap_or_default(),
    };
    Ok(Command::CreateSink(SinkDef {
        name,
        from,
        to: SinkTarget::Kafka(Box::new(target)),
        commit_interval_ms,
        commit_bytes,
        sql: String::new(),
    }))
}

fn cluster(options: &mut Options) -> Result<Option<KafkaDef>, QueryError> {
    let connector = options.value("connector", |text| match text {
        "kafka" => Ok(()),
        _ => Err("it is 'kafka'"),
    })?;
    let brokers = options.value("brokers", brokers)?;
    let (tls, sasl) = security(options)?;
    match (connector, brokers) {
        (Some(()), Some(brokers)) => Ok(Some(KafkaDef { brokers, tls, sasl })),
        (Some(()), None) => {
            Err(QueryError::invalid("connector = 'kafka' needs brokers = 'host:9092'; several with commas"))
        }
        (None, None) if tls.is_none() && sasl.is_none() => Ok(None),
        (None, _) => Err(QueryError::invalid("the options of a Kafka cluster go with connector = 'kafka'")),
    }
}

fn brokers(text: &str) -> Result<Vec<String>, &'static str> {
    let all: Vec<String> = text.split(',').map(|broker| broker.trim().to_owned()).collect();
    let valid = |broker: &String| {
        broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if all.iter().all(valid) { Ok(all) } else { Err("it is 'host:port', several with commas") }
}

fn security(options: &mut Options) -> Result<(Option<TlsDef>, Option<SaslDef>), QueryError> {
    let protocol = options.value("security.protocol", |text| match text.to_uppercase().as_str() {
        "PLAINTEXT" => Ok((false, false)),
        "SSL" => Ok((true, false)),
        "SASL_PLAINTEXT" => Ok((false, true)),
        "SASL_SSL" => Ok((true, true)),
        _ => Err("it is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
    })?;
    let tls = TlsDef {
        ca_file: options.text("ssl.ca.location"),
        certificate_file: options.text("ssl.certificate.location"),
        key_file: options.text("ssl.key.location"),
    };
    let mechanism = options.value("sasl.mechanism", |text| match text.to_uppercase() {
        known if MECHANISMS.contains(&known.as_str()) => Ok(known),
        _ => Err("it is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
    })?;
    let username = options.text("sasl.username");
    let password = options.value("sasl.password", Secret::parse)?;
    let (encrypted, named) = protocol.unwrap_or_default();
    if !encrypted && tls != TlsDef::default() {
        return Err(QueryError::invalid("ssl.… goes with security.protocol = 'SSL' or 'SASL_SSL'"));
    }
    if tls.certificate_file.is_some() != tls.key_file.is_some() {
        return Err(QueryError::invalid("ssl.certificate.location and ssl.key.location go together"));
    }
    let sasl = match (named, username, password) {
        (true, Some(username), Some(password)) => {
            let mechanism = mechanism.unwrap_or_else(|| MECHANISMS[0].to_owned());
            Some(SaslDef { mechanism, username, password })
        }
        (true, ..) => {
            return Err(QueryError::invalid("SASL needs sasl.username and sasl.password = 'env:NAME'"));
        }
        (false, None, None) if mechanism.is_none() => None,
        (false, ..) => {
            let message = "sasl.… goes with security.protocol = 'SASL_SSL' or 'SASL_PLAINTEXT'";
            return Err(QueryError::invalid(message));
        }
    };
    Ok((encrypted.then_some(tls), sasl))
}
