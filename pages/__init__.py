"""The documents: what is generated of them, and whether their links lead somewhere. `python3 -m pages` writes, pages/test.py judges."""
