"""The production shape as processes on this machine: real PostgreSQL, Redis and S3 from packages, and Portside's roles.

For `make stack`, tests and benchmarks, run from a checkout with the tests' environment; never in the wheel. May import
the rooms as a user of theirs; no room imports this.
"""
