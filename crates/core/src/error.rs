//! What a caller can act on. Bad packets are not errors: they are counted and dropped.

/// Why an object of the core can't be made or can't go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libopus refused: a setting out of its range, or no memory. Another setting may work.
    #[error("Opus: {0}")]
    Opus(String),
    /// The format is none that the core codes. The caller's fault.
    #[error("unsupported format: {0}")]
    UnsupportedFormat(String),
}
