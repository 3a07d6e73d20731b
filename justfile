# Everything a contributor runs. `just` alone lists the recipes.

_default:
    @just --list

# Format the whole workspace
fmt:
    cargo fmt --all

# Format check, lints on all targets, documentation: what a change must pass before review
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Every test; arguments go to cargo test
test *arguments:
    cargo test --workspace {{ arguments }}

# Only the house rules: walls, file lengths, paths in documents
tidy:
    cargo test -p tidewheel-tidy

# 2,000 sample orders, a SIGKILL half-way, every view compared with the log
demo *arguments:
    cargo run --release -- demo {{ arguments }}

# A node with the sample workflows on 127.0.0.1:7400
dev *arguments:
    cargo run --release -- dev {{ arguments }}

# Three Kafka brokers, Cassandra in two datacenters and a Tidewheel process in each, in .tidewheel/cluster (needs Java 17 and Maven)
cluster *arguments:
    cargo build --release --bin tidewheel
    cargo run --release -p tidewheel-native -- cluster {{ arguments }}

# Tidewheel and Restate under the same load, alternating (needs npm); arguments go to the comparison
peers *arguments:
    cargo run --release -p tidewheel-bench --bin peers -- {{ arguments }}

# Licences, advisories and banned crates (needs cargo-deny)
deny:
    cargo deny check

# All that the build server runs, from system packages to the demo
ci:
    .ci/run
