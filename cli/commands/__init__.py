"""The verbs: what they are called, what they take, what their help says. What they do lives beside, in `cli/`.

Must never: import at the top of a module what `portside --help` does not need; a verb imports its work when it runs.
"""
