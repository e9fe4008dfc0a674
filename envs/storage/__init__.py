"""Write and read files safely: atomic writes, locks, hashes, and sizes that are checked before memory is used.

`equiact.envs.storage.artifacts` is the public interface; the modules here are its parts.
"""
