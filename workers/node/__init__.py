"""This machine's process supervisor: the only thing that starts long-lived local processes.

`node` is the whole; in each term that its `lease` gives it, `supervisor` compares and decides by `plan`, writes through
`rows`, and leads each replica through its `life`; `launch` makes the program, `processes`, `sockets`, `logs` and
`endings` know the operating system, `endpoint` shows the logs to other machines.
May import: what workers may. Must never: block the event loop, keep a decision that the rows do not tell.
"""
