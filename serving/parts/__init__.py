"""Several models in one file: a zip archive whose `portside.json` names its parts.

Lives here: opening such an archive safely, reading its manifest, describing and loading its parts by their keys.
May import: the rest of the island.
Must never: unpack an entry that no part names, or trust a size that an archive tells.
"""
