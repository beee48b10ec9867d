//! provisional
use super::{ImageConfig, ImageRule, Pixels};
use crate::types::{Error, Result};
pub struct ImagePreparer {}
impl ImagePreparer {
    pub fn new(_config: ImageConfig, _rule: ImageRule) -> Self {
        Self {}
    }
    pub fn prepare(&self, _data: &[u8]) -> Result<Pixels> {
        Err(Error::Internal(String::new()))
    }
}
pub struct Thumbnail {
    pub mime_type: &'static str,
    pub width: u32,
    pub height: u32,
    pub data: Vec<u8>,
}
pub fn thumbnail(_data: &[u8], _side: u32) -> Result<Thumbnail> {
    Err(Error::Internal(String::new()))
}
