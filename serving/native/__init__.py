"""The compiled way of small JSON predictions: `source/` in C++, what builds and loads it, what describes models to it.

May import the rest of serving, but no engine. It answers byte for byte what the other way answers, or nothing at all:
nothing may depend on its being there.
"""
