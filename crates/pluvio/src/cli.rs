//! The command line: every command, flag and help text in one place. The flags
//! of the platform are made from the configuration's own definitions.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use pluvio_config::{Inputs, Settings, options};
use pluvio_foundation::RealDisk;

use crate::error::CliError;

/// Pluvio turns a storm of small events into exact, live tables, in one program.
#[derive(Debug, Parser)]
#[command(name = "pluvio", version, about, after_help = AFTER_HELP, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Start here:
  pluvio demo                 100,000 card payments a second, enriched live
  pluvio run pipeline.sql     your own pipeline, then serve it
  pluvio sql                  a SQL shell on a running platform
";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the card payment demo: a storm of events in, enriched live tables out
    Demo(DemoArgs),
    /// Run the statements of a pipeline file, then serve
    Run(RunArgs),
    /// Serve the platform: Kafka, Postgres and the console
    Serve(ServeArgs),
    /// Check a pipeline file without running it
    Check(CheckArgs),
    /// A SQL shell on a running platform, or one command with -c
    Sql(SqlArgs),
    /// Create, list, describe or delete topics
    Topic(TopicArgs),
    /// Add, list or remove the users of the Kafka door
    User(UserArgs),
    /// Send lines of standard input to a topic
    Produce(ProduceArgs),
    /// Print the events of a topic
    Consume(ConsumeArgs),
    /// Check or print what the event log on disk holds, without a server
    Log(LogArgs),
    /// Print every option: its value, where it came from, its default and meaning
    Config(ConfigArgs),
    /// Measure this machine: runs a recorded workload and prints JSON
    Bench(BenchArgs),
    /// Print a completion script for your shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The platform's options as flags.
#[derive(Debug, Clone, Default)]
pub struct PlatformFlags {
    file: Option<PathBuf>,
    given: Vec<(String, String)>,
}

impl Args for PlatformFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Read options from this file instead of pluvio.toml");
        let flag = |option: &'static pluvio_config::OptionDef| {
            let default = if option.default.is_empty() { "none" } else { option.default };
            Arg::new(option.name)
                .long(option.flag())
                .value_name(option.shape.value_name())
                .help(format!("{} [default: {default}]", option.meaning))
                .help_heading("Platform options")
        };
        command.arg(config).args(options().iter().map(flag))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PlatformFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self { file: matches.get_one("config").cloned(), given: Vec::new() };
        for option in options() {
            if let Some(value) = matches.get_one::<String>(option.name) {
                flags.given.push((option.name.to_owned(), value.clone()));
            }
        }
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl PlatformFlags {
    /// No flags, but perhaps a file.
    pub fn of_file(file: Option<PathBuf>) -> Self {
        Self { file, given: Vec::new() }
    }

    /// Lays the flags over file and environment.
    ///
    /// # Errors
    /// A value that does not fit its option.
    pub fn load(&self) -> Result<Settings, CliError> {
        self.load_with(&[])
    }

    /// The same, with defaults of a command that only count where nobody says
    /// otherwise.
    ///
    /// # Errors
    /// A value that does not fit its option.
    pub fn load_with(&self, defaults: &[(&str, String)]) -> Result<Settings, CliError> {
        let environment: Vec<(String, String)> = std::env::vars().collect();
        let inputs = Inputs { file: self.file.clone(), environment, command_line: self.given.clone() };
        let mut settings = pluvio_config::load(&RealDisk, &inputs)?;
        let untouched = |name: &str| {
            settings
                .settings
                .iter()
                .any(|s| s.option.name == name && s.source == pluvio_config::Source::Default)
        };
        let mut command_line: Vec<_> = defaults
            .iter()
            .filter(|(name, _)| untouched(name))
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        if !command_line.is_empty() {
            command_line.extend(self.given.clone());
            settings = pluvio_config::load(&RealDisk, &Inputs { command_line, ..inputs })?;
        }
        for warning in &settings.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(settings)
    }
}

