"""Training of networks: pairs to learn from, objectives, the loop. Imports torch; nothing else needs this package."""
