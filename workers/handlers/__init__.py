"""One module per resource: `async (held, resources) -> outcome`, safe to run twice, never commits a status."""
