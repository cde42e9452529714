//! The registry of tags. Append only: a tag names one statement with one sequence of fields, for ever.

/// The name of a hashed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(&'static str);

impl Tag {
    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

macro_rules! tags {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Tag {
            $($(#[$doc])* pub const $name: Self = Self($text);)*

            /// Every tag of the registry.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

tags! {
    /// Authenticator of a node's keys in a backup.
    BACKUP_NODE_MAC = "backup/node/mac";
    /// One-time pad of a node's keys in a backup.
    BACKUP_NODE_PAD = "backup/node/pad";
    /// Equality proofs of an explanation of a failed signature.
    BLAME = "blame";
    /// The public values that such an explanation is about.
    BLAME_FACTS = "blame/facts";
    /// The messages of both directions of a pair setup.
    BOT_DIGEST = "bot/digest";
    /// A seed of a base transfer.
    BOT_KEY = "bot/key";
    /// Name of a pair setup.
    BOT_PID = "bot/pid";
    /// The programmable part of a base transfer's reply.
    BOT_POPF = "bot/popf";
    /// Certificate of a sharing.
    CERT = "cert";
    /// Agreed chain code.
    DKG_CC = "dkg/cc";
    /// Commitment to a dealer's contribution.
    DKG_COM = "dkg/com";
    /// Equality proof of a complaint.
    DKG_COMPLAINT = "dkg/complaint";
    /// Knowledge of the one-time sending key.
    DKG_EPH = "dkg/eph";
    /// One-time pad of a share.
    DKG_PAD = "dkg/pad";
    /// Knowledge of a coefficient.
    DKG_POP = "dkg/pop";
    /// Everything that a key generation agreed on.
    DKG_TRANSCRIPT = "dkg/transcript";
    /// Echo of a broadcast round.
    ECHO = "echo";
    /// Signed value of an envelope.
    ENV = "env";
    /// One-time pad of a share that is exported.
    EXPORT = "export";
    /// Session of a published nonce commitment.
    FROST_COMMITMENT = "frost/com";
    /// Session of a signature share: everything that the share answers to.
    FROST_SHARE = "frost/z";
    /// What is added to an Ed25519 key for a child.
    HD_ED25519 = "hd/ed25519";
    /// Chain code of a child of an Ed25519 key.
    HD_ED25519_CC = "hd/ed25519/cc";
    /// Name of a key.
    KEY = "key";
    /// Name of a node.
    NODE = "node";
    /// Hedged nonce of a proof.
    NONCE = "nonce";
    /// Challenge of a backup: which halves are opened.
    PVE_CHALLENGE = "pve/ch";
    /// Authenticator of an encrypted half.
    PVE_MAC = "pve/mac";
    /// One-time pad of an encrypted half.
    PVE_PAD = "pve/pad";
    /// One-time sending key of an encrypted half.
    PVE_COINS = "pve/r";
    /// The parts of one recovery key.
    PVE_PARTS = "pve/parts";
    /// First half of a share in one row of a backup.
    PVE_HALF = "pve/x";
    /// Everything of an extension message: what the pads are bound to.
    OTX_MSG = "otx/msg";
    /// Session of one extension of base transfers.
    OTX_NONCE = "otx/nonce";
    /// The correction matrix of an extension message.
    OTX_U = "otx/U";
    /// The combined rows of an extension, which the sender checks.
    OTX_V = "otx/V";
    /// Seed of the check matrix of an extension.
    OTX_X = "otx/X";
    /// Everything about a request of threshold ECDSA.
    REQ = "req";
    /// What a member was told about a key that is to be imported.
    IMPORT = "import/rq";
    /// The request for a key together with the name that the key will have.
    KEY_REQUEST = "key/rq";
    /// What a reshare is to do.
    RESHARE_REQUEST = "reshare/rq";
    /// Roster with the parameters of a key.
    ROSTER = "roster";
    /// Commitment to a share of the nonce.
    SIG_COM = "sig/com";
    /// Weights that one signer checks the products of all others with. Never sent.
    SIG_WEIGHT = "sig/weight";
    /// Commitment to the point of a zero share.
    SIG_Z = "sig/z";
    /// Name of a session.
    SSID = "ssid";
    /// Name of the session that an entry of preprocessing and a request make.
    SSID_SIGN = "ssid/S";
    /// Name of a session before the parties have contributed.
    SSID0 = "ssid0";
    /// Challenge that combines the columns of a multiplication message.
    VOLE_CHI = "vole/chi";
    /// Session of one multiplication: what its pads are bound to.
    VOLE_CTX = "vole/ctx";
    /// Seed of the gadget vector.
    VOLE_G = "vole/g";
    /// The correction matrix of a multiplication message.
    VOLE_Q = "vole/Q";
    /// The combined rows of a multiplication, which the receiver checks.
    VOLE_U = "vole/u";
}
