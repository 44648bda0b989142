//! m2mint