/// `pluvio demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Events a second
    #[arg(long, default_value_t = 100_000)]
    pub rate: u64,
    /// How long to run, for instance 60s; until Ctrl-C if not given
    #[arg(long)]
    pub duration: Option<String>,
    /// Keep the data in this folder; a fresh temporary one if not given
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// How many persons there are
    #[arg(long, default_value_t = 1_000_000)]
    pub persons: u32,
    /// How many companies there are
    #[arg(long, default_value_t = 100_000)]
    pub companies: u32,
    /// Print one JSON object at the end, on standard output
    #[arg(long)]
    pub json: bool,
    /// The platform's options
    #[command(flatten)]
    pub platform: PlatformFlags,
}

/// `pluvio run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The pipeline file
    pub file: PathBuf,
    /// The platform's options
    #[command(flatten)]
    pub platform: PlatformFlags,
}

/// `pluvio serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The platform's options
    #[command(flatten)]
    pub platform: PlatformFlags,
}

/// `pluvio check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The pipeline file
    pub file: PathBuf,
}

/// `pluvio sql`.
#[derive(Debug, Args)]
pub struct SqlArgs {
    /// Execute this and exit
    #[arg(short, long, value_name = "SQL")]
    pub command: Option<String>,
    /// Execute this file and exit
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Where the platform's Postgres door is
    #[arg(long, default_value = "127.0.0.1:5433", value_name = "HOST:PORT")]
    pub postgres: String,
    /// How to print rows
    #[arg(long, value_enum, default_value_t = OutputFormat::Table)]
    pub format: OutputFormat,
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum OutputFormat {
    /// An aligned table
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Json,
}

/// How the commands that speak Kafka reach a queue, ours or any other.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Queue")]
pub struct QueueFlags {
    /// Where the queue is; several brokers with commas
    #[arg(long, default_value = "127.0.0.1:9092", value_name = "HOST:PORT", global = true)]
    pub bootstrap: String,
    /// Encrypt the connection (TLS)
    #[arg(long, global = true)]
    pub tls: bool,
    /// Trust the certificates of this PEM file instead of the system's; means --tls
    #[arg(long, value_name = "FILE", global = true)]
    pub tls_ca: Option<String>,
    /// Show this certificate of ours (PEM); means --tls
    #[arg(long, value_name = "FILE", requires = "tls_key", global = true)]
    pub tls_cert: Option<String>,
    /// The key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", global = true)]
    pub tls_key: Option<String>,
    /// Log in as this user; the password is that of --password-file or $PLUVIO_PASSWORD, or is asked for
    #[arg(long, value_name = "NAME", global = true)]
    pub user: Option<String>,
    /// Read the password from the first line of this file
    #[arg(long, value_name = "FILE", requires = "user", global = true)]
    pub password_file: Option<PathBuf>,
    /// How to log in
    #[arg(long, value_enum, value_name = "MECHANISM", ignore_case = true, global = true)]
    #[arg(default_value_t = SaslMechanism::ScramSha512)]
    pub sasl_mechanism: SaslMechanism,
}

/// How a user logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SaslMechanism {
    /// The password itself, for encrypted connections and this machine
    #[value(name = "PLAIN")]
    Plain,
    /// A proof of the password
    #[value(name = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with a longer digest
    #[value(name = "SCRAM-SHA-512")]
    ScramSha512,
}

/// `pluvio topic`.
#[derive(Debug, Args)]
pub struct TopicArgs {
    /// Where the queue is, and who asks
    #[command(flatten)]
    pub queue: QueueFlags,
    /// What to do
    #[command(subcommand)]
    pub command: TopicCommand,
}

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Make a topic
    Create {
        /// Its name
        name: String,
        /// How many partitions
        #[arg(long, default_value_t = 4)]
        partitions: i32,
        /// A setting, for instance retention.ms=3600000; may be repeated
        #[arg(long, value_name = "KEY=VALUE")]
        config: Vec<String>,
    },
    /// List all topics
    List,
    /// Show a topic's partitions and offsets
    Describe {
        /// Its name
        name: String,
    },
    /// Delete a topic and its events
    Delete {
        /// Its name
        name: String,
    },
}

