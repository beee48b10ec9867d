//! torch's `.pt` files: read to the bit, refused with a reason, and converted to models' folders.

mod builder;
mod convert;
mod damaged;
mod golden;
mod hostile;
mod lies;
