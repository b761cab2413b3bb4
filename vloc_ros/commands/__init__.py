"""The sub-commands of ``vloc``, one module each: ``register`` describes it, ``run`` does it and returns the exit code."""
