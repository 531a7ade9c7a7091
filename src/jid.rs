//! Addresses (RFC 7622).
