"""Measures the bars that the project promises, from outside: a platform in a process of its own, asked over HTTP.

An island of scripts: the standard library, uvloop, and `deploy.stack` for servers; imports no room and is imported by
none. Two kinds of modules are processes of their own, so that their work is not in the figures: those that make load or
measure under load (`probe`, `sender`, `hammer`), and those that measure from inside what no call shows, which may
import rooms (`scale_inside`, `drain_ours`). The others answer `Figure`s. `peers` has a card of its own. Linux only:
memory is read from /proc.
"""
