//! The binary: command line, configuration, wiring; nothing else.

mod access;
mod bench;
mod check;
mod cli;
mod configuration;
mod connect;
mod consume;
mod demo;
mod door_threads;
mod error;
mod listen;
mod load;
mod log;
mod password;
mod platform;
mod produce;
mod queue;
mod run;
mod serve;
mod sql;
mod terminal;
mod topic;
mod user;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use error::CliError;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(dispatch(cli.command));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(command: Command) -> Result<(), CliError> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Run(args) => run::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::Sql(args) => sql::run(args).await,
        Command::Topic(args) => topic::run(args).await,
        Command::User(args) => user::run(args),
        Command::Produce(args) => produce::run(args).await,
        Command::Consume(args) => consume::run(args).await,
        Command::Log(args) => log::run(&args),
        Command::Config(args) => configuration::run(&args),
        Command::Bench(args) => bench::run(args).await,
        Command::Completions { shell } => {
            cli::completions(shell);
            Ok(())
        }
    }
}
