//! `quorate backup`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use client::PublicKey;
use mpc_core::{id::Params, identity::ExchangeKey, keys::PublicKeyPackage};
use policy::{cluster::ClusterFile, time};
use rand_core::UnwrapErr;
use serde_json::{Value, json};
use signer_node::{
    Config, OpenError,
    backup::{RestoreError, Secrets},
    seal::SealError,
    store::StoreError,
};
use zeroize::Zeroizing;

use super::Context;
use crate::{
    args::{
        Against, BackupCommand, BackupCreateArgs, BackupJoinArgs, BackupKeygenArgs,
        BackupRestoreArgs, BackupSplitArgs, BackupVerifyArgs,
    },
    backup::{self, Problem, file::BackupFile, recovery, words},
    fail::{Exit, Fail},
    output::Reply,
    people::write_secret,
    verbs::{now_ms, read, write_new},
};

/// Runs the verb.
///
/// # Errors
/// A file is wrong or cannot be written; [`Problem`] for backups and recovery keys.
pub async fn run(context: &Context, command: BackupCommand) -> Result<Reply, Fail> {
    match command {
        BackupCommand::Keygen(args) => keygen(&args),
        BackupCommand::Split(args) => split(&args),
        BackupCommand::Join(args) => join(&args),
        BackupCommand::Create(args) => create(&args),
        BackupCommand::Verify(args) => verify(context, &args).await,
        BackupCommand::Restore(args) => restore(context, &args).await,
    }
}

fn written(path: &Path, key: &ExchangeKey) -> Reply {
    let public = hex::encode(key.public());
    let human = format!(
        "recovery key  {public}\nsecret in     {}\n\nKeep the file offline; nodes need only the public key:\n  \
         quorate backup create --config node.toml --recipient {public} --out backups",
        path.display()
    );
    Reply::new(human, json!({"recovery_key": public, "file": path}))
}

fn keygen(args: &BackupKeygenArgs) -> Result<Reply, Fail> {
    let key = ExchangeKey::generate(&mut UnwrapErr(getrandom::SysRng));
    recovery::write(&args.out, &key, args.passphrase.as_deref())?;
    Ok(written(&args.out, &key))
}

fn join(args: &BackupJoinArgs) -> Result<Reply, Fail> {
    let key = recovery::join(&args.parts)?;
    recovery::write(&args.out, &key, args.passphrase.as_deref())?;
    Ok(written(&args.out, &key))
}

fn split(args: &BackupSplitArgs) -> Result<Reply, Fail> {
    let key = recovery::read(&args.recovery_key, args.passphrase.as_deref())?;
    let params = Params::new(args.needed, args.parts).map_err(|e| {
        Fail::new(Exit::Usage, e).hint("--needed is between 2 and --parts, which is at most 32")
    })?;
    crate::init::new_dir(&args.out)?;
    let public = hex::encode(key.public());
    let mut files = Vec::new();
    for part in mpc_core::backup::split(&key, params, &mut UnwrapErr(getrandom::SysRng)) {
        let number = part.index().get();
        let path = args.out.join(format!("part-{number}.txt"));
        let mut page = Zeroizing::new(format!(
            "Quorate recovery key, part {number} of {}. Any {} parts give the key back; fewer say nothing.\n\
             Public key {public}\n\
             Print it, put it where no other part is, and destroy this file.\n\
             Read it back with: quorate backup join FILE FILE … --out recovery.key\n\nwords:\n",
            args.parts, args.needed
        ));
        for (at, word) in (1_usize..).zip(words::print(&part).iter()) {
            let end = if at % 6 == 0 { "\n" } else { "  " };
            page.push_str(&format!("{at:>2} {word:<8}{end}"));
        }
        write_secret(&path, page.as_bytes())?;
        files.push(path);
    }
    let human = format!(
        "{} parts of recovery key {public} are in {}; any {} give it back\n\
         Print each, try `quorate backup join` with what was printed, then destroy the files and the key.",
        args.parts,
        args.out.display(),
        args.needed
    );
    let json = json!({"recovery_key": public, "files": files, "needed": args.needed});
    Ok(Reply::new(human, json))
}

/// The public recovery key that was given as digits or as a file of digits.
///
/// # Errors
/// It is neither.
pub fn recipient(text: &str) -> Result<[u8; 32], Fail> {
    let digits = if Path::new(text).is_file() {
        String::from_utf8_lossy(&read(Path::new(text))?).into_owned()
    } else {
        text.to_owned()
    };
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits.trim(), &mut bytes).map_err(|_| {
        Fail::invalid(format_args!("{text} is not a public recovery key"))
            .hint("it is 64 hexadecimal digits, printed by `quorate backup keygen`")
    })?;
    Ok(bytes)
}

