//! torch's `.pt` files: read to the bit, or refused with a reason.

mod builder;
mod damaged;
mod golden;
mod hostile;
mod lies;
