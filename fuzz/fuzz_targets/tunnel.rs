//! Nested sessions over a relay that cuts, drops, repeats, reorders and changes: no panic, messages arrive as they were sent and in
//! order or not at all, and a relay that only cuts and delays changes nothing.
#![no_main]

use std::collections::VecDeque;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use proto::channel::nested::{Failed, Fed, MAX_CHUNK, Tunnel, TunnelIdentity};
use quorate_fuzz::script::Script;
use zeroize::Zeroizing;

/// Decisions per run.
const MAX_STEPS: usize = 64;

fn identities() -> &'static [TunnelIdentity; 2] {
    static IDENTITIES: OnceLock<[TunnelIdentity; 2]> = OnceLock::new();
    IDENTITIES.get_or_init(|| {
        [1, 2].map(|seed| {
            TunnelIdentity::from_seed(&Zeroizing::new([seed; 32])).expect("an identity")
        })
    })
}

/// One node, and the bytes that the relay holds for it.
struct End {
    tunnel: Tunnel,
    waiting: VecDeque<Vec<u8>>,
    said: Vec<Vec<u8>>,
    heard: Vec<Vec<u8>>,
    failed: bool,
}

impl End {
    fn new(tunnel: Tunnel) -> Self {
        Self {
            tunnel,
            waiting: VecDeque::new(),
            said: Vec::new(),
            heard: Vec::new(),
            failed: false,
        }
    }
}

struct Relay {
    ends: [End; 2],
    /// The relay did more than cut and delay.
    meddled: bool,
    /// One side has closed the session.
    closed: bool,
}

fuzz_target!(|bytes: &[u8]| {
    let [a, b] = identities();
    // Bytes that are no session at all.
    let mut alone = Tunnel::accept(b, a.public()).expect("a tunnel");
    for piece in bytes.chunks(MAX_CHUNK) {
        if let Ok(fed) = alone.feed(piece) {
            assert!(fed.messages.is_empty());
        }
    }
    assert!(!alone.is_established());

    let (dialler, first) = Tunnel::dial(a, b.public()).expect("a tunnel");
    let acceptor = Tunnel::accept(b, a.public()).expect("a tunnel");
    let mut relay = Relay {
        ends: [dialler, acceptor].map(End::new),
        meddled: false,
        closed: false,
    };
    relay.ends[1].waiting.push_back(first);
    let mut script = Script::new(bytes);
    for _ in 0..MAX_STEPS {
        let Some(decision) = script.next() else { break };
        relay.step(&mut script, decision);
    }
    while relay.ends.iter().any(|end| !end.waiting.is_empty()) {
        relay.deliver(0);
        relay.deliver(1);
    }
    relay.judge();
});

impl Relay {
    fn step(&mut self, script: &mut Script<'_>, decision: u8) {
        let to = usize::from(decision & 1);
        match (decision >> 1) % 9 {
            0 | 1 => self.deliver(to),
            2 => self.say(to, script.bytes()),
            3 => {
                let waiting = &mut self.ends[to].waiting;
                if let Some(first) = waiting.front_mut() {
                    let rest = first.split_off(script.below(first.len()));
                    waiting.insert(1, rest);
                }
            }
            4 => {
                if let Some(mut piece) = self.ends[to].waiting.pop_front() {
                    let genuine = piece.clone();
                    script.change(&mut piece);
                    self.meddled |= piece != genuine;
                    self.ends[to].waiting.push_front(piece);
                }
            }
            5 => {
                self.meddled |= self.ends[to]
                    .waiting
                    .pop_front()
                    .is_some_and(|piece| !piece.is_empty());
            }
            6 => {
                let repeated = self.ends[to]
                    .waiting
                    .front()
                    .cloned()
                    .filter(|piece| !piece.is_empty());
                self.meddled |= repeated.is_some();
                self.ends[to].waiting.extend(repeated);
            }
            7 => {
                let waiting = &mut self.ends[to].waiting;
                let other = script.below(waiting.len());
                if waiting.front() != waiting.get(other) {
                    waiting.swap(0, other);
                    self.meddled = true;
                }
            }
            _ => {
                self.closed |= script.byte() < 32;
                if self.closed {
                    let last = self.ends[to].tunnel.close();
                    self.pass(1 - to, last);
                }
            }
        }
    }

    fn pass(&mut self, to: usize, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.ends[to]
                .waiting
                .extend(bytes.chunks(MAX_CHUNK).map(<[u8]>::to_vec));
        }
    }

    fn say(&mut self, from: usize, message: &[u8]) {
        let end = &mut self.ends[from];
        if let Ok(bytes) = end.tunnel.send(message) {
            end.said.push(message.to_vec());
            self.pass(1 - from, bytes);
        } else {
            assert!(end.tunnel.is_ended(), "a short message is refused");
        }
    }

    fn deliver(&mut self, to: usize) {
        let end = &mut self.ends[to];
        let Some(piece) = end.waiting.pop_front() else {
            return;
        };
        let answer = match end.tunnel.feed(&piece) {
            Ok(Fed { messages, send, .. }) => {
                end.heard
                    .extend(messages.iter().map(|message| message.to_vec()));
                send
            }
            Err(Failed { send, .. }) => {
                end.failed = true;
                assert!(end.tunnel.is_ended(), "a failure that is no end");
                send
            }
        };
        self.pass(1 - to, answer);
    }

    fn judge(&self) {
        let [a, b] = &self.ends;
        for (speaker, hearer) in [(a, b), (b, a)] {
            assert!(
                speaker.said.starts_with(&hearer.heard),
                "a message arrived that was not sent like that"
            );
            if !self.meddled && !self.closed {
                assert!(!hearer.failed && hearer.tunnel.is_established());
                assert_eq!(speaker.said, hearer.heard);
            }
        }
    }
}
