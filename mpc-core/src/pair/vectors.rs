//! Known answers of an independent model, step by step: see tests/vectors/README.md.

use super::extension::{self, Direction, Nonce};
use super::vole;
use super::{COLUMNS, ReceiverSeeds, SEED_BYTES, SenderSeeds};
use crate::codec::Writer;
use crate::frost::vectors::records::Record;
use crate::id::{NodeId, PairId, SessionId};
use crate::testing::Script;
use crate::transcript::block;
use crate::transcript::body_digest;

/// The inputs of one case.
struct Case {
    record: Record,
    direction: Direction,
    receiver_seeds: ReceiverSeeds,
    sender_seeds: SenderSeeds,
}

fn cases() -> Vec<Case> {
    let records = Record::parse(include_str!("../../tests/vectors/pair.txt"));
    records.into_iter().map(case).collect()
}

fn case(record: Record) -> Case {
    let [zero, one] = ["seeds0", "seeds1"].map(|name| record.bytes(name));
    let delta = record.array("delta");
    let mut both = Box::new([[[0; SEED_BYTES]; 2]; COLUMNS]);
    let mut chosen = Box::new([[0; SEED_BYTES]; COLUMNS]);
    for l in 0..COLUMNS {
        both[l] = [&zero, &one].map(|seeds| seeds.as_chunks().0[l]);
        chosen[l] = both[l][usize::from((delta[l / 8] >> (l % 8)) & 1)];
    }
    let direction = Direction {
        receiver: NodeId::from_bytes(record.array("receiver")),
        sender: NodeId::from_bytes(record.array("sender")),
        pair: PairId::from_bytes(record.array("pid")),
    };
    Case {
        record,
        direction,
        receiver_seeds: ReceiverSeeds::new(both),
        sender_seeds: SenderSeeds::new(delta, chosen),
    }
}

impl Case {
    /// Compares with the field `name`.
    #[track_caller]
    fn same(&self, name: &str, ours: impl AsRef<[u8]>) {
        assert_eq!(hex::encode(ours), self.record.text(name), "{name}");
    }

    /// Compares the digest with the field `name`.
    #[track_caller]
    fn same_digest(&self, name: &str, ours: impl AsRef<[u8]>) {
        self.same(name, body_digest(ours.as_ref()));
    }

    fn session(&self, name: &str) -> SessionId {
        SessionId::from_bytes(self.record.array(name))
    }
}

#[test]
fn every_step_of_both_messages_matches_the_model() {
    let cases = cases();
    assert_eq!(cases.len(), 3);
    for case in cases {
        let nonce = Nonce::new(
            &case.session("ssid0"),
            &case.record.array("n"),
            &case.direction,
        );
        case.same("nu", nonce.0);
        let mut streams = block::Columns::new(&nonce.0);
        let seeds = case.receiver_seeds.expose_secret();
        let batches = seeds.as_chunks().0.iter();
        let columns: Vec<_> = batches
            .flat_map(|seeds| streams.columns(seeds.each_ref().map(|[zero, _]| zero)))
            .map(|column| column.map(u64::to_le_bytes).concat())
            .collect();
        case.same("column0", &columns[0]);
        case.same_digest("columns0", columns.concat());

        let mut script = Script::default().then(&case.record.bytes("x"));
        let (receiver, message) =
            extension::receive(&case.receiver_seeds, &nonce, &case.direction, &mut script);
        assert_eq!(script.remaining(), 0);
        let mut writer = Writer::default();
        message.write(&mut writer);
        let bytes = writer.finish();
        assert_eq!(bytes.len(), extension::Message::BYTES);
        case.same_digest("U", &bytes[..14_336]);
        case.same("xt", &bytes[14_336..14_352]);
        case.same("hV", &bytes[14_352..]);
        case.same("hX", receiver.message_hash().0);
        let rows = receiver.rows();
        case.same_digest(
            "V",
            rows.iter()
                .flat_map(|row| row.to_le_bytes())
                .collect::<Vec<_>>(),
        );

        let sender =
            extension::send(&case.sender_seeds, &nonce, &case.direction, &message).unwrap();
        assert_eq!(sender.message_hash(), receiver.message_hash());
        let rows = sender.rows();
        case.same_digest(
            "W",
            rows.iter()
                .flat_map(|row| row.to_le_bytes())
                .collect::<Vec<_>>(),
        );

        let context = vole::Context::new(
            &case.session("ssid"),
            &case.direction,
            &receiver.message_hash(),
        );
        case.same("ctx", context.0);
        let pads = vole::Rows::pads(&context, rows).0.concat();
        case.same("pad00", pads[0].scalar().encode());
        case.same_digest(
            "pads",
            pads.iter()
                .flat_map(|residue| residue.scalar().encode())
                .collect::<Vec<_>>(),
        );

        let script = (0..3).fold(Script::default(), |script, c| {
            script.then(&case.record.bytes(&format!("alphas.{c}")))
        });
        multiply(&case, receiver, sender, context, script);
    }
}

fn multiply(
    case: &Case,
    receiver: extension::Receiver,
    sender: extension::Sender,
    context: vole::Context,
    mut script: Script,
) {
    let (ours, message) = vole::send(sender, &context, vole::Factors::random(&mut script));
    assert_eq!(script.remaining(), 0);
    let mut writer = Writer::default();
    message.write(&mut writer);
    let bytes = writer.finish();
    assert_eq!(bytes.len(), vole::Message::BYTES);
    let (corrections, rest) = bytes.split_at(73_728);
    case.same("Q0", &corrections[..96]);
    case.same_digest("Q", corrections);
    case.same("hu", &rest[..32]);
    case.same("v", &rest[32..]);

    let challenges = vole::Challenges::new(&context, corrections);
    case.same("chi.0", challenges.chi[0].encode());
    case.same("chi.1", challenges.chi[1].encode());
    let gadget = challenges.gadget(&context, &case.record.array("hu"), &case.record.array("v"));
    case.same("g0", gadget[0].scalar().encode());
    case.same_digest(
        "g",
        gadget
            .iter()
            .flat_map(|residue| residue.scalar().encode())
            .collect::<Vec<_>>(),
    );

    case.same("alphas.0", ours.alpha_k.expose_secret().encode());
    case.same("alphas.1", ours.alpha_x.expose_secret().encode());
    case.same("t.0", ours.t_k.expose_secret().encode());
    case.same("t.1", ours.t_x.expose_secret().encode());
    let theirs = vole::receive(receiver, &context, &message).unwrap();
    case.same("beta", theirs.beta.expose_secret().encode());
    case.same("r.0", theirs.r_k.expose_secret().encode());
    case.same("r.1", theirs.r_x.expose_secret().encode());
}
