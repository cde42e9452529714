//! `quorate key import`: this process is the dealer.
//!
//! The secret is read, dealt, and wiped. It never leaves this process in the clear: what the members get is encrypted to them, share by
//! share. The command ends well only if every member has signed that it holds its share of exactly this key.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::bip32::{DerivationPath, Xpriv};
use bitcoin::key::TapTweak as _;
use client::PublicKey;
use client::import::Import;
use mpc_core::dkg::{DkgCertificate, Setup};
use mpc_core::envelope::Envelope;
use mpc_core::group::{Ed25519, Group, Point, Scalar, Secp256k1};
use mpc_core::id::{Attempt, KeyId, Params, PartyIndex, Purpose, RequestId, Suite};
use mpc_core::identity::IdentityKey;
use mpc_core::import::{Announcement, Dealer};
use mpc_core::roster::{Member, Roster};
use mpc_core::secret::SecretBytes;
use mpc_core::session::{Inbound, Ready, Session as _, Step};
use policy::cluster::ClusterFile;
use proto::convert::reshare::roster_of;
use proto::v1;
use rand_core::UnwrapErr;
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use crate::args::KeyImportArgs;
use crate::fail::{Exit, Fail};
use crate::output::Reply;
use crate::verbs::{Context, read};

/// How long each round may take.
const ROUND_MS: u64 = 60_000;
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(200);
/// No file with a key is longer.
const MAX_FILE: u64 = 4096;

/// What every importer has to read.
const WARNING: &str = "WARNING: this key has been in one place. Every copy of it that is left - files, backups, the machine it was \
made on, this terminal's history - can go on signing alone, whatever the policy says. Destroy every \
copy, and move the funds to a generated key as soon as you can.";

/// A key that is brought, and the chain code of its children.
struct Brought {
    secret: SecretBytes<32>,
    chain_code: [u8; 32],
}

