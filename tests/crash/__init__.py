"""The crash campaign. A package, so that one platform serves all its modules."""