fn create(args: &BackupCreateArgs) -> Result<Reply, Fail> {
    let config = Config::load(&args.config).map_err(Fail::invalid)?;
    let mut recipients = args
        .recipients
        .iter()
        .map(|text| recipient(text))
        .collect::<Result<Vec<_>, _>>()?;
    recipients.sort_unstable();
    recipients.dedup();
    let cluster = cluster(&config.cluster)?;
    let secrets = signer_node::backup::export(&config).map_err(opened)?;
    if let Some(unknown) = args
        .keys
        .iter()
        .find(|name| !secrets.keys.iter().any(|held| held.name == **name))
    {
        return Err(
            Fail::invalid(format_args!("this node has no key {unknown}"))
                .hint("`quorate key list` shows the keys"),
        );
    }
    fs::create_dir_all(&args.out).map_err(|e| Fail::write(&args.out, &e))?;
    let made = time::format_utc(now_ms()?);
    let mut reply = Listing::default();
    for held in &secrets.keys {
        if !args.keys.is_empty() && !args.keys.contains(&held.name) {
            continue;
        }
        let file = BackupFile::make(
            cluster.cluster_id.as_str(),
            config.index,
            &secrets,
            held,
            &recipients,
            made.clone(),
        )?;
        // What is written is what a peer will read: it is checked as a peer checks it.
        let text = file.render();
        let file = BackupFile::parse(text.as_bytes())?;
        let package = file.verify(&cluster)?.package().clone();
        let name = format!(
            "{}-e{}.{}-node{}.backup",
            held.name,
            package.epoch().0,
            package.attempt().0,
            config.index
        );
        let path = args.out.join(name);
        write_new(&path, text.as_bytes())?;
        reply.add(&path, &file, &package);
    }
    if reply.rows.is_empty() {
        return Err(Fail::invalid("this node has no key to back up yet"));
    }
    Ok(reply.reply("written and checked; give a copy to a peer: `quorate backup verify FILE`"))
}

/// Files with what they are about.
#[derive(Default)]
struct Listing {
    human: String,
    rows: Vec<Value>,
}

impl Listing {
    fn add(&mut self, path: &Path, file: &BackupFile, package: &PublicKeyPackage) {
        let recovery: Vec<&str> = file.recovery_keys().collect();
        self.human.push_str(&format!(
            "{}\n  key {} ({}), epoch {} attempt {}, node {}, made {}\n  opens with {}\n",
            path.display(),
            file.key(),
            package.key_id(),
            package.epoch().0,
            package.attempt().0,
            file.node(),
            file.made(),
            recovery.join(", "),
        ));
        self.rows.push(json!({
            "file": path, "key": file.key(), "key_id": package.key_id().to_string(),
            "public_key": hex::encode(package.public_key()), "epoch": package.epoch().0,
            "attempt": package.attempt().0, "sharing": hex::encode(package.sharing().as_bytes()),
            "node": file.node(), "made": file.made(), "recovery_keys": recovery,
        }));
    }

    fn reply(mut self, end: &str) -> Reply {
        self.human.push_str(end);
        Reply::new(self.human, json!({"backups": self.rows}))
    }
}

fn cluster(path: &Path) -> Result<ClusterFile, Fail> {
    ClusterFile::parse(&read(path)?)
        .map_err(|e| Fail::invalid(format_args!("{}: {e}", path.display())))
}

/// Why the store could not be read.
fn opened(error: OpenError) -> Fail {
    match &error {
        OpenError::Store(StoreError::Seal(SealError::WrongSecret(_))) => {
            Fail::new(Exit::NotAuthorised, error)
                .hint("the [unlock] of node.toml must name what the store was made with")
        }
        _ => Fail::invalid(error).hint("`quorate check-config FILE` checks the configuration"),
    }
}

/// The packages that files are held against.
enum Known {
    /// Nobody was asked.
    Nothing,
    /// One, from a file.
    One(Box<PublicKeyPackage>),
    /// What the cluster reports.
    Cluster(Vec<PublicKeyPackage>),
}

impl Known {
    async fn get(context: &Context, against: &Against) -> Result<Self, Fail> {
        if let Some(path) = &against.package {
            let text = read(path)?;
            let bytes = hex::decode(text.trim_ascii()).ok();
            let package = bytes.and_then(|bytes| PublicKeyPackage::decode(&bytes).ok());
            let package = package.ok_or_else(|| {
                Fail::invalid(format_args!(
                    "{} is not a public key package",
                    path.display()
                ))
                .hint("`quorate key show KEY --package FILE` writes one")
            })?;
            return Ok(Self::One(Box::new(package)));
        }
        if against.offline {
            context.output.note(
                "note: held against nothing but the cluster file; whether the epoch is the newest is not checked",
            );
            return Ok(Self::Nothing);
        }
        let keys = context
            .connect("operator")
            .await
            .map_err(offline_hint)?
            .keys()
            .await?;
        let packages = keys
            .iter()
            .filter(|key| !key.public_package.is_empty())
            .map(|key| Ok(PublicKey::decode(&key.public_package)?.package().clone()))
            .collect::<Result<Vec<_>, Fail>>()?;
        Ok(Self::Cluster(packages))
    }

