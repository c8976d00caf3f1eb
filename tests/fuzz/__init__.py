"""The fuzz campaign: somebody else's fuzzer, schemathesis, reads our description and tries all that it promises."""
