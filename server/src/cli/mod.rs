//! The commands of `voip-server`.
//!
//! Each ends with exit code 0, or with 2 and one sentence on standard error. No password is taken from the command
//! line, where every user of the machine could read it.

mod backup;
mod database;
mod password;
mod serve;
mod user;
mod users;

use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use voip_server::{Config, Store, store::OrganizationRow};

#[derive(Parser)]
#[command(version, about = "Voice server for teams: control on TCP 9000, voice on UDP 9001")]
struct Arguments {
    /// Configuration file; server.yaml where there is one.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of certificate, secret and, by default, database.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until Ctrl+C.
    Serve(serve::Serve),
    /// Fill the database with the Demo Organization (its passwords are public).
    SeedDemo,
    /// Make the database that the configuration names, empty, where it is not there.
    CreateDb,
    /// Apply, undo and list the steps of the database schema.
    Migrate {
        #[command(subcommand)]
        command: database::Migrate,
    },
    /// Accounts out to a file, and in from one.
    Users {
        #[command(subcommand)]
        command: users::Users,
    },
    /// Make, list, disable and enable accounts, and set their passwords.
    User {
        #[command(subcommand)]
        command: user::User,
    },
    /// Print the hash of a password, as users import takes it; it is asked for, or read from standard input.
    HashPassword,
    /// Copy an SQLite database to a new file, while it is in use.
    Backup {
        /// The copy; must not be there yet.
        file: PathBuf,
    },
}

/// What a command comes to.
type Outcome = Result<(), Box<dyn Error>>;

/// Exit code of everything that cannot be done.
const REFUSED: u8 = 2;

/// The program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Databases, keys, exports: what it writes is for its owner's eyes alone.
    #[cfg(target_os = "linux")]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // The only provider in the tree; whoever installed one before us installed the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    match runtime.block_on(execute(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&*error),
    }
}

fn refuse(error: &dyn Error) -> ExitCode {
    eprintln!("voip-server: {error}");
    ExitCode::from(REFUSED)
}

async fn execute(arguments: Arguments) -> Outcome {
    if let Command::HashPassword = arguments.command {
        // Needs no server: it works where there is no configuration.
        return password::print_hash().await;
    }
    let mut config = Config::load(arguments.config.as_deref())?;
    if let Some(data_dir) = arguments.data_dir {
        move_to(&mut config, data_dir);
    }
    match arguments.command {
        Command::Serve(serve) => serve.run(config).await,
        Command::SeedDemo => database::seed_demo(&config).await,
        Command::CreateDb => database::create(&config.database).await,
        Command::Migrate { command } => command.run(&config.database).await,
        Command::Users { command } => command.run(&config).await,
        Command::User { command } => command.run(&config).await,
        Command::HashPassword => password::print_hash().await,
        Command::Backup { file } => backup::run(&config.database, &file).await,
    }
}

/// Another folder, and with it the database where the configuration names none of its own.
fn move_to(config: &mut Config, data_dir: PathBuf) {
    let default_url = |config: &Config| format!("sqlite:{}", config.data_dir.join("voip.db").display());
    let follows = config.database.url == default_url(config);
    config.data_dir = data_dir;
    if follows {
        config.database.url = default_url(config);
    }
}

/// Opens a database that is there: whoever looks for accounts in the wrong folder finds no new, empty one.
async fn open(config: &Config) -> Result<Store, Box<dyn Error>> {
    if let Some(file) = database::file(&config.database)?
        && !file.exists()
    {
        let file = file.display();
        let message =
            format!("there is no database {file}: name its folder by --data-dir, or make it with create-db");
        return Err(message.into());
    }
    Ok(Store::open(&config.database).await?)
}

/// The organization with a tag, or the only one.
async fn organization(store: &Store, tag: Option<&str>) -> Result<OrganizationRow, Box<dyn Error>> {
    if let Some(tag) = tag {
        let message = format!("there is no organization with the tag {tag}");
        return Ok(store.organization_by_tag(tag).await?.ok_or(message)?);
    }
    let mut all = store.organizations().await?;
    match all.len() {
        0 => Err("there is no organization yet: serve makes one, or seed-demo".into()),
        1 => Ok(all.remove(0)),
        _ => {
            let tags: Vec<&str> = all.iter().map(|organization| organization.tag.as_str()).collect();
            Err(format!("there are several organizations: name one by --org ({})", tags.join(", ")).into())
        }
    }
}

/// Prints a text. Whoever reads only its beginning, as `head` does, has what they want.
fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output cannot be written: {error}").into())
        }
        _ => Ok(()),
    }
}

/// Rows of text in columns.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    /// What stands on a command line stands in the list of processes.
    #[test]
    fn no_command_takes_a_password() {
        fn look(command: &clap::Command) {
            for argument in command.get_arguments() {
                let takes_value = argument.get_action().takes_values();
                assert!(!argument.get_id().as_str().contains("password") || !takes_value, "{argument}");
            }
            command.get_subcommands().for_each(look);
        }
        look(&Arguments::command());
    }

    #[test]
    fn the_database_follows_the_folder_unless_it_has_its_own() {
        let mut config = Config::embedded("a".as_ref(), 1, 2);
        move_to(&mut config, "b".into());
        assert_eq!(config.database.url, "sqlite:b/voip.db");
        config.database.url = "sqlite:elsewhere.db".into();
        move_to(&mut config, "c".into());
        assert_eq!(config.database.url, "sqlite:elsewhere.db");
    }

    #[test]
    fn columns_are_as_wide_as_need_be() {
        let rows = [["a", "b"], ["längst", "c"], ["", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a       b\nlängst  c\n        d\n");
    }
}