    fn check(&self, found: &PublicKeyPackage) -> Result<(), Problem> {
        let unknown = || Problem::WrongKey(found.key_id().to_string());
        match self {
            Self::Nothing => Ok(()),
            Self::One(known) => backup::compare(found, known),
            Self::Cluster(known) => {
                let known = known.iter().find(|known| known.key_id() == found.key_id());
                backup::compare(found, known.ok_or_else(unknown)?)
            }
        }
    }
}

fn offline_hint(fail: Fail) -> Fail {
    if fail.exit == Exit::Unavailable {
        return fail.hint("if no coordinator is left to ask, give --package FILE or --offline");
    }
    fail
}

/// Reads files and holds each against what is known and against the others.
fn load(paths: &[PathBuf]) -> Result<Vec<(PathBuf, BackupFile)>, Fail> {
    paths
        .iter()
        .map(|path| {
            let file = BackupFile::parse(&read(path)?).map_err(|p| named(path, p))?;
            Ok((path.clone(), file))
        })
        .collect()
}

fn named(path: &Path, problem: Problem) -> Fail {
    let mut fail = Fail::from(problem);
    fail.message = format!("{}: {}", path.display(), fail.message);
    fail
}

async fn verify(context: &Context, args: &BackupVerifyArgs) -> Result<Reply, Fail> {
    let cluster = cluster(&context.common.cluster)?;
    let known = Known::get(context, &args.against).await?;
    let files = load(&args.files)?;
    let mut reply = Listing::default();
    let mut packages: Vec<PublicKeyPackage> = Vec::new();
    for (path, file) in &files {
        let verified = file.verify(&cluster).map_err(|p| named(path, p))?;
        let package = verified.package();
        known.check(package).map_err(|p| named(path, p))?;
        let same_key = |other: &&PublicKeyPackage| other.key_id() == package.key_id();
        if let Some(other) = packages.iter().find(same_key) {
            backup::compare(package, other).map_err(|p| named(path, p))?;
        }
        packages.push(package.clone());
        reply.add(path, file, package);
    }
    Ok(reply.reply(
        "verified: each file holds the share it says, for each recovery key it names.\n\
         Nothing proves that somebody still has the recovery key: only a restore does.",
    ))
}

async fn restore(context: &Context, args: &BackupRestoreArgs) -> Result<Reply, Fail> {
    let config = Config::load(&args.config).map_err(Fail::invalid)?;
    let cluster = cluster(&config.cluster)?;
    let recovery = match &args.recovery_key {
        Some(path) => recovery::read(path, args.passphrase.as_deref())?,
        None => recovery::join(&args.parts)?,
    };
    let known = Known::get(context, &args.against).await?;
    let files = load(&args.files)?;
    let mut reply = Listing::default();
    let mut secrets: Option<Secrets> = None;
    for (path, file) in &files {
        if file.node() != config.index {
            return Err(Fail::invalid(format_args!(
                "{} is of node {}, and {} is the configuration of node {}",
                path.display(),
                file.node(),
                args.config.display(),
                config.index
            ))
            .hint("a share goes back to the node it came from"));
        }
        let verified = file.verify(&cluster).map_err(|p| named(path, p))?;
        known
            .check(verified.package())
            .map_err(|p| named(path, p))?;
        let (identity, exchange, held) = verified.open(&recovery).map_err(|p| named(path, p))?;
        reply.add(path, file, verified.package());
        match &mut secrets {
            Some(secrets) => secrets.keys.push(held),
            None => {
                secrets = Some(Secrets {
                    identity,
                    exchange,
                    keys: vec![held],
                });
            }
        }
    }
    let Some(secrets) = secrets else {
        return Err(Fail::new(Exit::Usage, "no backup was given"));
    };
    if args.dry_run {
        return Ok(reply.reply("opened and checked; nothing was written"));
    }
    signer_node::backup::restore(&config, &secrets).map_err(|error| match error {
        RestoreError::Open(error) => match &error {
            OpenError::Store(StoreError::Exists(_)) => Fail::invalid(error)
                .hint("a store is never overwritten: move it away if it is of no use any more"),
            _ => opened(error),
        },
        other => Fail::invalid(other),
    })?;
    Ok(reply.reply(&format!(
        "restored to {}\nStart the node: it brings policy, ledger and epoch up to date from its peers before it signs.\n\
         Then refresh the keys, and destroy the old backups.",
        config.store.display()
    )))
}
