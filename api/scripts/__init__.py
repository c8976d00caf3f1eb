"""Generated scripts: a batch run as a Python file of its own, which does the same without the platform's help.

Lives here: what a script is rendered from, its parts as text, and the rendering; pure functions of plain data.
May import: `core`.
Must never: read a table or the request, or put a secret into a script.
"""
