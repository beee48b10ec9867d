//! The binary against a server of the same protos that misbehaves on purpose.

mod faults;
mod fixture;
mod journal;
mod payloads;
mod proxy;
mod ranking;
mod verbs;