/// `pluvio user`.
#[derive(Debug, Args)]
#[command(after_help = USER_AFTER_HELP)]
pub struct UserArgs {
    /// The folder of the platform, which may be running
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Read options from this file instead of pluvio.toml
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub command: UserCommand,
}

const USER_AFTER_HELP: &str = "\
The first user:
  pluvio user add admin
  pluvio serve --kafka-auth sasl --kafka-super-users admin

Users are kept in the data folder as salted SCRAM credentials, never as passwords. A running platform takes a change
within a second. From another machine, use Kafka's own tools (kafka-configs.sh --alter --entity-type users).
";

/// What to do with users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user, or give one a new password
    Add {
        /// The user's name
        name: String,
        /// Read the password from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// List all users
    List,
    /// Remove a user
    Remove {
        /// The user's name
        name: String,
    },
}

/// `pluvio produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic; made if absent
    pub topic: String,
    /// Where the queue is, and who asks
    #[command(flatten)]
    pub queue: QueueFlags,
    /// Split each line at this text into key and value
    #[arg(long, value_name = "TEXT")]
    pub key_separator: Option<String>,
    /// Read this file instead of standard input; .gz is unpacked
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `pluvio consume`.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// The topic
    pub topic: String,
    /// Where the queue is, and who asks
    #[command(flatten)]
    pub queue: QueueFlags,
    /// Start at the oldest event instead of the next one
    #[arg(long)]
    pub from_beginning: bool,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print partition, offset, time and key before each value
    #[arg(long)]
    pub verbose: bool,
}

/// `pluvio log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// The data folder; the platform's own if not given
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Look even while a platform is running on the folder
    #[arg(long, global = true)]
    pub force: bool,
    /// What to do
    #[command(subcommand)]
    pub command: LogCommand,
}

/// What to do with the log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Check every batch, offset and index; exit code 1 if there is damage
    Verify {
        /// Only this topic
        topic: Option<String>,
    },
    /// Print the batches and records of a partition
    Dump(LogDumpArgs),
}

/// `pluvio log dump`.
#[derive(Debug, Args)]
pub struct LogDumpArgs {
    /// The topic
    pub topic: String,
    /// The partition, counted from 0
    pub partition: u32,
    /// Begin at this offset
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub offset: i64,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Print one JSON object for each batch
    #[arg(long)]
    pub json: bool,
}

/// `pluvio config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The platform's options
    #[command(flatten)]
    pub platform: PlatformFlags,
}

/// `pluvio bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Which workload
    #[command(subcommand)]
    pub workload: Workload,
}

/// The workloads.
#[derive(Debug, Subcommand)]
pub enum Workload {
    /// Enrich the payments of a folder, already in the topic, into a real-time table and Delta
    Storm {
        /// The folder with persons.csv, companies.csv and the payments
        #[arg(long, value_name = "DIR")]
        events: PathBuf,
        /// Partitions of the topic
        #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
        partitions: u16,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Prints a completion script.
pub fn completions(shell: clap_complete::Shell) {
    let mut command = <Cli as clap::CommandFactory>::command();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "pluvio", &mut script);
    // Whoever reads may have seen enough.
    let _ = std::io::stdout().write_all(&script);
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_reach_the_configuration() {
        let cli = Cli::parse_from(["pluvio", "serve", "--kafka-listen", "127.0.0.1:1", "--trigger", "1 s"]);
        let Command::Serve(args) = cli.command else { panic!("serve") };
        let config = args.platform.load().unwrap().config;
        assert_eq!((config.kafka_listen.port(), config.trigger_ms), (1, 1000));
    }
}
