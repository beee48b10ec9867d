//! The integration tests: one binary, one file a folder of the library.

mod encoder;
