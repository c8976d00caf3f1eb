"""This machine's process supervisor: the only thing that starts long-lived local processes."""
