"""The prediction path, against real sockets."""
