//! Real TLS on loopback, a real tonic server with the generated services: who gets in, who does not, and what a
//! hostile client can make the server spend.
#![cfg(test)]

mod admission;
mod exhaustion;
mod fixture;
mod reload;
mod strangers;