pub(super) async fn run(context: &Context, args: &KeyImportArgs) -> Result<Reply, Fail> {
    let purpose = Purpose::parse(&args.key.scheme)
        .ok_or_else(|| Fail::invalid("the scheme must be ed25519, ecdsa or bip340"))?;
    let brought = brought(args, purpose)?;
    let public_key = match purpose.suite() {
        Suite::Ed25519 => public_key::<Ed25519>(&brought.secret)?,
        Suite::Secp256k1 => public_key::<Secp256k1>(&brought.secret)?,
    };
    if args.dry_run {
        let public_key = hex::encode(&public_key);
        let human = format!(
            "public key  {public_key}\n\nTo allow it, write\n  import = \"{} {public_key}\"\ninto node.toml of every node that is to hold it, \
             above the first [section], and restart these nodes.",
            args.key.name,
        );
        let json = json!({ "public_key": public_key, "dry_run": true });
        return Ok(Reply::new(human, json));
    }
    let cluster = ClusterFile::parse(&read(&context.common.cluster)?).map_err(Fail::invalid)?;
    let roster = committee(&cluster, &args.key.nodes)?;
    let threshold = args.key.threshold.map_or(cluster.threshold, |threshold| {
        u16::try_from(threshold).unwrap_or(u16::MAX)
    });
    let parties = u16::try_from(roster.len()).unwrap_or(u16::MAX);
    let params = Params::new(threshold, parties).map_err(Fail::invalid)?;
    context.output.must_see(WARNING);
    let client = context.connect("operator").await?;
    let identity = Arc::new(IdentityKey::generate(&mut UnwrapErr(getrandom::SysRng)));
    let announcement = Announcement {
        dealer: identity.public(),
        public_key: public_key.clone(),
        chain_code: brought.chain_code,
    };
    let request = v1::CreateKeyRequest {
        name: args.key.name.clone(),
        scheme: args.key.scheme.clone(),
        threshold: u32::from(threshold),
        nodes: args.key.nodes.clone(),
        import: Some(v1::Import {
            dealer: announcement.dealer.as_bytes().to_vec().into(),
            public_key: announcement.public_key.clone().into(),
            chain_code: announcement.chain_code.to_vec().into(),
        }),
    };
    let progress = context.output.spinner("dealing the key to its nodes");
    let mut import = client.begin_import(request).await?;
    let setup = Setup {
        roster: roster.clone(),
        me: identity.public().node_id(),
        purpose,
        params,
        request_id: RequestId::from_bytes(import.request_id()).named(&args.key.name),
        attempt: Attempt(0),
        pairs: std::collections::BTreeMap::new(),
    };
    let rng = &mut UnwrapErr(getrandom::SysRng);
    let secret = brought.secret;
    let now = std::time::Instant::now();
    let started = Dealer::start(
        setup,
        announcement.clone(),
        secret,
        identity,
        rng,
        0,
        ROUND_MS,
    );
    let (mut dealer, step) = started.map_err(|error| Fail::invalid(error.to_string()))?;
    let mut certificate = follow(&import, step).await?;
    let end = loop {
        let elapsed = u64::try_from(now.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = dealer
            .deadline_ms()
            .is_some_and(|deadline| deadline <= elapsed);
        if certificate.is_none() && due {
            let step = dealer.tick(elapsed).map_err(|error| broken(&error))?;
            certificate = follow(&import, step).await?;
        }
        let Ok(told) = tokio::time::timeout(TICK, import.next()).await else {
            continue;
        };
        let told = told?.ok_or_else(|| {
            Fail::new(
                Exit::Unavailable,
                "the import ended before every node had confirmed its share",
            )
        })?;
        if !told.said.is_empty() {
            let step = heard(&mut dealer, &roster, told.said.to_vec(), elapsed)?;
            if let Some(step) = step {
                certificate = follow(&import, step).await?.or(certificate);
            }
        } else if told.stage == "active" {
            break told;
        } else {
            progress.message(&format!("import: {}", told.stage));
        }
    };
    let key = checked(&end, certificate.as_ref(), purpose, &announcement)?;
    progress.message("import: the nodes replace the shares that the dealer knows");
    let refreshed = refreshed(&client, &args.key.name).await?;
    drop(progress);
    let next = if refreshed {
        "The shares that this dealer dealt are replaced. Next: destroy every copy of the secret."
            .to_owned()
    } else {
        format!(
            "The shares are not replaced yet; the cluster goes on trying. See: quorate key show {}",
            args.key.name
        )
    };
    let key_id = hex::encode(key.id());
    let human = format!(
        "key         {}\nkey id      {key_id}\nscheme      {}\nthreshold   {threshold}\npublic key  {}\n\n{WARNING}\n\n{next}",
        args.key.name,
        args.key.scheme,
        hex::encode(key.bytes()),
    );
    let json = json!({
        "name": args.key.name, "key_id": key_id, "scheme": args.key.scheme, "threshold": threshold, "imported": true, "refreshed": refreshed,
        "public_key": hex::encode(key.bytes()), "chain_code": hex::encode(key.chain_code()), "warning": WARNING,
    });
    Ok(Reply::new(human, json))
}

/// Waits until the nodes have replaced the shares, which they do by themselves; false if they have not done it in time.
async fn refreshed(client: &client::Client, name: &str) -> Result<bool, Fail> {
    let until = tokio::time::Instant::now()
        .checked_add(Duration::from_millis(ROUND_MS))
        .unwrap_or_else(tokio::time::Instant::now);
    while tokio::time::Instant::now() < until {
        if client.key(name).await?.epoch > 0 {
            return Ok(true);
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(false)
}

/// Every member has signed, and what the coordinator shows is what they signed.
fn checked(
    end: &v1::DkgProgress,
    certificate: Option<&DkgCertificate>,
    purpose: Purpose,
    announced: &Announcement,
) -> Result<PublicKey, Fail> {
    let security = |why: &str| Fail::new(Exit::Security, why.to_owned());
    let key = PublicKey::decode(&end.public_package)?;
    let certificate =
        certificate.ok_or_else(|| security("no certificate of all nodes reached this dealer"))?;
    if certificate.key_id() != KeyId::from_bytes(key.id()) {
        return Err(security("the nodes have certified another key"));
    }
    let shown = key.bytes();
    let same = match purpose {
        Purpose::Bip340 => {
            let output = tweaked(&announced.public_key);
            output.is_some_and(|output| shown.get(1..) == Some(&output[..]))
        }
        _ => shown == announced.public_key,
    };
    if !same || *key.chain_code() != announced.chain_code {
        return Err(security(
            "the public key or the chain code shown is not that of the secret",
        ));
    }
    Ok(key)
}

/// The output key of a Taproot key without scripts, by a library that knows nothing of ours.
fn tweaked(public_key: &[u8]) -> Option<[u8; 32]> {
    let internal = bitcoin::secp256k1::PublicKey::from_slice(public_key).ok()?;
    let curve = bitcoin::secp256k1::Secp256k1::verification_only();
    let (output, _) = internal.x_only_public_key().0.tap_tweak(&curve, None);
    Some(output.to_x_only_public_key().serialize())
}

fn broken(error: &mpc_core::Error) -> Fail {
    Fail::new(Exit::Unavailable, format!("the import failed: {error}"))
}

/// Sends what is due; the certificate, once it is complete.
async fn follow(
    import: &Import,
    step: Step<DkgCertificate>,
) -> Result<Option<DkgCertificate>, Fail> {
    let Ready::Now(effects) = step.split() else {
        return Err(Fail::new(Exit::Failed, "a dealer stores nothing"));
    };
    for outbound in effects.send {
        import.say(outbound.bytes).await?;
    }
    Ok(effects.output)
}

/// Takes a member's broadcast. Who sent it, its signature says.
fn heard(
    dealer: &mut Dealer,
    roster: &Roster,
    bytes: Vec<u8>,
    now_ms: u64,
) -> Result<Option<Step<DkgCertificate>>, Fail> {
    let Ok(envelope) = Envelope::open(roster, &bytes) else {
        return Ok(None);
    };
    let from = envelope.header().from;
    match dealer.handle(Inbound { from, bytes }, now_ms) {
        Ok(step) => Ok(Some(step)),
        Err(mpc_core::Error::Rejected(_)) => Ok(None),
        Err(error) => Err(broken(&error)),
    }
}

/// The nodes that get shares, in the order of their numbers, with the indices 1, 2, and so on.
fn committee(cluster: &ClusterFile, nodes: &[u32]) -> Result<Roster, Fail> {
    let all = roster_of(cluster).map_err(|error| Fail::invalid(error.to_string()))?;
    let asked = |index: &PartyIndex| nodes.is_empty() || nodes.contains(&u32::from(index.get()));
    let chosen: Vec<_> = all.by_index().filter(|(index, _)| asked(index)).collect();
    if !nodes.is_empty() && chosen.len() != nodes.len() {
        return Err(Fail::invalid(
            "the nodes must be distinct numbers of the cluster file",
        ));
    }
    let member = |(index, (_, node)): (u16, &(PartyIndex, _))| {
        let index = PartyIndex::new(index).ok()?;
        Some(Member {
            index,
            ..*all.get(node)?
        })
    };
    let members: Option<Vec<Member>> = (1..).zip(&chosen).map(member).collect();
    members
        .and_then(|members| Roster::new(members).ok())
        .ok_or_else(|| Fail::invalid("a key needs 2 to 32 nodes"))
}

fn public_key<G: Group>(secret: &SecretBytes<32>) -> Result<Vec<u8>, Fail> {
    let scalar = Scalar::<G>::decode("secret", secret.expose_secret());
    let scalar = scalar.map_err(|_| not_a_scalar())?;
    if scalar.is_zero() {
        return Err(not_a_scalar());
    }
    Ok(Point::mul_base(&scalar).encode().as_slice().to_vec())
}

fn not_a_scalar() -> Fail {
    Fail::invalid(
        "the secret is not a scalar of this curve; an Ed25519 seed is not one: give the scalar that SHA-512 makes of it",
    )
}

fn brought(args: &KeyImportArgs, purpose: Purpose) -> Result<Brought, Fail> {
    if let Some(file) = &args.secret_file {
        let text = text(file)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| {
            Fail::invalid("the secret must be 64 hexadecimal digits and nothing else")
        })?;
        return Ok(Brought {
            secret: SecretBytes::take(&mut bytes),
            chain_code: [0; 32],
        });
    }
    let (Some(file), Some(path)) = (&args.mnemonic_file, &args.path) else {
        return Err(Fail::invalid(
            "give --secret-file, or --mnemonic-file and --path",
        ));
    };
    if purpose.suite() != Suite::Secp256k1 {
        return Err(Fail::invalid(
            "a mnemonic with a BIP 32 path gives secp256k1 keys only: ecdsa or bip340",
        ));
    }
    let words = text(file)?;
    let mnemonic = bip39::Mnemonic::parse_normalized(words.trim()).map_err(|error| {
        Fail::invalid(format!(
            "the mnemonic is refused: {error}; check the words and their order"
        ))
    })?;
    let passphrase = match &args.passphrase_file {
        Some(file) => text(file)?,
        None => Zeroizing::new(String::new()),
    };
    let path: DerivationPath = path
        .parse()
        .map_err(|error| Fail::invalid(format!("the path is refused: {error}")))?;
    let mut seed = Zeroizing::new(mnemonic.to_seed_normalized(passphrase.trim_end_matches('\n')));
    let curve = bitcoin::secp256k1::Secp256k1::new();
    let mut derived = Xpriv::new_master(bitcoin::NetworkKind::Main, seed.as_ref())
        .and_then(|master| master.derive_priv(&curve, &path))
        .map_err(|error| Fail::invalid(format!("there is no key at this path: {error}")))?;
    seed.zeroize();
    let mut bytes = derived.private_key.secret_bytes();
    derived.private_key.non_secure_erase();
    let chain_code = *derived.chain_code.as_bytes();
    Ok(Brought {
        secret: SecretBytes::take(&mut bytes),
        chain_code,
    })
}

/// A short file that holds a secret, or standard input.
fn text(file: &Path) -> Result<Zeroizing<String>, Fail> {
    let mut text = Zeroizing::new(String::new());
    let result = if file == Path::new("-") {
        std::io::stdin().take(MAX_FILE).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
    };
    result.map_err(|error| Fail::invalid(format!("{}: {error}", file.display())))?;
    Ok(text)
}
