"""Wire protocols: bytes to columns and columns to bytes. They know no engine and no socket."""
