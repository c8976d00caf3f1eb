"""What runs inside the peers' environments: each serves the same files with the same engine, one thread each."""
