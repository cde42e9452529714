//! The smallest transaction there is: a Solana message with one transfer of lamports.

use crate::fail::Fail;

const SYSTEM_PROGRAM: [u8; 32] = [0; 32];
const TRANSFER: u32 = 2;

/// Reads 32 bytes of base58: an address or a blockhash.
///
/// # Errors
/// It is something else.
pub fn parse_base58(what: &str, text: &str) -> Result<[u8; 32], Fail> {
    bs58::decode(text)
        .into_vec()
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .ok_or_else(|| {
            Fail::invalid(format_args!("{what} `{text}` is not 32 bytes of base58"))
        })
}

/// The legacy message that moves `lamports` from its fee payer to `to`: the bytes that are signed.
#[must_use]
pub fn message(from: &[u8; 32], to: &[u8; 32], lamports: u64, blockhash: &[u8; 32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(160);
    // One signer, none of the signers read-only, one read-only account that does not sign: the program.
    bytes.extend([1, 0, 1]);
    bytes.push(3);
    bytes.extend(from);
    bytes.extend(to);
    bytes.extend(SYSTEM_PROGRAM);
    bytes.extend(blockhash);
    // One instruction: program at index 2, accounts 0 and 1, twelve bytes of data.
    bytes.extend([1, 2, 2, 0, 1, 12]);
    bytes.extend(TRANSFER.to_le_bytes());
    bytes.extend(lamports.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_reads_the_message_as_this_transfer() {
        let (from, to) = ([5; 32], [6; 32]);
        let bytes = message(&from, &to, 77, &[9; 32]);
        let decoded = policy::solana::decode(&bytes, &from).expect("a plain transfer");
        assert_eq!(decoded.transfers.len(), 1);
        assert_eq!(decoded.transfers[0].amount, policy::amount::Amount::from_u64(77));
    }
}
