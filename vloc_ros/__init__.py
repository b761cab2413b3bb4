"""Long-term visual localisation: teach a route once, repeat it in any light."""

__version__ = "0.1.0"
