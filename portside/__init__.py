"""What users of Portside import and start: the launcher now, the Python client with its own issue.

May import: the standard library and light HTTP clients only; it knows the platform by its HTTP API.
Must never: import a room of the server. The launcher starts the command line by name, and nothing else here does.
"""
