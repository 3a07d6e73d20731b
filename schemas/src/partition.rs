//! Java-compatible murmur2 partitioning.
