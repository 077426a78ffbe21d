//! Loading a configuration from its four sources.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use pluvio_config::{Config, Inputs, LogLevel, Settings, Source, load, options};
use pluvio_foundation::{ErrorKind, RealDisk};

fn pairs(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

/// Loads with this file content, environment and command line.
fn with(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pluvio.toml");
    fs::write(&path, file).unwrap();
    let inputs = Inputs { file: Some(path), environment: pairs(environment), command_line: pairs(flags) };
    let shown = |error: pluvio_config::ConfigError| {
        error.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    load(&RealDisk, &inputs).map_err(shown)
}

#[test]
fn nothing_given_is_the_default() {
    let settings = with("", &[], &[]).unwrap();
    assert_eq!(settings.config, Config::default());
    assert_eq!(settings.settings.len(), options().len());
    assert!(settings.settings.iter().all(|setting| setting.source == Source::Default));
    assert!(settings.warnings.is_empty());
}

#[test]
fn later_sources_go_before_earlier_ones() {
    let file = "trigger = \"1 s\"\ntrigger_rows = 1000\nauto_create_topics = false\nlog_level = \"debug\"\n";
    let environment = [("PLUVIO_TRIGGER_ROWS", "2000"), ("PLUVIO_LOG_LEVEL", "warn"), ("HOME", "/root")];
    let settings = with(file, &environment, &[("log_level", "trace")]).unwrap();
    let config = &settings.config;
    assert_eq!((config.trigger_ms, config.trigger_rows), (1000, 2000));
    assert!(!config.auto_create_topics);
    assert_eq!(config.log_level, LogLevel::Trace);
    let source = |name: &str| {
        let setting = settings.settings.iter().find(|setting| setting.option.name == name).unwrap();
        setting.source.clone()
    };
    assert!(matches!(source("trigger"), Source::File(path) if path.ends_with("pluvio.toml")));
    assert_eq!(source("trigger_rows"), Source::Environment("PLUVIO_TRIGGER_ROWS".to_owned()));
    assert_eq!(source("log_level"), Source::CommandLine);
    assert_eq!(source("data_dir"), Source::Default);
}

#[test]
fn unknown_names_are_told_with_a_guess() {
    let known = "; `pluvio config` lists all options";
    let error = with("datadir = \"x\"", &[], &[]).unwrap_err();
    assert_eq!(error, format!("unknown option `datadir` in pluvio.toml (did you mean `data_dir`?){known}"));
    let error = with("colour = 1", &[], &[]).unwrap_err();
    assert_eq!(error, format!("unknown option `colour` in pluvio.toml{known}"));
    let error = with("", &[], &[("trigger_row", "1")]).unwrap_err();
    assert!(error.contains("the command line (did you mean `trigger_rows`?)"), "{error}");
    let settings =
        with("", &[("PLUVIO_SERVICE_HOST", "10.0.0.1"), ("PLUVIO_LOG_LEVELS", "info")], &[]).unwrap();
    assert_eq!(settings.warnings.len(), 2);
    assert!(settings.warnings[1].contains("did you mean `log_level`?"), "{:?}", settings.warnings);
}

#[test]
fn wrong_values_are_told_with_their_place() {
    let error = with("trigger = \"soon\"", &[], &[]).unwrap_err();
    assert!(
        error.starts_with("option `trigger` from pluvio.toml: `soon` is not a duration: write"),
        "{error}"
    );
    let error = with("", &[("PLUVIO_LOG_LEVEL", "cook")], &[]).unwrap_err();
    assert!(
        error.starts_with("option `log_level` from the environment (PLUVIO_LOG_LEVEL): `cook` is not one of"),
        "{error}"
    );
    let error = with("trigger = ", &[], &[]).unwrap_err();
    assert!(
        error.starts_with("the configuration file pluvio.toml is not valid TOML: TOML parse error at line 1"),
        "{error}"
    );
    let error = with("[trigger]\nx = 1", &[], &[]).unwrap_err();
    assert!(error.contains("TOML table; options are not in sections"), "{error}");
    // A value that a later source replaces does no harm.
    assert!(with("log_level = \"cook\"", &[], &[("log_level", "info")]).is_ok());
}

#[test]
fn the_kafka_door_opens_to_whoever_proves_who_they_are() {
    let beyond = ("kafka_listen", "10.0.0.7:9092");
    let sasl = with("kafka_auth = \"sasl\"", &[], &[beyond]).unwrap();
    assert!(sasl.warnings[0].contains("without encryption"), "{:?}", sasl.warnings);
    let files =
        [("kafka_tls_cert", "c.pem"), ("kafka_tls_key", "k.pem"), ("kafka_tls_client_ca", "ca.pem"), beyond];
    for (auth, count, said) in [
        ("sasl", 1, "set kafka_tls_key"),
        ("tls", 2, "set kafka_tls_client_ca"),
        ("none", 3, "does not look at it"),
    ] {
        let flags =
            [&[("kafka_auth", auth), ("allow_insecure_listen", "true")], &files[..count], &files[3..]]
                .concat();
        let error = with("", &[], &flags).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    for auth in ["sasl", "tls"] {
        let settings = with("", &[], &[&[("kafka_auth", auth)], &files[..]].concat()).unwrap();
        assert!(settings.warnings.is_empty());
    }
    assert!(with("", &[], &[("kafka_tls_client_ca", "ca.pem")]).unwrap_err().contains("set kafka_tls_cert"));
    assert!(with("", &[], &[("kafka_tls_key", "k.pem")]).unwrap_err().contains("set kafka_tls_cert"));
}

#[test]
fn doors_stay_closed_to_other_machines() {
    for name in ["kafka_listen", "postgres_listen", "http_listen"] {
        for address in ["0.0.0.0:7000", "10.0.0.7:7000", "[::]:7000"] {
            let error = with("", &[], &[(name, address)]).unwrap_err();
            assert!(error.contains(name) && error.contains("authentication is not configured"), "{error}");
            assert!(error.contains("allow_insecure_listen = true"), "{error}");
        }
        for address in ["[::1]:7000", "127.0.0.2:7000", "localhost:7000"] {
            assert!(with("", &[], &[(name, address)]).is_ok(), "{address}");
        }
    }
    let open = [("allow_insecure_listen", "true"), ("kafka_listen", "0.0.0.0:9092")];
    let error = with("", &[], &open).unwrap_err();
    assert!(error.contains("set kafka_advertised"), "{error}");
    let settings = with("kafka_advertised = \"queue.example.org:9092\"", &[], &open).unwrap();
    assert_eq!(settings.config.kafka_advertised.unwrap().host, "queue.example.org");
    let inputs = Inputs { command_line: pairs(&[("http_listen", "0.0.0.0:80")]), ..Inputs::default() };
    assert_eq!(load(&RealDisk, &inputs).unwrap_err().kind(), ErrorKind::Denied);
}

#[test]
fn doors_do_not_share_an_address() {
    let error = with("http_listen = \"127.0.0.1:9092\"", &[], &[]).unwrap_err();
    assert!(error.starts_with("kafka_listen and http_listen are both \"127.0.0.1:9092\""), "{error}");
    // Port 0 lets the system choose.
    let free = [("kafka_listen", "127.0.0.1:0"), ("http_listen", "127.0.0.1:0")];
    assert!(with("", &[], &free).is_ok());
}

#[test]
fn a_named_file_must_exist() {
    let missing = PathBuf::from("/nowhere/pluvio.toml");
    for inputs in [
        Inputs { file: Some(missing.clone()), ..Inputs::default() },
        Inputs { environment: pairs(&[("PLUVIO_CONFIG", "/nowhere/pluvio.toml")]), ..Inputs::default() },
    ] {
        let error = load(&RealDisk, &inputs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error.to_string().starts_with("cannot read the configuration file /nowhere/pluvio.toml"),
            "{error}"
        );
    }
    assert!(!Path::new(pluvio_config::CONFIG_FILE).exists(), "this test runs in a folder without one");
    assert_eq!(load(&RealDisk, &Inputs::default()).unwrap().config, Config::default());
}

#[test]
fn what_is_shown_is_a_file_that_loads_the_same() {
    let flags = [("data_dir", "a \"b\"\\c"), ("trigger_rows", "1_000"), ("allow_insecure_listen", "true")];
    let settings = with("log_retention = \"1.5 days\"", &[("PLUVIO_TRIGGER", "5 s")], &flags).unwrap();
    let shown = settings.to_toml();
    assert_eq!(with(&shown, &[], &[]).unwrap().config, settings.config);
    assert!(shown.contains("trigger = \"5 s\"  # from the environment (PLUVIO_TRIGGER)\n"), "{shown}");
    assert!(shown.contains("# Default \"200 ms\"; --trigger or PLUVIO_TRIGGER.\n"), "{shown}");
    assert!(shown.lines().all(|line| !line.starts_with('#') || line.len() <= 100), "{shown}");
}
