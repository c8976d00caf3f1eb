"""One file per resource: what a request may say (pydantic, unknown fields refused) and how a row is shown."""
